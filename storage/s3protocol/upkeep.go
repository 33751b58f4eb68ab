package s3protocol

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage/driver"
)

// StaleAfter is the age at which an unfinished upload is surely abandoned.
const StaleAfter = 24 * time.Hour

// Sweep removes unfinished uploads below the prefix that began more than
// [StaleAfter] ago, at most limit of them, and returns how many it removed. They
// take room, and cost money, until then. Only one caller is needed at a time.
func (s *Store) Sweep(ctx context.Context, limit int) (removed int, err error) {
	before := s.now().Add(-StaleAfter)
	for at := new(Upload); at != nil; {
		found, next, err := s.client.Unfinished(ctx, s.at.Prefix, *at)
		if err != nil {
			return removed, err
		}
		for _, u := range found {
			if !u.Started.Before(before) {
				continue
			}
			if removed == limit {
				return removed, nil
			}
			if err := s.client.Drop(ctx, u.Key, u.ID); err != nil {
				return removed, err
			}
			removed++
		}
		at = next
	}
	return removed, nil
}

// Reach reports whether the store answers and lets itself be listed.
func (s *Store) Reach(ctx context.Context) error {
	_, err := s.List(ctx, "", "", 1)
	return err
}

// Check proves that the store keeps conditions, without which two nodes could
// overwrite each other: of two objects created under one name the second must be
// refused, and a replacement of a version that is not there. It is fault.Internal
// if the store does not; run it when a store is set up. It leaves nothing behind,
// but for versions where the bucket is locked.
func (s *Store) Check(ctx context.Context) (err error) {
	key := "strata-check-" + rand.Text()
	put := func(o driver.CreateOptions) error {
		w, err := s.Create(ctx, key, o)
		if err != nil {
			return err
		}
		defer w.Abort()
		if _, err := w.Write([]byte(key)); err != nil {
			return err
		}
		_, err = w.Commit(ctx)
		return err
	}
	if err := put(driver.CreateOptions{IfAbsent: true}); err != nil {
		return err
	}
	defer func() {
		if e := s.Purge(context.WithoutCancel(ctx), key); err == nil {
			err = e
		}
	}()
	if err := put(driver.CreateOptions{IfAbsent: true}); !fault.Is(err, fault.Exists) {
		return unkept(err)
	}
	// This one is the store's to refuse: the version is right, the ETag is not.
	h, err := s.head(ctx, key)
	if err != nil {
		return err
	}
	body := new(Body)
	body.write([]byte(key), PartSize)
	_, err = s.client.Put(ctx, s.key(key), body, PutOptions{IfMatch: "0" + h.ETag[1:] + "0", Version: h.Version})
	if !fault.Is(err, fault.Conflict) {
		return unkept(err)
	}
	return nil
}

func unkept(err error) error {
	if err != nil {
		return err
	}
	return fault.New(fault.Internal, "the store ignores conditional writes (If-None-Match, If-Match), so nodes would overwrite each other: use another one")
}
