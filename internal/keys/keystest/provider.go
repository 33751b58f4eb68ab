package keystest

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"fmt"
	"strconv"
	"sync"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/keys"
)

// Provider is a keys.Wrapper in memory with one KEK, for tests.
type Provider struct {
	kek keys.ID

	mu     sync.Mutex
	aeads  []cipher.AEAD // by version, from 1
	oldest int           // version that unwraps
	off    bool          // disabled
	err    error         // what every call fails with
	hold   chan struct{} // calls wait until it is closed
	wraps  int
	unwrap int
}

// NewProvider returns a provider whose KEK is random, or made from the seed if that is not 0.
func NewProvider(kek keys.ID, seed byte) *Provider {
	return &Provider{kek: kek, oldest: 1, aeads: []cipher.AEAD{newAEAD(seed)}}
}

func newAEAD(seed byte) cipher.AEAD {
	key := bytes.Repeat([]byte{seed}, 32)
	if seed == 0 {
		_, _ = rand.Read(key)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return aead
}

// Deny makes every call fail with fault.KeyDenied until Allow.
func (p *Provider) Deny() {
	p.fail(fault.New(fault.KeyDenied, "the key was disabled by who owns it"))
}

// Silence makes every call fail with fault.KeyUnreachable until Allow.
func (p *Provider) Silence() {
	p.fail(fault.New(fault.KeyUnreachable, "the key provider does not answer"))
}

// Allow ends Deny and Silence.
func (p *Provider) Allow() { p.fail(nil) }

func (p *Provider) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}

// Hold makes calls wait until release is called, or their context ends.
func (p *Provider) Hold() (release func()) {
	c := make(chan struct{})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hold = c
	return sync.OnceFunc(func() { close(c) })
}

// Calls returns how many keys were asked to be wrapped and unwrapped.
func (p *Provider) Calls() (wraps, unwraps int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.wraps, p.unwrap
}

// begin counts a call, waits while calls are held, and returns the AEAD of a version.
func (p *Provider) begin(ctx context.Context, count *int, kek keys.ID, version string) (cipher.AEAD, string, error) {
	p.mu.Lock()
	*count++
	hold := p.hold
	p.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, "", err
	}
	if err := p.usable(kek); err != nil {
		return nil, "", err
	}
	if version == "" {
		version = strconv.Itoa(len(p.aeads))
	}
	n, err := strconv.Atoi(version)
	if p.off || err != nil || n < p.oldest || n > len(p.aeads) {
		return nil, "", fault.New(fault.KeyDenied, "there is no such key")
	}
	return p.aeads[n-1], version, nil
}

// Wrap implements keys.Wrapper.
func (p *Provider) Wrap(ctx context.Context, kek keys.ID, key, aad []byte) (keys.Wrapped, error) {
	aead, version, err := p.begin(ctx, &p.wraps, kek, "")
	if err != nil {
		return keys.Wrapped{}, err
	}
	nonce := make([]byte, aead.NonceSize())
	_, _ = rand.Read(nonce)
	return keys.Wrapped{KEK: kek, Version: version, Bytes: aead.Seal(nonce, nonce, key, bind(version, aad))}, nil
}

// Unwrap implements keys.Wrapper.
func (p *Provider) Unwrap(ctx context.Context, w keys.Wrapped, aad []byte) ([]byte, error) {
	aead, _, err := p.begin(ctx, &p.unwrap, w.KEK, w.Version)
	if err != nil {
		return nil, err
	}
	n := aead.NonceSize()
	if len(w.Bytes) < n {
		return nil, fault.New(fault.Corrupt, "the wrapped key is cut short")
	}
	key, err := aead.Open(nil, w.Bytes[:n], w.Bytes[n:], bind(w.Version, aad))
	if err != nil {
		return nil, fault.New(fault.Corrupt, "the wrapped key is damaged or belongs elsewhere")
	}
	return key, nil
}

func bind(version string, aad []byte) []byte {
	return append(fmt.Appendf(nil, "%s\x00", version), aad...)
}
