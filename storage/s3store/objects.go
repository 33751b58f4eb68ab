package s3store

import (
	"context"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/strata-pacs/strata/storage/s3protocol"
)

// client is an s3protocol.Client.
type client struct {
	at  s3protocol.Location
	api *s3.Client
}

var _ s3protocol.Client = (*client)(nil)

// classify tells s3protocol what the store answered, if it did.
func classify(ctx context.Context, err error, doing string) error {
	if err == nil {
		return nil
	}
	status, code := 0, ""
	var answer *smithyhttp.ResponseError
	if errors.As(err, &answer) && answer.Response != nil {
		status = answer.HTTPStatusCode()
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		code = api.ErrorCode()
	}
	return s3protocol.Classify(ctx, status, code, err, doing)
}

// unsigned leaves the body out of the signature: it has its CRC-32C, and what is
// sealed needs no SHA-256 at a tenth of the speed.
func unsigned(o *s3.Options) {
	o.APIOptions = append(o.APIOptions, v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware)
}

// withChecksum asks for the checksum, which s3protocol verifies, not the SDK.
func withChecksum(o *s3.Options) {
	o.APIOptions = append(o.APIOptions, smithyhttp.SetHeaderValue("X-Amz-Checksum-Mode", "ENABLED"))
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func quoted(etag string) *string {
	if etag == "" {
		return nil
	}
	return aws.String(`"` + etag + `"`)
}

func unquoted(etag *string) string { return strings.Trim(aws.ToString(etag), `"`) }

func ifNoneMatch(absent bool) *string {
	if absent {
		return aws.String("*")
	}
	return nil
}

// sse returns how the store is to encrypt.
func (c *client) sse() (types.ServerSideEncryption, *string) {
	switch c.at.SSE {
	case "s3":
		return types.ServerSideEncryptionAes256, nil
	case "kms":
		return types.ServerSideEncryptionAwsKms, optional(c.at.KMSKey)
	}
	return "", nil
}

func (c *client) Put(ctx context.Context, key string, body *s3protocol.Body, o s3protocol.PutOptions) (string, error) {
	sse, kms := c.sse()
	out, err := c.api.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &c.at.Bucket, Key: &key,
		Body: body.Reader(), ContentLength: aws.Int64(body.Len()), ChecksumCRC32C: aws.String(body.CRC32C()),
		IfNoneMatch: ifNoneMatch(o.IfAbsent), IfMatch: quoted(o.IfMatch),
		StorageClass: types.StorageClass(o.Class), ServerSideEncryption: sse, SSEKMSKeyId: kms,
		Metadata: map[string]string{s3protocol.VersionKey: o.Version},
	}, unsigned)
	if err != nil {
		return "", classify(ctx, err, "storing an object")
	}
	return unquoted(out.ETag), nil
}

func (c *client) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, s3protocol.Head, error) {
	in := &s3.GetObjectInput{Bucket: &c.at.Bucket, Key: &key}
	switch {
	case n >= 0:
		in.Range = aws.String("bytes=" + strconv.FormatInt(off, 10) + "-" + strconv.FormatInt(off+n-1, 10))
	case off > 0:
		in.Range = aws.String("bytes=" + strconv.FormatInt(off, 10) + "-")
	}
	out, err := c.api.GetObject(ctx, in, withChecksum)
	if err != nil {
		return nil, s3protocol.Head{}, classify(ctx, err, "opening an object")
	}
	h := s3protocol.Head{
		Size: length(out.ContentLength), ETag: unquoted(out.ETag), Version: out.Metadata[s3protocol.VersionKey],
		Class: string(out.StorageClass), Modified: aws.ToTime(out.LastModified), Restore: aws.ToString(out.Restore),
		CRC32C: whole(out.ChecksumCRC32C, out.ChecksumType),
	}
	if in.Range != nil {
		if h.Size, err = s3protocol.SizeOf(off, aws.ToString(out.ContentRange)); err != nil {
			_ = out.Body.Close()
			return nil, s3protocol.Head{}, err
		}
	}
	return out.Body, h, nil
}

// length is -1 where the store does not tell it.
func length(n *int64) int64 {
	if n == nil {
		return -1
	}
	return *n
}

// whole returns a checksum that is the object's, not one of its parts' checksums.
func whole(crc *string, kind types.ChecksumType) string {
	if kind != types.ChecksumTypeFullObject {
		return ""
	}
	return aws.ToString(crc)
}

func (c *client) Head(ctx context.Context, key string) (s3protocol.Head, error) {
	out, err := c.api.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &c.at.Bucket, Key: &key})
	if err != nil {
		return s3protocol.Head{}, classify(ctx, err, "looking up an object")
	}
	return s3protocol.Head{
		Size: length(out.ContentLength), ETag: unquoted(out.ETag), Version: out.Metadata[s3protocol.VersionKey],
		Class: string(out.StorageClass), Modified: aws.ToTime(out.LastModified),
		Restore: aws.ToString(out.Restore), Archive: string(out.ArchiveStatus),
		Lock: s3protocol.Lock{Mode: string(out.ObjectLockMode), Until: aws.ToTime(out.ObjectLockRetainUntilDate),
			Hold: string(out.ObjectLockLegalHoldStatus)},
	}, nil
}

