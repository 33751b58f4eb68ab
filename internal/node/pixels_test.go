package node

import (
	"bytes"
	"context"
	"fmt"
	picture "image"
	_ "image/jpeg"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/pixel/render"
	"github.com/strata-pacs/strata/internal/pixel/sandbox"
	"github.com/strata-pacs/strata/internal/retrieve"
	"github.com/strata-pacs/strata/internal/testdata"
	"github.com/strata-pacs/strata/internal/thumbnail"
	"github.com/strata-pacs/strata/storage/memstore"
)

func TestMain(m *testing.M) {
	sandbox.Main()
	os.Exit(m.Run())
}

func (p *place) thumbnail(n *Archive, sel archive.UIDs, v thumbnail.Viewport) (picture.Image, error) {
	p.t.Helper()
	body, err := n.Thumbnail.Thumbnail(p.t.Context(), n.Tenant, sel, 0, v)
	if err != nil {
		return nil, err
	}
	return p.decode(body), nil
}

func (p *place) decode(body *retrieve.Body) picture.Image {
	p.t.Helper()
	var b bytes.Buffer
	if err := body.Write(p.t.Context(), &b); err != nil {
		p.t.Fatal(err)
	}
	img, _, err := picture.Decode(&b)
	if err != nil {
		p.t.Fatal(err)
	}
	return img
}

// thumbs returns the files of stored thumbnails.
func (p *place) thumbs() (files []string) {
	p.t.Helper()
	err := filepath.WalkDir(p.o.Data, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.Contains(path, "/thumb/") {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return files
}

// TestThumbnailsOfRealFiles: of each instance that can be rendered there is a
// picture that fits, with the aspect of the whole one, sealed in the store.
func TestThumbnailsOfRealFiles(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.o.PixelCache, p.o.PixelTimeout = pixelCache(t), time.Minute // machines that test are busy
	n := p.open()
	seen, syntaxes := map[string]bool{}, map[string]int{}
	var stored []archive.UIDs
	var files [][]byte
	for _, f := range testdata.Files(t, "ok", "ok-derived") {
		u := archive.UIDs{Study: f.Field("study_uid"), Series: f.Field("series_uid"), Instance: f.Field("sop_uid")}
		// Some of each transfer syntax: what all look like is tested elsewhere.
		if syntaxes[f.Syntax]++; seen[u.Instance] || syntaxes[f.Syntax] > 6 {
			continue
		}
		seen[u.Instance] = true
		files, stored = append(files, f.Bytes(t)), append(stored, u)
	}
	store(t, n, files...)
	made := 0
	for _, u := range stored {
		list, err := n.Retrieve.Find(t.Context(), n.Tenant, u, retrieve.Layouts)
		if err != nil || len(list) != 1 {
			t.Fatalf("%d instances, %v", len(list), err)
		}
		whole, werr := n.Retrieve.Rendered(t.Context(), &list[0], nil, render.JPEG, render.Options{})
		img, err := p.thumbnail(n, u, thumbnail.Viewport{Width: 120, Height: 64})
		if (err == nil) != (werr == nil) || err != nil && !fault.Is(err, fault.NotAcceptable) {
			t.Errorf("%s: %v, rendered: %v", u.Instance, err, werr)
		}
		if err != nil || werr != nil {
			continue
		}
		made++
		size, full := img.Bounds().Size(), p.decode(whole).Bounds().Size()
		scale := min(120/float64(full.X), 64/float64(full.Y))
		off := 1 + scale/2 // the whole one was rounded too
		if math.Abs(float64(size.X)-max(1, scale*float64(full.X))) > off || math.Abs(float64(size.Y)-max(1, scale*float64(full.Y))) > off {
			t.Errorf("%s: %v becomes %v", u.Instance, full, size)
		}
		if _, err := p.thumbnail(n, u, thumbnail.Viewport{}); err != nil {
			t.Error(err)
		}
		for _, sel := range []archive.UIDs{{Study: u.Study}, {Study: u.Study, Series: u.Series}} {
			if _, err := p.thumbnail(n, sel, thumbnail.Viewport{}); err != nil {
				t.Errorf("%v: %v", sel, err)
			}
		}
	}
	t.Logf("%d pictures of %d instances", made, len(stored))
	kept := p.thumbs()
	if made < len(stored)/2 || len(kept) < made {
		t.Errorf("%d pictures of %d instances, %d kept", made, len(stored), len(kept))
	}
	for _, name := range kept {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		// As long as it takes that ciphertext does not have it by chance.
		if bytes.Contains(b, []byte("\xFF\xD8\xFF\xDB\x00")) || bytes.Contains(b, []byte("JFIF\x00")) {
			t.Errorf("%s is a picture in the clear", filepath.Base(name))
		}
	}

	// They are no part of the log, and are there again after the index was made anew.
	if r := p.verify(n); len(r.Gaps) > 0 {
		t.Errorf("verify: %+v", r.Gaps)
	}
	p.close(n)
	if r, err := Rebuild(t.Context(), p.o, nil); err != nil || len(r.Gaps) > 0 {
		t.Fatalf("rebuild: %+v, %v", r.Gaps, err)
	}
	n = p.open()
	defer p.close(n)
	for _, u := range stored {
		if _, err := p.thumbnail(n, u, thumbnail.Viewport{}); err != nil && !fault.Is(err, fault.NotAcceptable) {
			t.Error(err)
		}
	}
	if len(p.thumbs()) != len(kept) {
		t.Errorf("%d thumbnails, then %d", len(kept), len(p.thumbs()))
	}
}

// pixelCache is a folder for compiled code that tests share.
func pixelCache(t *testing.T) string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return t.TempDir()
	}
	return filepath.Join(dir, "strata-build", "codecs")
}

