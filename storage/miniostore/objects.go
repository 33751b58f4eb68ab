package miniostore

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/encrypt"

	"github.com/strata-pacs/strata/storage/s3protocol"
)

// client is an s3protocol.Client.
type client struct {
	at  s3protocol.Location
	api *minio.Core
	sse encrypt.ServerSide // nil for none
}

var _ s3protocol.Client = (*client)(nil)

// classify tells s3protocol what the store answered, if it did.
func classify(ctx context.Context, err error, doing string) error {
	if err == nil {
		return nil
	}
	answer := minio.ToErrorResponse(err)
	return s3protocol.Classify(ctx, answer.StatusCode, answer.Code, err, doing)
}

// Headers that minio-go has no options for; as user metadata it sends them as they are.
const (
	checksum          = "x-amz-checksum-crc32c"
	checksumAlgorithm = "x-amz-checksum-algorithm"
	checksumType      = "x-amz-checksum-type"
	fullObject        = "FULL_OBJECT"
	lockMode          = "x-amz-object-lock-mode"
	lockUntil         = "x-amz-object-lock-retain-until-date"
	lockHold          = "x-amz-object-lock-legal-hold"
)

// headers are those of an object that is stored.
func (c *client) headers(o s3protocol.PutOptions) minio.PutObjectOptions {
	return minio.PutObjectOptions{
		StorageClass:         o.Class,
		ServerSideEncryption: c.sse,
		UserMetadata:         map[string]string{s3protocol.VersionKey: o.Version},
		// The body has its CRC-32C, and what is sealed needs no SHA-256 besides.
		DisableContentSha256: true,
	}
}

// condition adds the conditions of o.
func condition(h *minio.PutObjectOptions, o s3protocol.PutOptions) {
	if o.IfAbsent {
		h.SetMatchETagExcept("*")
	}
	if o.IfMatch != "" {
		h.SetMatchETag(o.IfMatch)
	}
}

func (c *client) Put(ctx context.Context, key string, body *s3protocol.Body, o s3protocol.PutOptions) (string, error) {
	h := c.headers(o)
	h.UserMetadata[checksum] = body.CRC32C()
	condition(&h, o)
	info, err := c.api.PutObject(ctx, c.at.Bucket, key, body.Reader(), body.Len(), "", "", h)
	if err != nil {
		return "", classify(ctx, err, "storing an object")
	}
	return info.ETag, nil
}

func (c *client) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, s3protocol.Head, error) {
	var o minio.GetObjectOptions
	o.Set("x-amz-checksum-mode", "ENABLED")
	switch {
	case n >= 0:
		o.Set("Range", "bytes="+strconv.FormatInt(off, 10)+"-"+strconv.FormatInt(off+n-1, 10))
	case off > 0:
		o.Set("Range", "bytes="+strconv.FormatInt(off, 10)+"-")
	}
	body, info, answer, err := c.api.GetObject(ctx, c.at.Bucket, key, o)
	if err != nil {
		return nil, s3protocol.Head{}, classify(ctx, err, "opening an object")
	}
	h := head(info, answer)
	if n >= 0 || off > 0 {
		if h.Size, err = s3protocol.SizeOf(off, answer.Get("Content-Range")); err != nil {
			_ = body.Close()
			return nil, s3protocol.Head{}, err
		}
	}
	return body, h, nil
}

func head(info minio.ObjectInfo, answer http.Header) s3protocol.Head {
	h := s3protocol.Head{
		Size: info.Size, ETag: info.ETag, Modified: info.LastModified,
		Version: answer.Get(s3protocol.VersionHeader), Class: answer.Get("x-amz-storage-class"),
		Restore: answer.Get("x-amz-restore"), Archive: answer.Get("x-amz-archive-status"),
	}
	if answer.Get(checksumType) == fullObject {
		h.CRC32C = answer.Get(checksum)
	}
	h.Lock = s3protocol.Lock{Mode: answer.Get(lockMode), Hold: answer.Get(lockHold)}
	if until, err := time.Parse(time.RFC3339, answer.Get(lockUntil)); err == nil {
		h.Lock.Until = until
	}
	return h
}

func (c *client) Head(ctx context.Context, key string) (s3protocol.Head, error) {
	info, err := c.api.StatObject(ctx, c.at.Bucket, key, minio.StatObjectOptions{})
	if err != nil {
		return s3protocol.Head{}, classify(ctx, err, "looking up an object")
	}
	return head(info, info.Headers), nil
}

func (c *client) Delete(ctx context.Context, key string) error {
	return c.DeleteVersion(ctx, key, "")
}

func (c *client) DeleteVersion(ctx context.Context, key, id string) error {
	err := c.api.RemoveObject(ctx, c.at.Bucket, key, minio.RemoveObjectOptions{VersionID: id})
	return classify(ctx, err, "deleting an object")
}

