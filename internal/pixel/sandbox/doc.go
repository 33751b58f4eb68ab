// Package sandbox runs the image codecs where their faults do no harm: code
// compiled to WebAssembly, in child processes that hold no keys, no files and
// no network. A stream that makes a codec run wild costs a worker and one 4xx.
//
// A worker is this same binary, started again. In the server's own process
// WebAssembly would be either slow or in the way: Go cannot interrupt compiled
// code that does not ask whether it should stop, so the garbage collector, and
// every request with it, waits for the end of a frame (0.2 s for a CT in JPEG
// 2000); code that asks takes four times as long. A child is stopped by killing
// it, its memory and time are the kernel's to limit, and a codec that breaks out
// of WebAssembly finds an address space without secrets.
package sandbox
