// Package transcode gives instances another transfer syntax: frames are decoded
// and encoded, several at a time and in order, and the data set is corrected
// with them.
//
// A transcoded instance is a representation of the stored one and keeps its
// SOP Instance UID: whoever retrieves asked for the instance, and its pixels
// are the same but where JPEG baseline was asked for by name. Only an image
// compressed with loss that is to be stored beside the original needs a UID of
// its own (PS3.3 §C.12.4.1); the Lossy Image Compression attributes say of ours
// what they are.
package transcode
