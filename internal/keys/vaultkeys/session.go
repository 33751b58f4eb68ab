package vaultkeys

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/strata-pacs/strata/internal/fault"
)

// session is one credential in use. Its goroutine renews the token, and logs in
// again where that fails; it ends with close.
type session struct {
	auth    Auth
	client  *api.Client
	timeout time.Duration

	logging chan struct{} // held while logging in
	mu      sync.Mutex
	logins  int             // how often it was logged in; 0: not yet
	token   *api.SecretAuth // of the last login

	fresh chan struct{} // tells the goroutine of a login
	ctx   context.Context
	stop  context.CancelFunc
	wg    sync.WaitGroup
}

func newSession(o Options, a Auth) (*session, error) {
	if err := a.check(); err != nil {
		return nil, err
	}
	client, err := newClient(o)
	if err != nil {
		return nil, err
	}
	s := &session{auth: a, client: client, timeout: o.Timeout, logging: make(chan struct{}, 1), fresh: make(chan struct{}, 1)}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.wg.Go(s.keep)
	return s, nil
}

// close ends the goroutine and gives the token back, unless it came from a file.
func (s *session) close() {
	s.stop()
	s.wg.Wait()
	if _, token := s.current(); token != nil && s.auth.Method != "token" {
		ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
		defer cancel()
		_ = s.client.Auth().Token().RevokeSelfWithContext(ctx, "") // it ends by itself otherwise
	}
	s.client.CloneConfig().HttpClient.CloseIdleConnections()
}

func (s *session) current() (logins int, token *api.SecretAuth) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.logins, s.token
}

// do makes a call within the timeout. Where Vault refuses it because the token
// has ended, it logs in and tries once more.
func (s *session) do(ctx context.Context, call func(context.Context, *api.Client) (*api.Secret, error)) (*api.Secret, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	logins, token := s.current()
	if token == nil {
		if err := s.login(ctx, 0); err != nil {
			return nil, err
		}
		logins, _ = s.current()
	}
	secret, err := call(ctx, s.client)
	if !forbidden(err) {
		return secret, err
	}
	if _, valid := s.client.Auth().Token().LookupSelfWithContext(ctx); valid == nil {
		return nil, err // the token is good
	} else if !forbidden(valid) {
		return nil, valid // Vault has just gone
	}
	if err := s.login(ctx, logins); err != nil {
		return nil, err
	}
	return call(ctx, s.client)
}

// login logs in, unless that was done since the caller counted the logins.
func (s *session) login(ctx context.Context, counted int) error {
	select {
	case s.logging <- struct{}{}:
		defer func() { <-s.logging }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if logins, _ := s.current(); logins > counted {
		return nil
	}
	token, err := s.auth.login(ctx, s.client)
	if err != nil {
		return err
	}
	s.client.SetToken(token.ClientToken)
	s.mu.Lock()
	s.logins, s.token = s.logins+1, token
	s.mu.Unlock()
	select {
	case s.fresh <- struct{}{}:
	default:
	}
	return nil
}

// keep renews the token of the last login until it ends, then logs in.
func (s *session) keep() {
	const first, most = time.Second, 30 * time.Second
	wait := first
	for s.ctx.Err() == nil {
		logins, token := s.current()
		if token == nil || token.LeaseDuration <= 0 {
			select { // there is none, or it holds for ever
			case <-s.fresh:
			case <-s.ctx.Done():
			}
			continue
		}
		if s.renew(token) {
			continue // there was another login
		}
		ctx, cancel := context.WithTimeout(s.ctx, s.timeout)
		err := s.login(ctx, logins)
		cancel()
		if err == nil && s.sameToken(token) {
			err = fault.New(fault.KeyDenied, "the file still holds the token that ends")
		}
		if err == nil {
			wait = first
			continue
		}
		select {
		case <-time.After(wait):
			wait = min(2*wait, most)
		case <-s.fresh:
		case <-s.ctx.Done():
		}
	}
}

func (s *session) sameToken(old *api.SecretAuth) bool {
	_, token := s.current()
	return token.ClientToken == old.ClientToken
}

// renew renews a token until it ends, or another login makes that needless.
func (s *session) renew(token *api.SecretAuth) (replaced bool) {
	w, err := s.client.NewLifetimeWatcher(&api.LifetimeWatcherInput{Secret: &api.Secret{Auth: token}})
	if err != nil {
		return false
	}
	var running sync.WaitGroup
	running.Go(w.Start)
	defer running.Wait()
	defer w.Stop()
	for {
		select {
		case <-s.fresh:
			if _, now := s.current(); now != token {
				return true
			}
		case <-w.DoneCh():
			return false
		case <-s.ctx.Done():
			return true
		}
	}
}
