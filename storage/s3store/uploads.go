package s3store

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage/s3protocol"
)

func (c *client) Start(ctx context.Context, key string, o s3protocol.PutOptions) (string, error) {
	sse, kms := c.sse()
	in := &s3.CreateMultipartUploadInput{
		Bucket: &c.at.Bucket, Key: &key, StorageClass: types.StorageClass(o.Class), ServerSideEncryption: sse, SSEKMSKeyId: kms,
		Metadata:       map[string]string{s3protocol.VersionKey: o.Version},
		ObjectLockMode: types.ObjectLockMode(o.Lock.Mode), ObjectLockLegalHoldStatus: types.ObjectLockLegalHoldStatus(o.Lock.Hold),
	}
	if !o.Copied {
		in.ChecksumAlgorithm, in.ChecksumType = types.ChecksumAlgorithmCrc32c, types.ChecksumTypeFullObject
	}
	if o.Lock.Mode != "" {
		in.ObjectLockRetainUntilDate = &o.Lock.Until
	}
	out, err := c.api.CreateMultipartUpload(ctx, in)
	if err != nil {
		return "", classify(ctx, err, "beginning an upload")
	}
	return aws.ToString(out.UploadId), nil
}

func (c *client) SendPart(ctx context.Context, key, upload string, n int, body *s3protocol.Body) (string, error) {
	out, err := c.api.UploadPart(ctx, &s3.UploadPartInput{
		Bucket: &c.at.Bucket, Key: &key, UploadId: &upload, PartNumber: aws.Int32(int32(n)),
		Body: body.Reader(), ContentLength: aws.Int64(body.Len()), ChecksumCRC32C: aws.String(body.CRC32C()),
	}, unsigned)
	if err != nil {
		return "", classify(ctx, err, "uploading a part of an object")
	}
	return aws.ToString(out.ETag), nil
}

func (c *client) CopyPart(ctx context.Context, key, upload string, part int, etag string, off, n int64) (s3protocol.Part, error) {
	out, err := c.api.UploadPartCopy(ctx, &s3.UploadPartCopyInput{
		Bucket: &c.at.Bucket, Key: &key, UploadId: &upload, PartNumber: aws.Int32(int32(part)),
		CopySource: aws.String(c.at.Bucket + "/" + key), CopySourceIfMatch: quoted(etag),
		CopySourceRange: aws.String(fmt.Sprintf("bytes=%d-%d", off, off+n-1)),
	})
	if err != nil {
		return s3protocol.Part{}, classify(ctx, err, "copying a part of an object")
	}
	if out.CopyPartResult == nil || unquoted(out.CopyPartResult.ETag) == "" {
		return s3protocol.Part{}, fault.New(fault.Unavailable, "the store copied a part of an object and does not say what came of it")
	}
	return s3protocol.Part{N: part, ETag: unquoted(out.CopyPartResult.ETag)}, nil
}

func (c *client) Complete(ctx context.Context, key, upload string, parts []s3protocol.Part, o s3protocol.PutOptions) (string, error) {
	done := make([]types.CompletedPart, len(parts))
	for i, p := range parts {
		done[i] = types.CompletedPart{PartNumber: aws.Int32(int32(p.N)), ETag: aws.String(p.ETag), ChecksumCRC32C: optional(p.CRC32C)}
	}
	in := &s3.CompleteMultipartUploadInput{
		Bucket: &c.at.Bucket, Key: &key, UploadId: &upload, MultipartUpload: &types.CompletedMultipartUpload{Parts: done},
		IfNoneMatch: ifNoneMatch(o.IfAbsent), IfMatch: quoted(o.IfMatch),
		ChecksumCRC32C: optional(o.CRC32C), MpuObjectSize: aws.Int64(o.Size),
	}
	if !o.Copied {
		in.ChecksumType = types.ChecksumTypeFullObject
	}
	out, err := c.api.CompleteMultipartUpload(ctx, in)
	if err != nil {
		return "", classify(ctx, err, "completing an upload")
	}
	return unquoted(out.ETag), nil
}

func (c *client) Drop(ctx context.Context, key, upload string) error {
	_, err := c.api.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &c.at.Bucket, Key: &key, UploadId: &upload})
	if err = classify(ctx, err, "removing an upload"); s3protocol.NoUpload(err) || fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

func (c *client) Unfinished(ctx context.Context, prefix string, after s3protocol.Upload) ([]s3protocol.Upload, *s3protocol.Upload, error) {
	out, err := c.api.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: &c.at.Bucket, Prefix: optional(prefix),
		KeyMarker: optional(after.Key), UploadIdMarker: optional(after.ID)})
	if err != nil {
		return nil, nil, classify(ctx, err, "listing unfinished uploads")
	}
	found := make([]s3protocol.Upload, 0, len(out.Uploads))
	for _, u := range out.Uploads {
		found = append(found, s3protocol.Upload{Key: aws.ToString(u.Key), ID: aws.ToString(u.UploadId), Started: aws.ToTime(u.Initiated)})
	}
	if !aws.ToBool(out.IsTruncated) {
		return found, nil, nil
	}
	return found, &s3protocol.Upload{Key: aws.ToString(out.NextKeyMarker), ID: aws.ToString(out.NextUploadIdMarker)}, nil
}
