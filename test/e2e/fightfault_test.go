//go:build linux

package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/strata-pacs/strata/storage/s3protocol/s3protocoltest"
)

// fault puts one fault in and mends it; those of the stores last until the round is over.
func (f *fight) fault(t *testing.T) error {
	ctx := t.Context()
	v := f.n(len(f.Nodes))
	victim, other := f.Nodes[v], f.Nodes[(v+1)%len(f.Nodes)]
	pause := func(d time.Duration) { time.Sleep(d/4 + time.Duration(f.n(int(d/time.Millisecond)))*time.Millisecond) }
	all := map[string]func() error{
		"killed": func() error {
			victim.Kill()
			pause(2 * time.Second)
			return victim.Start(ctx)
		},
		"killed with another": func() error {
			victim.Kill()
			pause(500 * time.Millisecond)
			other.Kill()
			pause(2 * time.Second)
			return errors.Join(victim.Start(ctx), other.Start(ctx))
		},
		"killed while it starts": func() error {
			victim.Kill()
			soon, cancel := context.WithTimeout(ctx, 100*time.Millisecond+time.Duration(f.n(500))*time.Millisecond)
			defer cancel()
			if victim.Start(soon) == nil {
				return nil
			}
			return victim.Start(ctx)
		},
		"frozen": func() error {
			if err := victim.Freeze(); err != nil {
				return err
			}
			time.Sleep(fightLease + time.Second + time.Duration(f.n(4000))*time.Millisecond)
			return victim.Thaw()
		},
		"frozen for a moment": func() error {
			if err := victim.Freeze(); err != nil {
				return err
			}
			pause(2 * time.Second)
			return victim.Thaw()
		},
		"PostgreSQL killed": func() error {
			f.Postgres.Kill()
			pause(time.Second)
			return f.Postgres.Start(ctx)
		},
		"PostgreSQL restarted": func() error { return f.Postgres.Restart(ctx) },
		"S3 killed": func() error {
			f.S3.Kill()
			pause(time.Second)
			return f.S3.Start(ctx)
		},
		"hot store in trouble": func() error {
			f.store3.Script(f.broken(8))
			pause(3 * time.Second)
			f.store3.Script(nil)
			return nil
		},
		"cold stores in trouble": func() error {
			f.provider.Faults.Script(f.broken(25))
			pause(2 * time.Second)
			return nil
		},
		"cold stores refuse": func() error {
			f.provider.Faults.Answer(func(w http.ResponseWriter, _ *http.Request) bool {
				w.Header().Set("Content-Type", "application/xml")
				w.WriteHeader(http.StatusForbidden)
				fmt.Fprint(w, "<Error><Code>AccessDenied</Code><Message>no</Message></Error>")
				return true
			})
			pause(4 * time.Second)
			f.provider.Faults.Answer(nil)
			return nil
		},
		"cold stores throttle": func() error {
			f.provider.SetRate(20)
			pause(4 * time.Second)
			f.provider.SetRate(0)
			return nil
		},
	}
	if f.Network != nil {
		all["cut off from PostgreSQL"] = func() error {
			if err := f.Network.Cut(v); err != nil {
				return err
			}
			pause(2 * fightLease)
			return f.Network.Heal(v)
		}
	}
	if f.clocks {
		all["with another clock"] = func() error {
			ahead := time.Duration(f.n(1000))*time.Millisecond - fightSkew/2
			if err := setClock(victim, ahead); err != nil {
				return err
			}
			return victim.Restart(ctx)
		}
	}
	names := slices.Sorted(maps.Keys(all))
	name := names[f.n(len(names))]
	f.faults[name]++
	t.Logf("%s: %s", name, victim.Name())
	if err := all[name](); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// broken lets so many of a hundred requests go wrong.
func (f *fight) broken(percent int) func(*http.Request) s3protocoltest.Action {
	random := rand.New(rand.NewPCG(f.seed, uint64(percent)))
	actions := []s3protocoltest.Action{s3protocoltest.Reset, s3protocoltest.SlowDown, s3protocoltest.Lost, s3protocoltest.Lost, s3protocoltest.Truncate, s3protocoltest.Raced,
		s3protocoltest.Broken, s3protocoltest.FlipRequest}
	return func(*http.Request) s3protocoltest.Action { // called one at a time
		if random.IntN(100) >= percent {
			return s3protocoltest.Pass
		}
		a := actions[random.IntN(len(actions))]
		f.mu.Lock()
		defer f.mu.Unlock()
		f.trouble[a]++
		return a
	}
}

// ready waits until every node serves.
func (f *fight) ready(t *testing.T) {
	t.Helper()
	for _, n := range f.Nodes {
		for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
			status, body, err := f.do(t.Context(), "GET", n.URL+"/readyz", "", "", nil)
			if err == nil && status == http.StatusOK {
				break
			}
			if time.Now().After(end) {
				t.Errorf("%s is not ready: status %d, %v: %s", n.Name(), status, err, body)
				break
			}
		}
	}
}