// TestThumbnailsAhead: made when a study is quiet, kept over restarts, and gone
// with what they are of, whatever was going on when the process died.
func TestThumbnailsAhead(t *testing.T) {
	p := newPlace(t)
	p.o.ThumbnailAfter = time.Millisecond
	n := p.open()
	until := func(what string, ok func() bool) {
		t.Helper()
		for range 2000 {
			if ok() {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
		t.Fatalf("never happened: %s", what)
	}
	u, file := image(1, 1)
	store(t, n, file)
	until("a thumbnail is made", func() bool { return len(p.thumbs()) == 1 })
	p.abandon(n)
	p.host.pool.Close()
	n = p.open()
	if _, err := p.thumbnail(n, u, thumbnail.Viewport{}); err != nil || len(p.thumbs()) != 1 {
		t.Errorf("after a crash: %v, %d thumbnails", err, len(p.thumbs()))
	}
	if err := n.Remove.Delete(t.Context(), n.Tenant, u); err != nil {
		t.Fatal(err)
	}
	if _, err := p.thumbnail(n, u, thumbnail.Viewport{}); !fault.Is(err, fault.NotFound) {
		t.Errorf("deleted: %v", err)
	}
	p.abandon(n) // perhaps before it was swept
	p.host.pool.Close()
	n = p.open()
	until("the leftovers go", func() bool { return len(p.thumbs()) == 0 })
	p.close(n)
	p.close(p.open())
}

// TestThumbnailsOnAFullDisk: they are answered and not kept, and stores are none the worse.
func TestThumbnailsOnAFullDisk(t *testing.T) {
	p := newPlace(t)
	m := memstore.New(memstore.Options{})
	p.o.Driver = m
	n := p.open()
	defer p.close(n)
	u, file := image(1, 1)
	store(t, n, file)
	m.SetCapacity(1)
	for range 2 {
		if _, err := p.thumbnail(n, u, thumbnail.Viewport{}); err != nil {
			t.Error(err)
		}
	}
	page, err := n.Bucket.List(t.Context(), string(n.Tenant)+"/thumb/", "", 10)
	if err != nil || len(page.Objects) != 0 {
		t.Errorf("%v, %v", page.Objects, err)
	}
	m.SetCapacity(1 << 40)
	v := thumbnail.Viewport{Width: 64, Height: 64}
	if _, err := p.thumbnail(n, u, v); err != nil {
		t.Error(err)
	}
	if page, err = n.Bucket.List(t.Context(), string(n.Tenant)+"/thumb/", "", 10); err != nil || len(page.Objects) != 1 {
		t.Errorf("with room again: %v, %v", page.Objects, err)
	}
}

// TestCloseWhileRendering: what is under way ends with an error, and nothing hangs.
func TestCloseWhileRendering(t *testing.T) {
	p := newPlace(t)
	n := p.open()
	u, file := image(1, 1)
	store(t, n, file)
	done := make(chan error)
	for i := range 4 {
		go func() {
			var err error
			for side := 8; err == nil; side = side%512 + 8 {
				_, err = n.Thumbnail.Thumbnail(context.Background(), n.Tenant, u, 0, thumbnail.Viewport{Width: side, Height: side + i})
			}
			done <- err
		}()
	}
	time.Sleep(20 * time.Millisecond)
	n.Thumbnail.Close()
	for range 4 {
		if err := <-done; !fault.Is(err, fault.Unavailable) && !fault.Is(err, fault.Canceled) {
			t.Error(fmt.Errorf("after Close: %w", err))
		}
	}
	p.close(n)
}
