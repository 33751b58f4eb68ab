package sandbox

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"sync"
)

// digest is the SHA-256 of the codecs: dcmjs-codecs 0.0.8 of npm, which is
// CharLS 2.3.4, OpenJPEG 2.5.0, OpenJPH 0.18.2 and the IJG library of dcmtk.
// No other file is built in or run.
const digest = "dff1bc9b3872588c231ea90894f05e7eacd7f5074b9db964e64e7f3f29821d30"

//go:embed dist
var dist embed.FS

// codecs returns the WebAssembly module, or nil when it was not built in.
var codecs = sync.OnceValue(func() []byte {
	b, err := dist.ReadFile("dist/dcmjs-native-codecs.wasm")
	if err != nil {
		return nil
	}
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != digest {
		return nil
	}
	return b
})

// Available reports whether the codecs were built into this binary.
func Available() bool { return codecs() != nil }
