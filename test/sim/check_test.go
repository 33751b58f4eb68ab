package sim

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/keys"
	"github.com/strata-pacs/strata/internal/ledger"
	"github.com/strata-pacs/strata/internal/seal"
	"github.com/strata-pacs/strata/storage"
	"github.com/strata-pacs/strata/storage/driver"
)

var memOptions = driver.CreateOptions{}

// truth is the model of everything in the log.
func (w *world) truth(ctx context.Context, ring *keys.Ring) (*model, error) {
	m := newModel()
	b := storage.New(w.store)
	sessions, err := ledger.Sessions(ctx, b, tenant)
	if err != nil {
		return nil, err
	}
	for _, s := range sessions {
		next := uint64(1)
		for p, err := range ledger.Numbers(ctx, b, tenant, s, 0) {
			if err != nil {
				return nil, err
			}
			e, err := ledger.ReadPlace(ctx, b, tenant, p, ring.Secret, ledger.Index)
			if err != nil {
				return nil, fmt.Errorf("the log cannot be read: %w", err)
			}
			if p.N != next && w.over(ctx, s) {
				return nil, fmt.Errorf("session %s has a hole at %d", s, next)
			}
			next = p.N + 1
			if _, err := m.Apply(ctx, tenant, e); err != nil {
				return nil, err
			}
		}
	}
	return m, nil
}

// describe writes down all that an index says of instances.
func describe(ctx context.Context, x index) (string, error) {
	var lines []string
	err := x.Each(ctx, tenant, 0, func(r *archive.InstanceRow, s archive.State) bool {
		lines = append(lines, fmt.Sprintf("%v state %d blob %.12s fact %v key %v %v %d bytes, digest %x",
			r.UIDs, s, r.Blob.String(), r.Source.Fact, r.Key, r.At, r.Size, r.Digest[:6]))
		return true
	})
	sort.Strings(lines)
	return strings.Join(lines, "\n"), err
}

// settled is called when all is at rest after a round in which nothing went
// wrong: the nodes that are up answer for what they know.
func (w *world) settled() error {
	for _, n := range w.nodes {
		if !n.up {
			continue
		}
		for _, s := range w.sent {
			if s.round != w.round || !s.acked || s.node != n {
				continue
			}
			rows, _, err := n.index.Versions(context.Background(), tenant, s.uids())
			if err != nil {
				return err
			}
			if len(rows) == 0 {
				return fmt.Errorf("%v was acknowledged and is not visible right after", s.item)
			}
		}
		for _, d := range w.deleted {
			if d.round != w.round {
				continue
			}
			if left, err := n.index.Blobs(context.Background(), tenant, d.scope); err != nil || len(left) > 0 && len(w.nodes) == 1 {
				return fmt.Errorf("%d instances are left right after a deletion (%v)", len(left), err)
			}
		}
	}
	return w.laws()
}

// laws are those about objects that hold at any time.
func (w *world) laws() error {
	if c := w.store.complaints; len(c) > 0 {
		return fmt.Errorf("%s", strings.Join(c, "; "))
	}
	ctx := context.Background()
	b := storage.New(w.store)
	for o, err := range b.All(ctx, "", "") {
		if err != nil {
			return err
		}
		if w.scanned[o.Key] { // none is ever changed
			continue
		}
		w.scanned[o.Key] = true
		text, err := b.ReadRange(ctx, o.Key, 0, o.Size)
		if err != nil {
			return err
		}
		for _, mark := range []string{nameMark, idMark, root} {
			if bytes.Contains(text, []byte(mark)) || strings.Contains(o.Key, mark) {
				return fmt.Errorf("object %s can be read without a key", o.Key)
			}
		}
	}
	return nil
}

// acknowledged checks what users were told against the truth: whatever was
// acknowledged is there, and is shown unless a deletion may have named it.
func (w *world) acknowledged(ctx context.Context, truth *model, ring *keys.Ring) error {
	for _, s := range w.sent {
		if !s.acked {
			continue
		}
		sum := ring.Digest()
		sum.Write(w.file(s.item))
		digest := archive.Digest(sum.Sum(nil))
		u := s.uids()
		mayBeDeleted := slices.ContainsFunc(w.deleted, func(d deletion) bool {
			return below(d.scope, u) && (s.known || d.round >= s.round)
		})
		there, live := false, false
		for _, r := range truth.view() {
			if r.UIDs == u && r.Digest == digest {
				there = true
				live = live || r.state != archive.StateDeleted
			}
		}
		if !there {
			return fmt.Errorf("%v was acknowledged in round %d and is lost", s.item, s.round)
		}
		if !live && !mayBeDeleted {
			return fmt.Errorf("%v was acknowledged in round %d, never deleted after, and is hidden", s.item, s.round)
		}
	}
	return nil
}

// readable reads every instance back, deleted ones too, and compares it with what was sent.
func (w *world) readable(ctx context.Context, truth *model, ring *keys.Ring) error {
	for _, r := range truth.view() {
		secret, err := ring.Secret(ctx, r.Key)
		if err != nil {
			return fmt.Errorf("the key of an instance: %w", err)
		}
		var got bytes.Buffer
		rd := seal.NewReader(located{storage.New(w.store), r.At}, secret, seal.Binding{Tenant: tenant, Kind: seal.KindInstance, Key: r.Key},
			seal.ReadOptions{Blob: r.Blob, Coding: r.Coding, SegmentBits: r.SegmentBits, Plain: r.Size, Sealed: r.At.Length})
		if _, err := rd.WriteRange(ctx, &got, 0, -1); err != nil {
			return fmt.Errorf("an instance cannot be read back: %w", err)
		}
		if !slices.ContainsFunc(w.sent, func(s sent) bool { return s.uids() == r.UIDs && bytes.Equal(w.file(s.item), got.Bytes()) }) {
			return fmt.Errorf("an instance reads back as something that was never sent")
		}
	}
	return nil
}
