//go:build cgo

package pkcs11keys

import (
	"errors"
	"sync"
	"time"

	"github.com/miekg/pkcs11"

	"github.com/strata-pacs/strata/internal/fault"
)

// cryptoki is what is used of a PKCS #11 library.
type cryptoki interface {
	Finalize() error
	Destroy()
	GetSlotList(tokenPresent bool) ([]uint, error)
	GetTokenInfo(slot uint) (pkcs11.TokenInfo, error)
	GetMechanismList(slot uint) ([]*pkcs11.Mechanism, error)
	OpenSession(slot uint, flags uint) (pkcs11.SessionHandle, error)
	CloseSession(pkcs11.SessionHandle) error
	GetSessionInfo(pkcs11.SessionHandle) (pkcs11.SessionInfo, error)
	Login(s pkcs11.SessionHandle, user uint, pin string) error
	FindObjectsInit(pkcs11.SessionHandle, []*pkcs11.Attribute) error
	FindObjects(s pkcs11.SessionHandle, most int) ([]pkcs11.ObjectHandle, bool, error)
	FindObjectsFinal(pkcs11.SessionHandle) error
	GetAttributeValue(pkcs11.SessionHandle, pkcs11.ObjectHandle, []*pkcs11.Attribute) ([]*pkcs11.Attribute, error)
	EncryptInit(pkcs11.SessionHandle, []*pkcs11.Mechanism, pkcs11.ObjectHandle) error
	Encrypt(pkcs11.SessionHandle, []byte) ([]byte, error)
	DecryptInit(pkcs11.SessionHandle, []*pkcs11.Mechanism, pkcs11.ObjectHandle) error
	Decrypt(pkcs11.SessionHandle, []byte) ([]byte, error)
	CreateObject(pkcs11.SessionHandle, []*pkcs11.Attribute) (pkcs11.ObjectHandle, error)
	DestroyObject(pkcs11.SessionHandle, pkcs11.ObjectHandle) error
	GenerateKey(pkcs11.SessionHandle, []*pkcs11.Mechanism, []*pkcs11.Attribute) (pkcs11.ObjectHandle, error)
	WrapKey(s pkcs11.SessionHandle, m []*pkcs11.Mechanism, wrapping, key pkcs11.ObjectHandle) ([]byte, error)
	UnwrapKey(s pkcs11.SessionHandle, m []*pkcs11.Mechanism, unwrapping pkcs11.ObjectHandle, wrapped []byte, a []*pkcs11.Attribute) (pkcs11.ObjectHandle, error)
}

// Modules are the PKCS #11 libraries of a process. A library is initialised once
// in a process, however many tokens are used through it (PKCS #11 v2.40 §5.4), so
// those who use the same one share a Modules. The zero value is ready.
type Modules struct {
	mu     sync.Mutex
	byPath map[string]*module
	load   func(path string) (cryptoki, error) // these two are replaced in tests
	now    func() time.Time
}

// module is one library. Its lock is held for reading while it works, so that it
// is never ended below a call.
type module struct {
	all  *Modules
	path string

	users int // under all.mu

	mu      sync.RWMutex
	lib     cryptoki // nil: it could not be started again
	started time.Time
	age     int // how often it was started
}

func loadLibrary(path string) (cryptoki, error) {
	c := pkcs11.New(path)
	if c == nil {
		return nil, errors.New("not a PKCS #11 library")
	}
	if err := c.Initialize(); err != nil && !errors.Is(err, pkcs11.Error(pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED)) {
		c.Destroy()
		return nil, err
	}
	return c, nil
}

// use returns a library, loaded, until release.
func (m *Modules) use(path string) (*module, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if mod := m.byPath[path]; mod != nil {
		mod.users++
		return mod, nil
	}
	if m.load == nil {
		m.load = loadLibrary
	}
	if m.now == nil {
		m.now = time.Now
	}
	mod := &module{all: m, path: path, users: 1}
	if err := mod.start(); err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "the PKCS #11 module cannot be loaded; check its path")
	}
	if m.byPath == nil {
		m.byPath = map[string]*module{}
	}
	m.byPath[path] = mod
	return mod, nil
}

func (mod *module) release() {
	mod.all.mu.Lock()
	defer mod.all.mu.Unlock()
	if mod.users--; mod.users > 0 {
		return
	}
	delete(mod.all.byPath, mod.path)
	mod.mu.Lock()
	defer mod.mu.Unlock()
	mod.end()
}

// start loads the library; the caller holds the lock, or is alone.
func (mod *module) start() (err error) {
	mod.started = mod.all.now()
	mod.lib, err = mod.all.load(mod.path)
	mod.age++
	return err
}

func (mod *module) end() {
	if mod.lib != nil {
		_ = mod.lib.Finalize() // it has nothing that would be lost
		mod.lib.Destroy()
		mod.lib = nil
	}
}

// restartEvery keeps an HSM that is away from costing a start of its library with every call.
const restartEvery = 500 * time.Millisecond

// restart ends the library and starts it again, unless another has done so since
// the age, or has just tried.
func (mod *module) restart(age int) {
	mod.mu.Lock()
	defer mod.mu.Unlock()
	if mod.age != age || mod.all.now().Sub(mod.started) < restartEvery {
		return
	}
	mod.end()
	_ = mod.start() // the next call tells
}
