package s3protocol

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
)

// StaleAfter is the age at which an unfinished upload is surely abandoned.
const StaleAfter = 24 * time.Hour

// Sweep removes unfinished uploads below the prefix that began more than
// [StaleAfter] ago, at most limit of them, and returns how many it removed. They
// take room, and cost money, until then: a crash leaves them, and a part that
// arrives after its upload was dropped may bring that back. Only one caller is
// needed at a time.
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
		if next != nil && *next == *at {
			return removed, fault.New(fault.Unavailable, "the store lists the same unfinished uploads again and again")
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
// overwrite each other: an object created under a name that is taken must be
// refused, as one PUT and as an upload, and so must the replacement of a version
// that is not there. It is fault.Internal if the store does not; run it when a
// store is set up. It leaves nothing behind, but for versions in a locked bucket.
func (s *Store) Check(ctx context.Context) (err error) {
	name := "strata-check-" + rand.Text()
	key, body := s.key(name), new(Body)
	body.write([]byte(name), PartSize)
	absent := PutOptions{IfAbsent: true, Version: name, CRC32C: body.CRC32C(), Size: body.Len()}
	if _, err := s.client.Put(ctx, key, body, absent); err != nil {
		return err
	}
	defer func() {
		if e := s.Purge(context.WithoutCancel(ctx), name); err == nil {
			err = e
		}
	}()
	if _, err := s.client.Put(ctx, key, body, absent); !fault.Is(err, fault.Conflict) {
		return unkept(err)
	}
	other := PutOptions{IfMatch: "00000000000000000000000000000000", Version: name}
	if _, err := s.client.Put(ctx, key, body, other); !fault.Is(err, fault.Conflict) {
		return unkept(err)
	}
	upload, err := s.client.Start(ctx, key, absent)
	if err != nil {
		return err
	}
	tag, err := s.client.SendPart(ctx, key, upload, 1, body)
	if err == nil {
		if _, err = s.client.Complete(ctx, key, upload, []Part{{1, tag, body.CRC32C()}}, absent); fault.Is(err, fault.Conflict) {
			return s.client.Drop(ctx, key, upload)
		}
		err = unkept(err)
	}
	_ = s.client.Drop(context.WithoutCancel(ctx), key, upload) // err says more
	return err
}

func unkept(err error) error {
	if err != nil {
		return err
	}
	return fault.New(fault.Internal, "the store ignores conditional writes (If-None-Match, If-Match), so nodes would overwrite each other: use another one")
}
