// Package pixel decodes and encodes the frames of DICOM images (PS3.5 §8).
//
// A frame is bytes in a transfer syntax and a [Format], what the data set says
// of them. [Codecs] turns it into an [Image], native samples in little endian,
// and back. Native, run-length coded and deflated frames, 8-bit JPEG and JPEG
// lossless are decoded here, in Go; every other code stream by package sandbox.
// JPEG lossless is here because the sandboxed codec returns truncated streams as
// if they were whole, and is slower.
//
// Input is hostile. The header of every code stream is read here before a codec
// sees it: a frame is as large as its data set says, or it is refused, and so
// is one that is larger than MaxFrameBytes, cut short, or of another number of
// samples. What is encoded without loss is decoded again and compared before
// anyone gets it. The memory of all frames being decoded and encoded at once is
// bounded; who has to wait waits as long as the context allows.
//
// What cannot be decoded or encoded is fault.NotAcceptable with the reason.
package pixel
