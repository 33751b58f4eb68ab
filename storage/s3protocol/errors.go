package s3protocol

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/strata-pacs/strata/internal/fault"
)

// What the driver must tell apart beyond kinds.
var (
	errNoUpload = errors.New("s3protocol: there is no such upload")
	errRaced    = errors.New("s3protocol: another conditional write was under way")
)

var (
	errNotFound = fault.New(fault.NotFound, "there is no such object")
	errExists   = fault.New(fault.Exists, "there is an object of this name already")
	errConflict = fault.New(fault.Conflict, "the object was changed by someone else")
	errRange    = fault.New(fault.RangeInvalid, "the range starts after the object's end")
	errNoSize   = fault.New(fault.Internal, "the store does not tell the size of an object, so that its end cannot be known: look for a proxy in between")
	errEnded    = fault.New(fault.Internal, "the object was already committed or aborted")
	errCut      = fault.New(fault.Unavailable, "the store broke off in the middle of an object")
	errDamaged  = fault.New(fault.Corrupt, "an object's bytes are not those of its checksum: check the store")
)

// codes are the protocol's (and MinIO's), as far as the status does not say enough.
// Source: Amazon S3 API Reference, Error Responses.
var codes = map[string]struct {
	kind   fault.Kind
	advice string
}{
	"NoSuchBucket":                   {fault.Unavailable, "there is no such bucket: check its name in the store's address"},
	"InvalidObjectState":             {fault.Archived, "the object lies in an archive and must be restored first"},
	"EntityTooLarge":                 {fault.TooLarge, "the object is larger than the store allows"},
	"QuotaExceeded":                  {fault.Full, "the store's quota is used up: delete something or raise it"},
	"InsufficientStorage":            {fault.Full, "the store has no room: delete something or give it more"},
	"XMinioStorageFull":              {fault.Full, "the store has no room: delete something or give it more"},
	"XMinioAdminBucketQuotaExceeded": {fault.Full, "the bucket's quota is used up: delete something or raise it"},
	"AccessDenied":                   {fault.Unavailable, "the store refuses: check what the bucket's policy allows these credentials"},
	"InvalidAccessKeyId":             {fault.Unavailable, "the store does not know the access key: check the credentials"},
	"SignatureDoesNotMatch":          {fault.Unavailable, "the store refuses the signature: check the secret key"},
	"ExpiredToken":                   {fault.Unavailable, "the store's credentials have expired: renew them"},
	"RequestTimeTooSkewed":           {fault.Unavailable, "the store's clock differs from this machine's: set it"},
	"AuthorizationHeaderMalformed":   {fault.Unavailable, "the store refuses the region: check it in the store's address"},
	"InvalidRegion":                  {fault.Unavailable, "the store refuses the region: check it in the store's address"},
	"PermanentRedirect":              {fault.Unavailable, "the bucket is elsewhere: check region and endpoint in the store's address"},
	"ObjectNotInActiveTierError":     {fault.Archived, "the object lies in an archive and must be restored first"},
	"RestoreAlreadyInProgress":       {fault.Exists, "the object is being restored"},
	// Not Unavailable, which is tried again within seconds: another speed works at once.
	"GlacierExpeditedRetrievalNotAvailable": {fault.Busy, "the archive has no room for an expedited restore: ask for a standard one, or again later"},
	"ObjectAlreadyInActiveTierError":        {fault.Exists, "the object lies in no archive"},
	"SlowDown":                              {fault.Unavailable, "the store wants fewer requests"},
	"InvalidStorageClass":                   {fault.Invalid, "the store does not have this storage class: check the class"},
	"OperationAborted":                      {fault.Unavailable, "the store was busy with the same object"},
	// Damaged or broken off on the way; sent again it may arrive.
	"BadDigest":                   {fault.Unavailable, "the bytes did not arrive at the store as they were sent"},
	"InvalidDigest":               {fault.Unavailable, "the bytes did not arrive at the store as they were sent"},
	"XAmzContentChecksumMismatch": {fault.Unavailable, "the bytes did not arrive at the store as they were sent"},
	"XAmzContentSHA256Mismatch":   {fault.Unavailable, "the bytes did not arrive at the store as they were sent"},
	"IncompleteBody":              {fault.Unavailable, "the bytes did not arrive at the store completely"},
	"RequestTimeout":              {fault.Unavailable, "the store waited too long for the bytes"},
	"NotImplemented":              {fault.Internal, "the store lacks what Strata needs of it: use another one"},
}

// Classify gives an error of a library its kind. Status and code are those of
// the store's answer, 0 and "" where there was none; ctx is that of the call, and
// doing what was attempted.
func Classify(ctx context.Context, status int, code string, err error, doing string) error {
	if err == nil {
		return nil
	}
	if ended := ctx.Err(); ended != nil {
		return ended // not err, in which libraries hide it among their own timeouts
	}
	// Amazon's words for it have no code of their own.
	if code == "AccessDenied" && strings.Contains(err.Error(), "protected by object lock") {
		return fault.Wrap(fault.Conflict, err, "%s: the bucket's object lock keeps it, for its retention or a legal hold", doing)
	}
	if c, ok := codes[code]; ok {
		return fault.Wrap(c.kind, err, "%s: %s", doing, c.advice)
	}
	switch {
	case code == "NoSuchUpload":
		return fault.Wrap(fault.Unavailable, errors.Join(errNoUpload, err), "%s: the upload was removed in the middle", doing)
	case code == "ConditionalRequestConflict":
		return fault.Wrap(fault.Unavailable, errors.Join(errRaced, err), "%s: the store was busy with the same object", doing)
	case status == http.StatusNotFound:
		return errNotFound
	case status == http.StatusPreconditionFailed:
		return errConflict
	case status == http.StatusRequestedRangeNotSatisfiable:
		return errRange
	case status == http.StatusRequestEntityTooLarge:
		return fault.Wrap(fault.TooLarge, err, "%s: the object is larger than the store allows", doing)
	case status == http.StatusInsufficientStorage:
		return fault.Wrap(fault.Full, err, "%s: the store has no room: delete something or give it more", doing)
	case status == http.StatusNotImplemented:
		return fault.Wrap(fault.Internal, err, "%s: the store lacks what Strata needs of it: use another one", doing)
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return fault.Wrap(fault.Unavailable, err, "%s: the store refuses: check the credentials and the bucket's policy", doing)
	case status >= 300 && status < 400:
		return fault.Wrap(fault.Unavailable, err, "%s: the bucket is elsewhere: check region and endpoint in the store's address", doing)
	case status == http.StatusRequestTimeout, status == http.StatusTooManyRequests, status >= 500, status < 300:
		return fault.Wrap(fault.Unavailable, err, "%s: the store does not answer", doing)
	}
	return fault.Wrap(fault.Internal, err, "%s: the store does not understand (%d)", doing, status)
}

// NoUpload reports whether err says that an upload is not there.
func NoUpload(err error) bool { return errors.Is(err, errNoUpload) }

// SizeOf returns the size of the object from the Content-Range of an answer, which
// must begin at off: "bytes 0-9/100".
func SizeOf(off int64, contentRange string) (int64, error) {
	span, total, ok := strings.Cut(contentRange, "/")
	first, _, _ := strings.Cut(strings.TrimPrefix(span, "bytes "), "-")
	from, err := strconv.ParseInt(first, 10, 64)
	size, err2 := strconv.ParseInt(total, 10, 64)
	if !ok || err != nil || err2 != nil || from != off || size <= off {
		return 0, fault.New(fault.Internal, "the store does not answer with the range that was asked for: use another one")
	}
	return size, nil
}