// List asks for one more than wanted: minio-go does not tell whether an answer was
// the last one.
func (c *client) List(ctx context.Context, prefix, after string, limit int) ([]s3protocol.Found, bool, error) {
	ctx, cancel := context.WithCancel(ctx) // as ListObjectsIter wants it
	defer cancel()
	var found []s3protocol.Found
	o := minio.ListObjectsOptions{Prefix: prefix, StartAfter: after, Recursive: true, MaxKeys: min(limit+1, 1000)}
	for info := range c.api.ListObjectsIter(ctx, c.at.Bucket, o) {
		if info.Err != nil {
			return nil, false, classify(ctx, info.Err, "listing objects")
		}
		if len(found) == limit {
			return found, true, nil
		}
		found = append(found, s3protocol.Found{Key: info.Key, Size: info.Size, Modified: info.LastModified})
	}
	return found, false, ctx.Err()
}

// Groups asks for one more than wanted, as List does.
func (c *client) Groups(ctx context.Context, prefix, after string, limit int) (groups []string, next string, err error) {
	ctx, cancel := context.WithCancel(ctx) // as ListObjectsIter wants it
	defer cancel()
	o := minio.ListObjectsOptions{Prefix: prefix, StartAfter: after, MaxKeys: min(limit+1, 1000)}
	for info := range c.api.ListObjectsIter(ctx, c.at.Bucket, o) {
		switch {
		case info.Err != nil:
			return nil, "", classify(ctx, info.Err, "listing folders")
		case !strings.HasSuffix(info.Key, "/"):
			continue // an object of its own
		case len(groups) == limit:
			return groups, s3protocol.AfterGroup(groups[limit-1]), nil
		}
		groups = append(groups, info.Key)
	}
	return groups, "", ctx.Err()
}

func (c *client) VersionsOf(ctx context.Context, key string) ([]string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var ids []string
	o := minio.ListObjectsOptions{Prefix: key, Recursive: true, WithVersions: true}
	for info := range c.api.ListObjectsIter(ctx, c.at.Bucket, o) {
		switch {
		case info.Err != nil:
			return nil, classify(ctx, info.Err, "listing an object's versions")
		case info.Key != key: // longer names come after
			return ids, nil
		}
		ids = append(ids, info.VersionID)
	}
	return ids, ctx.Err()
}

var errNoResult = errors.New("the answer has no result")

// lockHeaders are those of an object under a lock.
func lockHeaders(lock s3protocol.Lock) map[string]string {
	h := map[string]string{}
	if lock.Mode != "" {
		h[lockMode], h[lockUntil] = lock.Mode, lock.Until.UTC().Format(time.RFC3339Nano)
	}
	if lock.Hold != "" {
		h[lockHold] = lock.Hold
	}
	return h
}

// SetClass gives the headers itself: of its options minio-go sends neither the condition nor the encryption.
func (c *client) SetClass(ctx context.Context, key, etag, class string, lock s3protocol.Lock) error {
	h := http.Header{}
	h.Set("x-amz-storage-class", class)
	h.Set("x-amz-metadata-directive", "COPY")
	h.Set("x-amz-copy-source-if-match", `"`+etag+`"`)
	for k, v := range lockHeaders(lock) {
		h.Set(k, v)
	}
	if c.sse != nil {
		c.sse.Marshal(h)
	}
	headers := map[string]string{}
	for k := range h {
		headers[k] = h.Get(k)
	}
	done, err := c.api.CopyObject(ctx, c.at.Bucket, key, c.at.Bucket, key, headers, minio.CopySrcOptions{}, minio.PutObjectOptions{})
	if err == nil && done.ETag == "" { // an answer of 200 may hold an error, which minio-go overlooks
		err = errNoResult
	}
	return classify(ctx, err, "moving an object to another class")
}

func (c *client) Retain(ctx context.Context, key string, lock s3protocol.Lock, bypass bool) error {
	mode := minio.RetentionMode(lock.Mode)
	err := c.api.PutObjectRetention(ctx, c.at.Bucket, key, minio.PutObjectRetentionOptions{GovernanceBypass: bypass, Mode: &mode, RetainUntilDate: &lock.Until})
	return classify(ctx, err, "locking an object")
}

func (c *client) Restore(ctx context.Context, key string, days int, speed string) error {
	var r minio.RestoreRequest
	if days > 0 {
		r.SetDays(days)
	}
	if speed != "" {
		r.SetGlacierJobParameters(minio.GlacierJobParameters{Tier: minio.TierType(speed)})
	}
	return classify(ctx, c.api.RestoreObject(ctx, c.at.Bucket, key, "", r), "restoring an object")
}
