package restore

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
)

// TestUnreadableRows: a row that cannot be decoded, of whatever kind, keeps nothing else from its end, is counted, and is
// logged once.
func TestUnreadableRows(t *testing.T) {
	var log bytes.Buffer
	w := newWorld(t, Options{Slog: slog.New(slog.NewTextHandler(&log, nil))})
	ctx := t.Context()
	for _, kind := range []string{kindOpen, kindEnding, kindBatch, kindPace} {
		tenant := alpha
		if kind == kindPace {
			tenant = ""
		}
		_, err := w.table.Merge(ctx, tenant, kind, kind+"-broken", noon, 0, func(r *Row) error {
			r.Payload, r.Due = []byte("\x00not a row"), noon
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	w.study("1.2", "alpha/pack/A")
	w.study("1.3", "alpha/pack/B")
	id := w.ask(archive.RestoreRequest{Studies: []string{"1.2", "1.3"}}).ID
	for range 3 {
		w.pass(time.Second)
	}
	got, err := w.r.Counts(ctx)
	if err != nil || got[archive.RestoreUnreadable] != 1 || got[archive.RestoreRunning] != 2 {
		t.Errorf("%v, %v", got, err)
	}
	list, err := w.r.List(ctx, alpha, "", 10, true)
	if err != nil || len(list) != 3 {
		t.Errorf("%d are listed, %v", len(list), err)
	}
	w.until(id, 10*time.Minute, archive.RestoreDone)
	if n := strings.Count(log.String(), "a restore cannot be read"); n != 4 {
		t.Errorf("logged %d times, want once each of four:\n%s", n, log.String())
	}
}

// TestUnopenableRow: a row whose sealed part does not open is logged once, and others go on.
func TestUnopenableRow(t *testing.T) {
	var log bytes.Buffer
	w := newWorld(t, Options{Slog: slog.New(slog.NewTextHandler(&log, nil))})
	w.study("1.2", "alpha/pack/A")
	w.study("1.3", "alpha/pack/B")
	broken, whole := w.ask(one("1.2")).ID, w.ask(one("1.3")).ID
	n, err := rowID(broken)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.table.Change(t.Context(), n, func(r *Row) error {
		u, err := decode[unit](*r)
		if err != nil {
			return err
		}
		u.Sealed = []byte("of another key")
		return encode(r, u)
	})
	if err != nil {
		t.Fatal(err)
	}
	w.until(whole, 10*time.Minute, archive.RestoreDone)
	if w.status(broken).State != archive.RestoreWaiting {
		t.Errorf("%+v", w.status(broken))
	}
	if n := strings.Count(log.String(), "a restore cannot be read"); n != 1 {
		t.Errorf("logged %d times:\n%s", n, log.String())
	}
}

// TestAskedAnew: a row that cannot be decoded, or opened, is replaced by who asks for its study, alone or among others.
func TestAskedAnew(t *testing.T) {
	for name, damage := range map[string]func(*Row) error{
		"row": func(r *Row) error { r.Payload = []byte("\x00not a row"); return nil },
		"sealed part": func(r *Row) error {
			u, err := decode[unit](*r)
			if err != nil {
				return err
			}
			u.Sealed = []byte("of another key")
			return encode(r, u)
		},
	} {
		for _, studies := range [][]string{{"1.2"}, {"1.2", "1.3"}} {
			t.Run(name, func(t *testing.T) {
				w := newWorld(t, Options{})
				w.study("1.2", "alpha/pack/A")
				w.study("1.3", "alpha/pack/B")
				first := w.ask(one("1.2")).ID
				n, err := rowID(first)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := w.table.Change(t.Context(), n, damage); err != nil {
					t.Fatal(err)
				}
				w.pass(time.Second)
				again := w.ask(archive.RestoreRequest{Studies: studies})
				w.until(again.ID, 10*time.Minute, archive.RestoreDone)
				if st := w.status(first); st.State != archive.RestoreDone || st.Packs != 1 || len(studies) == 1 && again.ID != first {
					t.Errorf("the first: %+v", st)
				}
			})
		}
	}
}
