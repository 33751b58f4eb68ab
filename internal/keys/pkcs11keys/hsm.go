//go:build cgo

package pkcs11keys

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"sync"

	"github.com/miekg/pkcs11"

	"github.com/strata-pacs/strata/internal/fault"
)

// HSM is a token in use: a [keys.Wrapper] whose KEK IDs are labels of AES keys.
type HSM struct {
	o     Options
	mod   *module
	calls chan struct{} // one for each call that goes on
	wg    sync.WaitGroup

	mu     sync.Mutex
	closed bool
	idle   []session
	slot   uint
	mech   Mechanism // for Wrap
	age    int       // of the library that slot, mech and idle belong to; 0: none
	badPIN [32]byte  // hash of a PIN that the token refused
}

// session is a session that is logged in.
type session struct {
	lib    cryptoki
	handle pkcs11.SessionHandle
	mech   Mechanism
}

// Open loads the module. It does not need the token to be there yet. Errors are
// fault.Invalid and name the option.
func Open(o Options) (*HSM, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	mod, err := o.Modules.use(o.Module)
	if err != nil {
		return nil, err
	}
	return &HSM{o: o, mod: mod, calls: make(chan struct{}, o.Sessions)}, nil
}

// Close ends the sessions. It waits for calls that go on, and refuses others.
func (h *HSM) Close() error {
	h.mu.Lock()
	again := h.closed
	h.closed = true
	h.mu.Unlock()
	h.wg.Wait()
	if again {
		return nil
	}
	h.forget()
	h.mod.release()
	return nil
}

// do runs a call in a session, one that may write where that is asked for. Where
// the token was away, or has forgotten the session, it opens another one and
// runs the call once more; where that does not help, it starts the library
// again. A call that hangs keeps its place among the calls until it ends; the
// caller goes.
func do[T any](ctx context.Context, h *HSM, what string, bad fault.Kind, write bool, call func(session) (T, error)) (T, error) {
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	within, cancel := context.WithTimeout(ctx, h.o.Timeout)
	defer cancel()
	late := func() error {
		if errors.Is(ctx.Err(), context.Canceled) {
			return ctx.Err()
		}
		return fault.Wrap(fault.KeyUnreachable, within.Err(), "the HSM does not answer (%s)", what)
	}
	select {
	case h.calls <- struct{}{}:
	case <-within.Done():
		return none, late()
	}
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	ended := func() { <-h.calls }
	if !h.begin() {
		ended()
		return none, errClosed
	}
	go func() {
		defer h.wg.Done()
		defer ended()
		var r result
		try := func() { r.err = h.attempt(write, func(s session) (err error) { r.value, err = call(s); return err }) }
		try()
		if lost(r.err) && within.Err() == nil {
			h.forget()
			try()
		}
		if lost(r.err) && within.Err() == nil {
			h.mod.restart(h.forget())
			try()
		}
		done <- r
	}()
	select {
	case r := <-done:
		if r.err != nil {
			return none, classify(r.err, what, bad)
		}
		return r.value, nil
	case <-within.Done():
		return none, late()
	}
}

// begin counts a call, unless the token is closed.
func (h *HSM) begin() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.wg.Add(1)
	}
	return !h.closed
}

// attempt runs a call in a session that is idle or new.
func (h *HSM) attempt(write bool, call func(session) error) error {
	h.mod.mu.RLock()
	defer h.mod.mu.RUnlock()
	if h.mod.lib == nil {
		return errUnloaded
	}
	s, err := h.take(write)
	if err != nil {
		return err
	}
	err = call(s)
	h.mu.Lock()
	keep := !write && !lost(err) && h.age == h.mod.age
	if keep {
		h.idle = append(h.idle, s)
	}
	h.mu.Unlock()
	if !keep {
		_ = s.lib.CloseSession(s.handle)
	}
	return err
}

// take returns a session that is logged in.
func (h *HSM) take(write bool) (session, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.age != h.mod.age {
		h.idle = nil // they ended with the library
		if err := h.find(h.mod.lib); err != nil {
			return session{}, err
		}
		h.age = h.mod.age
	}
	if n := len(h.idle); n > 0 && !write {
		s := h.idle[n-1]
		h.idle = h.idle[:n-1]
		return s, nil
	}
	return h.open(write)
}

// open opens a session and logs in; the caller holds the lock. A PIN that the
// token refused is not tried again: that would lock the token.
func (h *HSM) open(write bool) (session, error) {
	pin, err := readPIN(h.o.PINFile)
	if err != nil {
		return session{}, err
	}
	defer clear(pin)
	hash := sha256.Sum256(pin)
	if bytes.Equal(hash[:], h.badPIN[:]) {
		return session{}, fault.New(fault.KeyDenied, "the HSM refused the PIN; put the right one in the PIN file. It is not tried again, because the HSM would lock itself")
	}
	flags := uint(pkcs11.CKF_SERIAL_SESSION)
	if write {
		flags |= pkcs11.CKF_RW_SESSION
	}
	lib := h.mod.lib
	handle, err := lib.OpenSession(h.slot, flags)
	if err != nil {
		return session{}, err
	}
	err = lib.Login(handle, pkcs11.CKU_USER, string(pin))
	if err != nil && !is(err, pkcs11.CKR_USER_ALREADY_LOGGED_IN) {
		if is(err, pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_PIN_INVALID, pkcs11.CKR_PIN_LEN_RANGE) {
			h.badPIN = hash
		}
		_ = lib.CloseSession(handle)
		return session{}, err
	}
	return session{lib, handle, h.mech}, nil
}

// find looks for the token and for what it can do; the caller holds the lock.
func (h *HSM) find(lib cryptoki) error {
	slots, err := lib.GetSlotList(true)
	if err != nil {
		return err
	}
	for _, slot := range slots {
		info, err := lib.GetTokenInfo(slot)
		if err != nil {
			continue // another token may be away
		}
		if h.o.Slot != nil && *h.o.Slot != slot || h.o.Token != "" && h.o.Token != info.Label || h.o.Serial != "" && h.o.Serial != info.SerialNumber {
			continue
		}
		h.slot = slot
		return h.choose(lib)
	}
	return errNoToken
}

// choose picks the mechanism for Wrap.
func (h *HSM) choose(lib cryptoki) error {
	list, err := lib.GetMechanismList(h.slot)
	if err != nil {
		return err
	}
	has := map[uint]bool{}
	for _, m := range list {
		has[m.Mechanism] = true
	}
	for _, m := range []Mechanism{GCM, KeyWrapPad, KeyWrap} {
		if (h.o.Mechanism == Auto || h.o.Mechanism == m) && has[layouts[m].mechanism] {
			h.mech = m
			return nil
		}
	}
	return fault.New(fault.KeyDenied, "the HSM has no mechanism that Strata wraps with: AES-GCM, AES-KEY-WRAP-PAD or AES-KEY-WRAP, or not the one that is set")
}

// forget ends the idle sessions, and returns the age of the library that they were of.
func (h *HSM) forget() int {
	h.mod.mu.RLock()
	defer h.mod.mu.RUnlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.age == h.mod.age && h.mod.lib != nil {
		for _, s := range h.idle {
			_ = s.lib.CloseSession(s.handle)
		}
	}
	h.idle, h.age = nil, 0
	return h.mod.age
}
