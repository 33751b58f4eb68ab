package glaciertest_test

import (
	"bytes"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/strata-pacs/strata/internal/testservers"
	"github.com/strata-pacs/strata/storage/s3protocol/glaciertest"
)

// TestClasses: each class is told by HeadObject, GetObject and lists, and three cannot be read at once.
func TestClasses(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		class  types.StorageClass
		told   string
		denied string // of a GetObject, and of a copy elsewhere
	}{
		{"", "||", ""},
		{types.StorageClassStandard, "||", ""},
		{types.StorageClassStandardIa, "STANDARD_IA||", ""},
		{types.StorageClassOnezoneIa, "ONEZONE_IA||", ""},
		{types.StorageClassIntelligentTiering, "INTELLIGENT_TIERING||", ""},
		{types.StorageClassGlacierIr, "GLACIER_IR||", ""},
		{types.StorageClassGlacier, "GLACIER||", "403 InvalidObjectState"},
		{types.StorageClassDeepArchive, "DEEP_ARCHIVE||", "403 InvalidObjectState"},
	} {
		key := "a key/x" + string(c.class)
		w.put(key, c.class)
		w.wantState(key, c.told)
		w.wantRefused(w.get(key), c.denied)
		_, err := w.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: aws.String(bucket), Key: aws.String("copies/x" + string(c.class)),
			CopySource: aws.String(bucket + "/a%20key/x" + string(c.class)), StorageClass: types.StorageClassStandardIa})
		w.wantRefused(err, c.denied)
		if err == nil {
			w.wantState("copies/x"+string(c.class), "STANDARD_IA||")
		}
		want := c.class
		if want == "" {
			want = "STANDARD"
		}
		page, err := w.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String(bucket), Prefix: &key})
		if err != nil || len(page.Contents) == 0 || string(page.Contents[0].StorageClass) != string(want) {
			t.Errorf("%s: listed %+v, %v", want, page, err)
		}
	}
	_, err := w.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(bucket), Key: aws.String("x"), StorageClass: "BANANAS"})
	w.wantRefused(err, "400 InvalidStorageClass")
	// Stored again without a class it is STANDARD; and so is a new one of the same name.
	w.put("again", types.StorageClassGlacier)
	w.put("again", "")
	w.wantState("again", "||")
	w.wantRefused(w.get("again"), "")
}

// TestUploads: an upload has the class it was begun with, once it is complete.
func TestUploads(t *testing.T) {
	w := newWorld(t)
	key := aws.String("upload")
	begun, err := w.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: aws.String(bucket), Key: key, StorageClass: types.StorageClassDeepArchive})
	if err != nil {
		t.Fatal(err)
	}
	part, err := w.UploadPart(t.Context(), &s3.UploadPartInput{Bucket: aws.String(bucket), Key: key, UploadId: begun.UploadId,
		PartNumber: aws.Int32(1), Body: bytes.NewReader([]byte("bytes of upload"))})
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.CompleteMultipartUpload(t.Context(), &s3.CompleteMultipartUploadInput{Bucket: aws.String(bucket), Key: key, UploadId: begun.UploadId,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{{PartNumber: aws.Int32(1), ETag: part.ETag}}}})
	if err != nil {
		t.Fatal(err)
	}
	w.wantState("upload", "DEEP_ARCHIVE||")
	w.wantRefused(w.get("upload"), "403 InvalidObjectState")
	// A part cannot be copied out of an archive either.
	begun, err = w.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: aws.String(bucket), Key: aws.String("other")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.UploadPartCopy(t.Context(), &s3.UploadPartCopyInput{Bucket: aws.String(bucket), Key: aws.String("other"), UploadId: begun.UploadId,
		PartNumber: aws.Int32(1), CopySource: aws.String(bucket + "/upload")})
	w.wantRefused(err, "403 InvalidObjectState")
}

// TestCopy: a copy onto itself changes the class and keeps bytes, metadata and checksum.
func TestCopy(t *testing.T) {
	w := newWorld(t)
	w.put("x", "")
	before, err := w.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String(bucket), Key: aws.String("x"), ChecksumMode: types.ChecksumModeEnabled})
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.copyTo("x", "")
	w.wantRefused(err, "400 InvalidRequest")
	_, err = w.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: aws.String(bucket), Key: aws.String("x"), CopySource: aws.String(bucket + "/x"),
		CopySourceIfMatch: aws.String(`"00000000000000000000000000000000"`), StorageClass: types.StorageClassGlacier})
	w.wantRefused(err, "412 PreconditionFailed")
	done, err := w.copyTo("x", types.StorageClassGlacierIr)
	if err != nil || aws.ToString(done.CopyObjectResult.ETag) != aws.ToString(before.ETag) || done.CopyObjectResult.LastModified == nil {
		t.Errorf("copied: %+v, %v", done, err)
	}
	after, err := w.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String(bucket), Key: aws.String("x"), ChecksumMode: types.ChecksumModeEnabled})
	if err != nil || after.StorageClass != types.StorageClassGlacierIr || after.Metadata["kept"] != "yes" ||
		aws.ToString(after.ChecksumCRC32) != aws.ToString(before.ChecksumCRC32) {
		t.Errorf("after the copy %+v, %v", after, err)
	}
	w.wantRefused(w.get("x"), "")
	if _, err := w.copyTo("x", types.StorageClassDeepArchive); err != nil {
		t.Fatal(err)
	}
	_, err = w.copyTo("x", types.StorageClassStandard)
	w.wantRefused(err, "403 InvalidObjectState")
	_, err = w.copyTo("none", types.StorageClassGlacier)
	w.wantRefused(err, "404 NoSuchKey")
}

