package kmskeys

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// stub speaks as much of KMS's JSON protocol (application/x-amz-json-1.1) as the
// package uses, with AES-GCM under keys of its own.
type stub struct {
	*httptest.Server

	mu       sync.Mutex
	keys     map[string]cipher.AEAD
	disabled map[string]bool
	code     string // of the error that every call fails with
	status   int
	hang     chan struct{} // calls wait until it is closed
	contexts []string      // encryption contexts seen
}

func newStub(t testing.TB, ids ...string) *stub {
	s := &stub{keys: map[string]cipher.AEAD{}, disabled: map[string]bool{}}
	for _, id := range ids {
		key := make([]byte, 32)
		rand.Read(key)
		block, err := aes.NewCipher(key)
		if err != nil {
			t.Fatal(err)
		}
		if s.keys[id], err = cipher.NewGCM(block); err != nil {
			t.Fatal(err)
		}
	}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *stub) fail(status int, code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status, s.code = status, code
}

func (s *stub) refuse(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{"__type": code, "message": "the stub says no"})
}

func (s *stub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	hang := s.hang
	s.mu.Unlock()
	if hang != nil {
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	operation, ok := strings.CutPrefix(r.Header.Get("X-Amz-Target"), "TrentService.")
	var in struct {
		KeyId, Plaintext, CiphertextBlob string
		EncryptionContext                map[string]string
	}
	var bytes struct{ Plaintext, CiphertextBlob []byte }
	body := http.MaxBytesReader(w, r.Body, 1<<20)
	var raw json.RawMessage
	if err := json.NewDecoder(body).Decode(&raw); err != nil || json.Unmarshal(raw, &in) != nil || json.Unmarshal(raw, &bytes) != nil || !ok {
		s.refuse(w, 400, "SerializationException")
		return
	}
	admin := strings.Contains(r.Header.Get("Authorization"), "Credential=ADMIN/")
	_, id, isARN := strings.Cut(in.KeyId, ":key/")
	if !isARN {
		id = in.KeyId
	}
	aead := s.keys[id]
	switch {
	case s.code != "":
		s.refuse(w, s.status, s.code)
		return
	case !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 "):
		s.refuse(w, 400, "MissingAuthenticationTokenException")
		return
	case aead == nil:
		s.refuse(w, 400, "NotFoundException")
		return
	case admin != (operation == "DisableKey" || operation == "EnableKey"):
		s.refuse(w, 400, "AccessDeniedException")
		return
	case s.disabled[id] && (operation == "Encrypt" || operation == "Decrypt"):
		s.refuse(w, 400, "DisabledException")
		return
	}
	context, _ := json.Marshal(in.EncryptionContext) // sorted by key
	arn := "arn:aws:kms:eu-central-1:123456789012:key/" + id
	var out map[string]any
	switch operation {
	case "Encrypt":
		s.contexts = append(s.contexts, string(context))
		nonce := make([]byte, aead.NonceSize())
		rand.Read(nonce)
		out = map[string]any{"KeyId": arn, "CiphertextBlob": aead.Seal(nonce, nonce, bytes.Plaintext, context)}
	case "Decrypt":
		nonce := append(bytes.CiphertextBlob, make([]byte, aead.NonceSize())...)[:aead.NonceSize()]
		key, err := aead.Open(nil, nonce, bytes.CiphertextBlob[min(len(nonce), len(bytes.CiphertextBlob)):], context)
		if err != nil {
			s.refuse(w, 400, "InvalidCiphertextException")
			return
		}
		out = map[string]any{"KeyId": arn, "Plaintext": key}
	case "DescribeKey":
		state := "Enabled"
		if s.disabled[id] {
			state = "Disabled"
		}
		out = map[string]any{"KeyMetadata": map[string]any{"KeyId": id, "KeyState": state, "CreationDate": float64(time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC).Unix())}}
	case "DisableKey", "EnableKey":
		s.disabled[id] = operation == "DisableKey"
		out = map[string]any{}
	}
	json.NewEncoder(w).Encode(out)
}
