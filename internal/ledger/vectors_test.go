package ledger

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/seal"
	"github.com/strata-pacs/strata/internal/vectors"
	"github.com/strata-pacs/strata/storage/driver"
)

var update = flag.Bool("update", false, "write the test vectors anew")

// errorNames are the names of storage/FORMAT.md; some are a blob's.
var errorNames = map[string][]error{
	"version": {ErrVersion}, "length": {ErrLength, seal.ErrLength}, "header": {ErrHeader, seal.ErrHeader}, "place": {ErrPlace},
	"section": {ErrSection}, "record": {ErrRecord}, "kind": {ErrKind}, "digest": {ErrDigest},
	"commitment": {seal.ErrCommitment}, "segment": {seal.ErrSegment},
}

func matches(err error, name string) bool {
	if name == "ok" {
		return err == nil
	}
	return slices.ContainsFunc(errorNames[name], func(want error) bool { return errors.Is(err, want) })
}

func TestVectors(t *testing.T) {
	if *update {
		writeVectors(t)
	}
	ctx := context.Background()
	good, bad := 0, 0
	for _, v := range vectors.Load(t, "fact-") {
		t.Run(v.Name, func(t *testing.T) {
			keys := func(_ context.Context, id archive.KeyID) (archive.Secret, error) {
				for _, k := range v.All("key") {
					if name, secret, _ := strings.Cut(k, " "); name == id.String() {
						b, err := hex.DecodeString(secret)
						return archive.Secret(b), err
					}
				}
				return archive.Secret{}, fault.New(fault.KeyDenied, "no such key")
			}
			n, err := strconv.ParseUint(v.Get("n"), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			o := raw(v.Bytes(t))
			e, err := Read(ctx, o, archive.Tenant(v.Get("tenant")), v.Get("session"), n, keys, All)
			if !matches(err, v.Get("expect")) {
				t.Fatalf("error %v, want %q", err, v.Get("expect"))
			}
			if err := Check(ctx, o, "o"); !matches(err, v.Get("check")) {
				t.Errorf("check: error %v, want %q", err, v.Get("check"))
			}
			if v.Get("expect") != "ok" {
				bad++
				if !fault.Is(err, fault.Corrupt) && !(v.Get("expect") == "kind" && fault.Is(err, fault.Conflict)) {
					t.Errorf("%v is of kind %v", err, fault.KindOf(err))
				}
				return
			}
			good++
			if v.Get("check") != "ok" {
				return // what is damaged is not in the fact
			}
			if got, want := describe(t, e.Fact), v.All("fact"); !slices.Equal(got, want) {
				t.Errorf("fact:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
	if good < 12 || bad < 12 {
		t.Errorf("%d good and %d bad vectors", good, bad)
	}
}

// raw serves bytes as the only object there is.
type raw []byte

func (r raw) Open(_ context.Context, _ string, off, n int64) (io.ReadCloser, error) {
	if off < 0 || off > int64(len(r)) {
		return nil, fault.New(fault.RangeInvalid, "past the end")
	}
	b := r[off:]
	if n >= 0 && n < int64(len(b)) {
		b = b[:n]
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

func (r raw) Stat(context.Context, string) (driver.Attrs, error) {
	return driver.Attrs{Size: int64(len(r))}, nil
}

// describe writes a fact as the vectors do, a field a line.
func describe(t testing.TB, f *archive.Fact) []string {
	t.Helper()
	z, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	var out []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	add("id=%v kind=%d study=%v key=%v", f.ID, f.Kind, f.Study, f.Key)
	for i, c := range f.Chunks {
		text, err := z.DecodeAll(c.Data, nil)
		if err != nil || len(text) != c.Size {
			t.Errorf("chunk %d: %d bytes, %v", i, len(text), err)
		}
		add("chunk %d size=%d text=%s", i, c.Size, text)
	}
	for i := range f.Instances {
		in := &f.Instances[i]
		add("instance %d study=%q series=%q instance=%q class=%q syntax=%q", i, in.Study, in.UIDs.Series, in.Instance, in.SOPClass, in.Syntax)
		for _, a := range in.Patient {
			add("instance %d patient %v %v %q", i, a.Tag, a.VR, a.Value)
		}
		for _, a := range in.Series {
			add("instance %d series %v %v %q", i, a.Tag, a.VR, a.Value)
		}
		for _, a := range in.Attrs {
			add("instance %d instance %v %v %q", i, a.Tag, a.VR, a.Value)
		}
		add("instance %d blob=%v key=%v object=%q offset=%d length=%d", i, in.Blob, in.Key, in.At.Object, in.At.Offset, in.At.Length)
		add("instance %d coding=%d segment-bits=%d size=%d digest=%x", i, in.Coding, in.SegmentBits, in.Size, in.Digest)
		add("instance %d layout=%x json=%d/%d/%d", i, in.Layout, in.JSON.Chunk, in.JSON.Offset, in.JSON.Length)
		for _, r := range in.Replaces {
			add("instance %d replaces=%v", i, r)
		}
		if in.Stated != (archive.FactID{}) {
			add("instance %d stated=%v", i, in.Stated)
		}
	}
	if f.Kind == archive.FactDeleted || f.Kind == archive.FactUndeleted {
		add("scope study=%q series=%q instance=%q", f.Scope.Study, f.Scope.Series, f.Scope.Instance)
	}
	for _, b := range f.Blobs {
		add("blob=%v", b)
	}
	for _, u := range f.Undoes {
		add("undoes=%v", u)
	}
	for _, p := range f.Packs {
		add("pack=%q size=%d digest=%x tier=%q from=%q", p.Object, p.Size, p.Digest, p.Tier, p.From)
	}
	for _, r := range f.Supersedes {
		add("supersedes=%q from=%d to=%d", r.Session, r.From, r.To)
	}
	for _, b := range f.Dropped {
		add("dropped=%v", b)
	}
	for _, s := range f.Sessions {
		add("session=%q last=%d ended=%v", s.Session, s.Last, s.Ended)
	}
	if f.Settings != nil {
		b, err := json.Marshal(f.Settings)
		if err != nil {
			t.Fatal(err)
		}
		add("settings=%s", b)
	}
	for _, k := range f.Closed {
		add("closed=%v until=%d", k, f.Until.UnixMilli())
	}
	if f.Closing != (archive.Closing{}) {
		add("instances=%d patient=%v issued=%v", f.Closing.Instances, f.Closing.Patient, f.Closing.Issued)
	}
	return out
}

// FuzzRead feeds objects whose seals are right as far as the fuzzer keeps
// them, and payloads of index records whose seals do not matter.
func FuzzRead(f *testing.F) {
	for _, v := range vectors.Load(f, "fact-") {
		f.Add(v.Bytes(f))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		ctx := context.Background()
		if _, err := Read(ctx, raw(b), tenant, "S1", 1, secrets, All); err != nil &&
			!fault.Is(err, fault.Corrupt) && !fault.Is(err, fault.KeyDenied) && !fault.Is(err, fault.Conflict) {
			t.Fatal(err)
		}
		if err := Check(ctx, raw(b), "o"); err != nil && !fault.Is(err, fault.Corrupt) {
			t.Fatal(err)
		}
	})
}

func FuzzRecord(f *testing.F) {
	store := newStore()
	fact, body := storedFact(f, store, 3, 10)
	l := newLog(f, store)
	d, err := l.draft(context.Background(), fact, &body)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(d.payload))
	f.Add(string(removal(&archive.Fact{Blobs: []archive.BlobID{{1}}, Undoes: []archive.FactID{{2}}})))
	f.Add(string(keyClosed(&archive.Fact{Closed: []archive.KeyID{{1}}, Until: time.UnixMilli(1)})))
	f.Add(string(keyClosed(&archive.Fact{Closed: []archive.KeyID{{1}}, Closing: archive.Closing{Instances: 1}})))
	settled := settledFact(2)
	e := encoder{tenant: tenant}
	if payload, err := e.settled(settled); err != nil {
		f.Fatal(err)
	} else {
		f.Add(string(payload))
	}
	f.Add(string((&header{kind: archive.FactMoved, session: "S1", places: placesIn(f, l, settled)}).append(nil)))
	f.Add(`{"state":"active","kek":"local/1"}`)
	f.Add(string(checkpoint([]archive.SessionEnd{{Session: "S", Last: 1 << 60, Ended: true}})))
	f.Fuzz(func(t *testing.T, s string) {
		h := &header{body: 1000, json: 1, layout: 1, objects: []string{"pack/1"}}
		var got archive.Fact
		if more, err := decodeStored(s, h, &got, tenant, "own"); err == nil && more.agrees(h) == nil {
			var json, layout [1 << 10]byte
			more.fillChunks(&got, json[:min(int(more.json), 1<<10)])
			more.fillLayouts(&got, layout[:min(int(more.layout), 1<<10)])
		} else if err != nil && !fault.Is(err, fault.Corrupt) {
			t.Fatal(err)
		}
		h = &header{kind: archive.FactSettled, key: studyKey, json: 1, layout: 1, objects: []string{"pack/A", "pack/B"}}
		got = archive.Fact{Key: studyKey, Packs: settled.Packs}
		if more, err := decodeSettled(s, h, &got, tenant); err == nil && more.agrees(h) == nil {
			for i := range got.Instances {
				if got.Instances[i].Stated == (archive.FactID{}) {
					t.Fatal("an instance that no fact has stated")
				}
			}
		} else if err != nil && !fault.Is(err, fault.Corrupt) {
			t.Fatal(err)
		}
		if err := errors.Join(decodeRemoval(s, &got), decodeCheckpoint(s, &got), decodeSettings(s, &got), decodeKeyClosed(s, &got)); err != nil && !fault.Is(err, fault.Corrupt) {
			t.Fatal(err)
		}
		if h, err := parseHeader([]byte(s)); err != nil && !fault.Is(err, fault.Corrupt) {
			t.Fatal(err)
		} else if err == nil {
			n := uint64(0)
			for _, r := range h.places.supersedes {
				n += r.To - r.From + 1
			}
			if n > MaxSuperseded {
				t.Fatalf("%d entries superseded", n)
			}
		}
	})
}