// TestSlowDown: the rate is by the clock.
func TestSlowDown(t *testing.T) {
	w := newWorld(t)
	w.put("x", "")
	w.server.SetRate(2)
	w.wantRefused(w.get("x"), "")
	w.wantRefused(w.get("x"), "")
	w.wantRefused(w.get("x"), "503 SlowDown")
	w.clock.Advance(500 * time.Millisecond)
	w.wantRefused(w.get("x"), "")
	w.wantRefused(w.get("x"), "503 SlowDown")
	w.server.SetRate(0)
	w.wantRefused(w.get("x"), "")
}

// TestVersions: each version has a class, and the lock of the server behind keeps a version from going.
func TestVersions(t *testing.T) {
	t.Parallel()
	w := start(t, testservers.Versitygw(t), glaciertest.NewClock(), "")
	_, err := w.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(locked), ObjectLockEnabledForBucket: aws.Bool(true)})
	if err != nil {
		t.Fatal(err)
	}
	conf, err := w.GetObjectLockConfiguration(t.Context(), &s3.GetObjectLockConfigurationInput{Bucket: aws.String(locked)})
	if err != nil || conf.ObjectLockConfiguration.ObjectLockEnabled != types.ObjectLockEnabledEnabled {
		t.Fatalf("the bucket's lock: %+v, %v", conf, err)
	}
	until := time.Now().Add(time.Hour)
	key := aws.String("x")
	put := func(class types.StorageClass, mode types.ObjectLockMode) *string {
		in := &s3.PutObjectInput{Bucket: aws.String(locked), Key: key, Body: bytes.NewReader([]byte("bytes")), StorageClass: class, ObjectLockMode: mode}
		if mode != "" {
			in.ObjectLockRetainUntilDate = &until
		}
		out, err := w.PutObject(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		return out.VersionId
	}
	first, second := put(types.StorageClassDeepArchive, types.ObjectLockModeCompliance), put(types.StorageClassStandardIa, "")
	head := func(version *string) string {
		out, err := w.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String(locked), Key: key, VersionId: version})
		if err != nil {
			t.Fatal(err)
		}
		return string(out.StorageClass)
	}
	if a, b, c := head(first), head(second), head(nil); a != "DEEP_ARCHIVE" || b != "STANDARD_IA" || c != b {
		t.Errorf("versions are of %s, %s; the newest of %s", a, b, c)
	}
	list, err := w.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: aws.String(locked)})
	if err != nil || len(list.Versions) != 2 || list.Versions[0].StorageClass != "STANDARD_IA" || list.Versions[1].StorageClass != "DEEP_ARCHIVE" {
		t.Errorf("listed %+v, %v", list, err)
	}
	remove := func(version *string) error {
		_, err := w.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(locked), Key: key, VersionId: version})
		return err
	}
	w.wantRefused(remove(first), "403 AccessDenied")
	w.wantRefused(remove(second), "")
	third := put("", "")
	_, err = w.PutObjectRetention(t.Context(), &s3.PutObjectRetentionInput{Bucket: aws.String(locked), Key: key, VersionId: third,
		Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionModeCompliance, RetainUntilDate: &until}})
	if err != nil {
		t.Fatal(err)
	}
	w.wantRefused(remove(third), "403 AccessDenied")
	// A copy onto itself makes a version, which has no lock.
	moved, err := w.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: aws.String(locked), Key: key, CopySource: aws.String(locked + "/x"), StorageClass: types.StorageClassGlacier})
	if err != nil {
		t.Fatal(err)
	}
	if moved.VersionId == nil || *moved.VersionId == *third || head(nil) != "GLACIER" || head(third) != "" {
		t.Errorf("moved to version %v: newest %s, before %s", moved.VersionId, head(nil), head(third))
	}
	w.wantRefused(remove(moved.VersionId), "")
}

// TestFile: another stand-in before the same server goes on.
func TestFile(t *testing.T) {
	t.Parallel()
	behind, clock, file := testservers.Versitygw(t), glaciertest.NewClock(), filepath.Join(t.TempDir(), "classes")
	w := start(t, behind, clock, file)
	w.server.NewBucket(t, bucket, false)
	w.put("x", types.StorageClassGlacier)
	w.put("y", types.StorageClassStandardIa)
	w.wantRestored("x", 1, "", "202")
	w = start(t, behind, clock, file)
	w.wantState("x", `GLACIER|ongoing-request="true"|`)
	w.wantState("y", "STANDARD_IA||")
	clock.Advance(5 * time.Hour)
	w.wantRefused(w.get("x"), "")
}
