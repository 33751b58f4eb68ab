package miniostore

import (
	"context"
	"net/http"
	"strings"

	"github.com/minio/minio-go/v7"

	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/storage/s3protocol"
)

func (c *client) Start(ctx context.Context, key string, o s3protocol.PutOptions) (string, error) {
	h := c.headers(o)
	if !o.Copied {
		h.UserMetadata[checksumAlgorithm], h.UserMetadata[checksumType] = "CRC32C", fullObject
	}
	for k, v := range lockHeaders(o.Lock) {
		h.UserMetadata[k] = v
	}
	id, err := c.api.NewMultipartUpload(ctx, c.at.Bucket, key, h)
	return id, classify(ctx, err, "beginning an upload")
}

func (c *client) SendPart(ctx context.Context, key, upload string, n int, body *s3protocol.Body) (string, error) {
	h := make(http.Header)
	h.Set(checksum, body.CRC32C())
	part, err := c.api.PutObjectPart(ctx, c.at.Bucket, key, upload, n, body.Reader(), body.Len(),
		minio.PutObjectPartOptions{CustomHeader: h, DisableContentSha256: true})
	return part.ETag, classify(ctx, err, "uploading a part of an object")
}

func (c *client) CopyPart(ctx context.Context, key, upload string, part int, etag string, off, n int64) (s3protocol.Part, error) {
	done, err := c.api.CopyObjectPart(ctx, c.at.Bucket, key, c.at.Bucket, key, upload, part, off, n, map[string]string{"x-amz-copy-source-if-match": `"` + etag + `"`})
	if err == nil && done.ETag == "" { // an answer of 200 may hold an error, which minio-go overlooks
		err = errNoResult
	}
	return s3protocol.Part{N: part, ETag: strings.Trim(done.ETag, `"`)}, classify(ctx, err, "copying a part of an object")
}

func (c *client) Complete(ctx context.Context, key, upload string, parts []s3protocol.Part, o s3protocol.PutOptions) (string, error) {
	done := make([]minio.CompletePart, len(parts))
	for i, p := range parts {
		done[i] = minio.CompletePart{PartNumber: p.N, ETag: p.ETag, ChecksumCRC32C: p.CRC32C}
	}
	var h minio.PutObjectOptions
	if !o.Copied {
		h.UserMetadata = map[string]string{checksum: o.CRC32C, checksumType: fullObject}
	}
	condition(&h, o)
	info, err := c.api.CompleteMultipartUpload(ctx, c.at.Bucket, key, upload, done, h)
	return info.ETag, classify(ctx, err, "completing an upload")
}

func (c *client) Drop(ctx context.Context, key, upload string) error {
	err := classify(ctx, c.api.AbortMultipartUpload(ctx, c.at.Bucket, key, upload), "removing an upload")
	if s3protocol.NoUpload(err) || fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

func (c *client) Unfinished(ctx context.Context, prefix string, after s3protocol.Upload) ([]s3protocol.Upload, *s3protocol.Upload, error) {
	out, err := c.api.ListMultipartUploads(ctx, c.at.Bucket, prefix, after.Key, after.ID, "", 1000)
	if err != nil {
		return nil, nil, classify(ctx, err, "listing unfinished uploads")
	}
	found := make([]s3protocol.Upload, 0, len(out.Uploads))
	for _, u := range out.Uploads {
		found = append(found, s3protocol.Upload{Key: u.Key, ID: u.UploadID, Started: u.Initiated})
	}
	if !out.IsTruncated {
		return found, nil, nil
	}
	return found, &s3protocol.Upload{Key: out.NextKeyMarker, ID: out.NextUploadIDMarker}, nil
}