func (c *client) Delete(ctx context.Context, key string) error {
	_, err := c.api.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &c.at.Bucket, Key: &key})
	return classify(ctx, err, "deleting an object")
}

func (c *client) List(ctx context.Context, prefix, after string, limit int) ([]s3protocol.Found, bool, error) {
	out, err := c.api.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &c.at.Bucket, Prefix: optional(prefix),
		StartAfter: optional(after), MaxKeys: aws.Int32(int32(limit))})
	if err != nil {
		return nil, false, classify(ctx, err, "listing objects")
	}
	found := make([]s3protocol.Found, 0, len(out.Contents))
	for _, o := range out.Contents {
		found = append(found, s3protocol.Found{Key: aws.ToString(o.Key), Size: aws.ToInt64(o.Size), Modified: aws.ToTime(o.LastModified)})
	}
	return found, aws.ToBool(out.IsTruncated), nil
}

func (c *client) Groups(ctx context.Context, prefix, after string, limit int) (groups []string, next string, err error) {
	out, err := c.api.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &c.at.Bucket, Prefix: optional(prefix), Delimiter: aws.String("/"),
		StartAfter: optional(after), MaxKeys: aws.Int32(int32(limit))})
	if err != nil {
		return nil, "", classify(ctx, err, "listing folders")
	}
	for _, p := range out.CommonPrefixes {
		groups = append(groups, aws.ToString(p.Prefix))
	}
	if !aws.ToBool(out.IsTruncated) {
		return groups, "", nil
	}
	if n := len(groups); n > 0 {
		next = s3protocol.AfterGroup(groups[n-1])
	}
	if n := len(out.Contents); n > 0 {
		next = max(next, aws.ToString(out.Contents[n-1].Key))
	}
	return groups, next, nil
}

func (c *client) VersionsOf(ctx context.Context, key string) ([]string, error) {
	out, err := c.api.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: &c.at.Bucket, Prefix: &key})
	if err != nil {
		return nil, classify(ctx, err, "listing an object's versions")
	}
	var ids []string
	for _, v := range out.Versions {
		if aws.ToString(v.Key) == key {
			ids = append(ids, aws.ToString(v.VersionId))
		}
	}
	for _, v := range out.DeleteMarkers {
		if aws.ToString(v.Key) == key {
			ids = append(ids, aws.ToString(v.VersionId))
		}
	}
	return ids, nil
}

func (c *client) DeleteVersion(ctx context.Context, key, id string) error {
	_, err := c.api.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &c.at.Bucket, Key: &key, VersionId: optional(id)})
	return classify(ctx, err, "deleting an object's version")
}

func (c *client) SetClass(ctx context.Context, key, etag, class string, lock s3protocol.Lock) error {
	sse, kms := c.sse()
	in := &s3.CopyObjectInput{
		Bucket: &c.at.Bucket, Key: &key, CopySource: aws.String(c.at.Bucket + "/" + key), CopySourceIfMatch: quoted(etag),
		MetadataDirective: types.MetadataDirectiveCopy, StorageClass: types.StorageClass(class),
		ServerSideEncryption: sse, SSEKMSKeyId: kms,
		ObjectLockMode: types.ObjectLockMode(lock.Mode), ObjectLockLegalHoldStatus: types.ObjectLockLegalHoldStatus(lock.Hold),
	}
	if lock.Mode != "" {
		in.ObjectLockRetainUntilDate = &lock.Until
	}
	_, err := c.api.CopyObject(ctx, in)
	return classify(ctx, err, "moving an object to another class")
}

func (c *client) Retain(ctx context.Context, key string, lock s3protocol.Lock, bypass bool) error {
	in := &s3.PutObjectRetentionInput{Bucket: &c.at.Bucket, Key: &key,
		Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionMode(lock.Mode), RetainUntilDate: &lock.Until}}
	if bypass {
		in.BypassGovernanceRetention = &bypass
	}
	_, err := c.api.PutObjectRetention(ctx, in)
	return classify(ctx, err, "locking an object")
}

func (c *client) Restore(ctx context.Context, key string, days int, speed string) error {
	r := &types.RestoreRequest{}
	if days > 0 {
		r.Days = aws.Int32(int32(days))
	}
	if speed != "" {
		r.GlacierJobParameters = &types.GlacierJobParameters{Tier: types.Tier(speed)}
	}
	_, err := c.api.RestoreObject(ctx, &s3.RestoreObjectInput{Bucket: &c.at.Bucket, Key: &key, RestoreRequest: r})
	return classify(ctx, err, "restoring an object")
}
