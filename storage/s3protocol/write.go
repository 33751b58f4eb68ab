package s3protocol

import (
	"context"
	"crypto/md5" // for the ETag that bytes will get, not for security
	"crypto/rand"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage/driver"
)

// Create implements driver.Driver.
func (s *Store) Create(ctx context.Context, key string, o driver.CreateOptions) (driver.Writer, error) {
	once := func(ctx context.Context, try func(context.Context) error) error { return try(ctx) }
	return s.CreateRepeating(ctx, key, o, once)
}

// CreateRepeating implements driver.Repeater: each part, and the commit, is sent
// by way of again.
func (s *Store) CreateRepeating(ctx context.Context, key string, o driver.CreateOptions, again driver.Again) (driver.Writer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if o.Size > partsMost*PartSize {
		return nil, errTooLarge
	}
	if o.Class == "" {
		o.Class = s.at.Class
	}
	w := &writer{s: s, key: key, o: o, again: again, part: new(Body), slots: make(chan struct{}, partsOfWriter)}
	w.put = PutOptions{IfAbsent: o.IfAbsent, Class: o.Class, Version: rand.Text()}
	w.ctx, w.cancel = context.WithCancel(ctx)
	return w, nil
}

var errTooLarge = fault.New(fault.TooLarge, "the object has more than the %d bytes that a store takes", int64(partsMost*PartSize))

// writer stages an object: in memory up to a part, then as an upload.
type writer struct {
	s      *Store
	ctx    context.Context // of Create; parts are sent under it
	cancel context.CancelFunc
	key    string
	o      driver.CreateOptions
	put    PutOptions
	again  driver.Again
	ended  bool

	part   *Body // being filled
	size   int64 // all in all
	crc    uint32
	upload string // empty while there is none
	parts  []Part // known by number; filled in as they arrive

	slots chan struct{} // one for each part of ours on its way
	wg    sync.WaitGroup
	mu    sync.Mutex // for parts and err
	err   error      // of a part
}

func (w *writer) Write(p []byte) (int, error) {
	if w.ended {
		return 0, errEnded
	}
	done := 0
	for done < len(p) {
		if err := w.failed(); err != nil {
			return done, err
		}
		if w.part.Len() == PartSize {
			if err := w.send(); err != nil {
				return done, err
			}
		}
		n := w.part.write(p[done:], PartSize)
		w.crc = crc32.Update(w.crc, castagnoli, p[done:done+n])
		w.size += int64(n)
		done += n
	}
	return done, w.failed()
}

// failed returns why nothing more can be written.
func (w *writer) failed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	return w.ctx.Err()
}

// send puts the part in memory on its way and begins another.
func (w *writer) send() error {
	if w.upload == "" {
		err := w.again(w.ctx, func(ctx context.Context) (err error) {
			w.upload, err = w.s.client.Start(ctx, w.s.key(w.key), w.put)
			return err
		})
		if err != nil {
			return w.fail(err)
		}
	}
	if len(w.parts) == partsMost {
		return w.fail(errTooLarge)
	}
	if err := w.acquire(); err != nil {
		return err
	}
	body := w.part
	w.part = new(Body)
	w.mu.Lock()
	w.parts = append(w.parts, Part{N: len(w.parts) + 1, CRC32C: body.CRC32C()})
	n := len(w.parts)
	w.mu.Unlock()
	w.wg.Go(func() {
		defer w.release()
		var tag string
		tries := 0
		err := w.again(w.ctx, func(ctx context.Context) (err error) {
			tries++
			tag, err = w.s.client.SendPart(ctx, w.s.key(w.key), w.upload, n, body)
			return err
		})
		if err != nil {
			w.fail(err)
			return
		}
		w.mu.Lock()
		w.parts[n-1].ETag = tag
		w.mu.Unlock()
		if tries == 1 {
			body.recycle()
		}
	})
	return nil
}

// acquire waits until a part may be sent.
func (w *writer) acquire() error {
	select {
	case w.slots <- struct{}{}:
	case <-w.ctx.Done():
		return w.failed()
	}
	select {
	case w.s.slots <- struct{}{}:
		return nil
	case <-w.ctx.Done():
		<-w.slots
		return w.failed()
	}
}

func (w *writer) release() {
	<-w.s.slots
	<-w.slots
}

// fail keeps the first error, and ends the parts that are on their way.
func (w *writer) fail(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
	w.cancel()
	return w.err
}

