// Package s3protocol is the driver for stores that speak the protocol of Amazon
// S3, over whichever library speaks it: package s3store is this one on the AWS
// SDK, package miniostore on minio-go. What an object store promises and how
// that becomes what driver.Driver promises is here; the libraries only ask and
// answer, and retry nothing (see package retrystore).
//
// # Objects
//
// An object up to [PartSize] is one PUT. A larger one is uploaded in parts while
// it is received, up to four at a time, and appears when the upload is completed.
// All carry a CRC-32C, which the store verifies, and which a read of a whole object
// verifies again. Each carries the metadata "strata-version", a random name: with
// the store's own ETag, which only digests the bytes, it makes the driver's, and
// it tells a writer whose answer was lost whether its own object is there.
//
// # Deployment
//
// The bucket is a general purpose one: it lists in the order of bytes. It must
// support conditional writes (If-None-Match on PUT and on the completion of an
// upload), which [Store.Check] proves. Versioning, object lock and replication are
// welcome, but for the bucket of wrapped keys: that one is of its own, with
// neither, or a destroyed key lives on. [Store.Purge] removes all versions where
// there are any, but cannot pass an object lock. Deleting in a versioned bucket
// leaves a version, and so does a change of class: give the bucket a rule
// that expires noncurrent versions.
//
// With lock=governance or lock=compliance in the address, [Store.Lock] retains objects in a bucket that has object lock. A
// lock of mode compliance cannot be taken back by anyone before its time: try governance first.
//
// Uploads that a crash left behind are removed by [Store.Sweep], or better by a
// rule of the bucket (AbortIncompleteMultipartUpload; MinIO does it by itself).
//
// The credentials need GetObject, PutObject, DeleteObject, AbortMultipartUpload,
// ListBucket and ListBucketMultipartUploads; for purges ListBucketVersions and
// DeleteObjectVersion; for archives RestoreObject; for changes of class in a bucket with object lock
// GetObjectRetention, GetObjectLegalHold, PutObjectRetention and PutObjectLegalHold, or the lock
// does not go along; to lock objects PutObjectRetention and GetObjectRetention, and
// BypassGovernanceRetention where a server wants it to prolong a lock of mode governance. Without ListBucket a store says
// 403 of what is not there, and nothing works.
package s3protocol

import (
	"context"
	"io"
	"time"
)

// Client is a library that speaks the protocol, for one bucket. Keys are whole,
// ETags without quotes, and errors are of [Classify].
type Client interface {
	Objects
	Uploads
	Versions
	Tiers
	Locks
}

// Objects are the calls for single objects and lists of them.
type Objects interface {
	Put(ctx context.Context, key string, body *Body, o PutOptions) (etag string, err error)
	// Get asks for n bytes from off; n < 0 is to the end. The answer's body may
	// be shorter where the object ends.
	Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, Head, error)
	Head(ctx context.Context, key string) (Head, error)
	Delete(ctx context.Context, key string) error
	// List returns at most one answer's worth of keys, and whether there are more.
	List(ctx context.Context, prefix, after string, limit int) (found []Found, more bool, err error)
	// Groups returns at most one answer's worth of the beginnings of keys up to the first '/'
	// after the prefix, that with it, ascending, and the key after which there may be more, empty at the end.
	Groups(ctx context.Context, prefix, after string, limit int) (groups []string, next string, err error)
}

// Uploads are the calls for objects in parts.
type Uploads interface {
	Start(ctx context.Context, key string, o PutOptions) (upload string, err error)
	// SendPart sends part n, counted from 1.
	SendPart(ctx context.Context, key, upload string, n int, body *Body) (etag string, err error)
	// CopyPart has a part, counted from 1, be the n bytes from off of the key's object, if that has the ETag still.
	CopyPart(ctx context.Context, key, upload string, part int, etag string, off, n int64) (Part, error)
	Complete(ctx context.Context, key, upload string, parts []Part, o PutOptions) (etag string, err error)
	// Drop removes an upload; one that is not there counts as removed.
	Drop(ctx context.Context, key, upload string) error
	// Unfinished lists uploads after the marker, which is zero at first, and returns
	// the marker to go on with, nil at the end.
	Unfinished(ctx context.Context, prefix string, after Upload) (found []Upload, next *Upload, err error)
}

// Versions are the calls for all versions of an object.
type Versions interface {
	// VersionsOf lists the versions of one key, delete markers included, as far as
	// one answer goes. It is fault.NotFound where the store knows no versions.
	VersionsOf(ctx context.Context, key string) (ids []string, err error)
	DeleteVersion(ctx context.Context, key, id string) error
}

// Tiers are the calls for storage classes.
type Tiers interface {
	// SetClass copies the object onto itself, if it has the ETag still, and gives the copy the lock.
	SetClass(ctx context.Context, key, etag, class string, lock Lock) error
	// Restore asks for a readable copy; without days, where it stays for good.
	Restore(ctx context.Context, key string, days int, speed string) error
}

// Locks are the calls for object lock.
type Locks interface {
	// Retain sets mode and moment of the newest version's retention. bypass uses the right to change one of mode governance.
	Retain(ctx context.Context, key string, lock Lock, bypass bool) error
}

// PutOptions are the headers of what is stored.
type PutOptions struct {
	IfAbsent bool
	IfMatch  string // the store's ETag
	Class    string
	Version  string // the metadata of [VersionHeader]
	CRC32C   string // of the whole object, for Complete; empty where it is not known
	Size     int64  // of the whole object, for Complete
	Lock     Lock   // for Start: what the object will be under
	Copied   bool   // for Start and Complete: parts come by CopyPart, and no checksum of them is sent
}

// VersionKey is the name of the metadata that names an object's version, and
// VersionHeader its header.
const (
	VersionKey    = "strata-version"
	VersionHeader = "X-Amz-Meta-Strata-Version"
)

// Head is what the store says of an object with its answers.
type Head struct {
	Size     int64 // of the whole object, also where a part of it was asked for; -1 if it is not told
	ETag     string
	Version  string
	Class    string
	Modified time.Time
	CRC32C   string // of the whole object; empty if the store does not tell
	Restore  string // the header x-amz-restore
	Archive  string // the header x-amz-archive-status
	Lock     Lock   // of a Head; empty where the credentials may not see it
}

// Lock is what keeps a version from being deleted, in the words of the headers; zero for nothing.
type Lock struct {
	Mode  string    // "GOVERNANCE" or "COMPLIANCE"; empty without a retention
	Until time.Time // of the retention
	Hold  string    // "ON" with a legal hold
}

// Found is a listed object.
type Found struct {
	Key      string
	Size     int64
	Modified time.Time
}

// Part is a part of an upload that the store has.
type Part struct {
	N      int
	ETag   string
	CRC32C string
}

// Upload is an unfinished upload.
type Upload struct {
	Key, ID string
	Started time.Time
}
