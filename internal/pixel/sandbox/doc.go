// Package sandbox runs the image codecs where their faults do no harm: code
// compiled to WebAssembly, in child processes that hold no keys, no files and
// no network. A stream that makes a codec run wild costs a worker and one 4xx.
package sandbox