// Commit implements driver.Writer.
func (w *writer) Commit(ctx context.Context) (driver.Attrs, error) {
	if w.ended {
		return driver.Attrs{}, errEnded
	}
	defer w.Abort() // nothing is left to abort where it succeeded
	stop := context.AfterFunc(ctx, w.cancel)
	defer stop()
	if err := errors.Join(ctx.Err(), w.failed()); err != nil {
		return driver.Attrs{}, err
	}
	whole, err := w.prepare(ctx)
	if err != nil {
		return driver.Attrs{}, err
	}
	if !whole {
		err = w.send()
		w.wg.Wait()
		if err = errors.Join(err, w.failed()); err != nil {
			return driver.Attrs{}, err
		}
	}
	var a driver.Attrs
	clean := true // the first request succeeded
	err = w.again(ctx, func(ctx context.Context) error {
		var tag string
		var err error
		if whole {
			tag, err = w.s.client.Put(ctx, w.s.key(w.key), w.part, w.put)
		} else {
			tag, err = w.s.client.Complete(ctx, w.s.key(w.key), w.upload, w.parts, w.put)
		}
		a = driver.Attrs{Size: w.size, ETag: etag(tag, w.put.Version), Class: ownClass(w.put.Class)}
		if err != nil {
			a, err = w.explain(ctx, err, clean)
			clean = false
		}
		return err
	})
	if err != nil {
		return driver.Attrs{}, err
	}
	if clean {
		w.part.recycle()
	}
	w.upload = ""
	return a, nil
}

// prepare settles the conditions, and whether the object is one PUT.
func (w *writer) prepare(ctx context.Context) (whole bool, err error) {
	whole = w.upload == ""
	w.put.CRC32C, w.put.Size = encodeCRC(w.crc), w.size
	if w.o.IfMatch == "" {
		return whole, nil
	}
	// The store's condition is about its own ETag, which digests the bytes. That
	// the version is the one that was asked for must be looked up.
	var version string
	w.put.IfMatch, version, _ = strings.Cut(w.o.IfMatch, ".")
	err = w.again(ctx, func(ctx context.Context) error {
		h, err := w.s.head(ctx, w.key)
		if fault.Is(err, fault.NotFound) || err == nil && (h.Version != version || h.ETag != w.put.IfMatch) {
			return errConflict
		}
		return err
	})
	if err != nil || !whole {
		return whole, err
	}
	// An object replaced by its own bytes would keep that ETag, and another writer
	// with the same condition would succeed too. As an upload of one part it gets
	// another one.
	sum := md5.New()
	_, _ = io.Copy(sum, w.part.Reader()) // neither fails
	return hex.EncodeToString(sum.Sum(nil)) != w.put.IfMatch, nil
}

// explain finds out what a refusal means: another's object in the way, or that
// an earlier attempt, whose answer was lost, did succeed. only says that there was
// none before.
func (w *writer) explain(ctx context.Context, err error, only bool) (driver.Attrs, error) {
	refused := fault.Is(err, fault.Conflict) || fault.Is(err, fault.NotFound)
	full := fault.Is(err, fault.Full) && !only
	if !refused && !full && !errors.Is(err, errRaced) && !errors.Is(err, errNoUpload) {
		return driver.Attrs{}, err
	}
	h, lookup := w.s.head(ctx, w.key)
	switch {
	case lookup == nil && h.Version == w.put.Version:
		return h.attrs()
	case full: // which would promise that the earlier attempt does nothing any more
		return driver.Attrs{}, fault.Wrap(fault.Unavailable, err, "the store had no room for a second attempt")
	case lookup == nil && w.o.IfAbsent:
		return driver.Attrs{}, errExists
	case fault.Is(lookup, fault.NotFound) && refused && w.o.IfAbsent:
		// It was there and was deleted since: the next attempt may succeed.
		return driver.Attrs{}, fault.New(fault.Unavailable, "the object that was in the way is gone")
	case lookup != nil && !fault.Is(lookup, fault.NotFound):
		return driver.Attrs{}, lookup
	case w.o.IfMatch != "" && (refused || h.ETag != w.put.IfMatch):
		return driver.Attrs{}, errConflict
	}
	return driver.Attrs{}, err
}

// Abort implements driver.Writer.
func (w *writer) Abort() {
	if w.ended {
		return
	}
	w.ended = true
	w.cancel()
	w.wg.Wait()
	w.part = nil
	if w.upload == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), 30*time.Second)
	defer cancel()
	// What cannot be removed now is left to Sweep.
	_ = w.again(ctx, func(ctx context.Context) error { return w.s.client.Drop(ctx, w.s.key(w.key), w.upload) })
}
