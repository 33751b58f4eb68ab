// Package dicom reads and writes DICOM data sets (PS3.5) in Part 10 files (PS3.10).
//
// [Read] understands a file while it streams past: it never seeks, holds no
// pixel data and no large value, and takes memory in proportion to what has
// arrived, never to what a length field claims. What it left in the stream it
// describes by offset and length; [NewLayout] condenses that into a small
// record from which frames and bulk values are read later, without the file's
// header. Whoever keeps the file tees the reader: bytes are never altered here.
//
// Input is hostile. Every limit is in [Limits]; every error is classified with
// package fault and names at most an attribute's tag, never a value.
package dicom
