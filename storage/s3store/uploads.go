package s3store

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage/s3protocol"
)

func (c *client) Start(ctx context.Context, key string, o s3protocol.PutOptions) (string, error) {
	sse, kms := c.sse()
	out, err := c.api.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
		Bucket: &c.at.Bucket, Key: &key, StorageClass: types.StorageClass(o.Class), ServerSideEncryption: sse, SSEKMSKeyId: kms,
		ChecksumAlgorithm: types.ChecksumAlgorithmCrc32c, ChecksumType: types.ChecksumTypeFullObject,
		Metadata: map[string]string{s3protocol.VersionKey: o.Version},
	})
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

func (c *client) Complete(ctx context.Context, key, upload string, parts []s3protocol.Part, o s3protocol.PutOptions) (string, error) {
	done := make([]types.CompletedPart, len(parts))
	for i, p := range parts {
		done[i] = types.CompletedPart{PartNumber: aws.Int32(int32(p.N)), ETag: aws.String(p.ETag), ChecksumCRC32C: aws.String(p.CRC32C)}
	}
	out, err := c.api.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &c.at.Bucket, Key: &key, UploadId: &upload, MultipartUpload: &types.CompletedMultipartUpload{Parts: done},
		IfNoneMatch: ifNoneMatch(o.IfAbsent), IfMatch: quoted(o.IfMatch),
		ChecksumCRC32C: aws.String(o.CRC32C), ChecksumType: types.ChecksumTypeFullObject, MpuObjectSize: aws.Int64(o.Size),
	})
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
