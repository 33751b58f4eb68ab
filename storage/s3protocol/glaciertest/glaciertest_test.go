package glaciertest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/strata-pacs/strata/internal/testservers"
	"github.com/strata-pacs/strata/storage/s3protocol/glaciertest"
)

// world is the stand-in seen by Amazon's own client, without retries.
type world struct {
	*testing.T
	*s3.Client
	clock  *glaciertest.Clock
	server *glaciertest.Server
}

const bucket, locked = "glacier-plain", "glacier-versioned"

func start(t *testing.T, behind testservers.S3, clock *glaciertest.Clock, file string) world {
	srv := glaciertest.Start(t, behind, glaciertest.Options{Now: clock.Now, File: file})
	return world{t, s3.New(s3.Options{
		BaseEndpoint: &srv.Endpoint, Region: srv.Region, UsePathStyle: true, Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider(srv.AccessKey, srv.SecretKey, ""),
	}), clock, srv}
}

func newWorld(t *testing.T) world {
	t.Parallel()
	w := start(t, testservers.Versitygw(t), glaciertest.NewClock(), "")
	w.server.NewBucket(t, bucket, false)
	return w
}

func (w world) put(key string, class types.StorageClass) {
	w.Helper()
	_, err := w.PutObject(w.Context(), &s3.PutObjectInput{Bucket: aws.String(bucket), Key: &key, Body: bytes.NewReader([]byte("bytes of " + key)),
		StorageClass: class, Metadata: map[string]string{"kept": "yes"}})
	if err != nil {
		w.Fatal(err)
	}
}

// state returns class, restore and archive status as HeadObject tells them.
func (w world) state(key string) string {
	w.Helper()
	out, err := w.HeadObject(w.Context(), &s3.HeadObjectInput{Bucket: aws.String(bucket), Key: &key})
	if err != nil {
		w.Fatal(err)
	}
	return fmt.Sprintf("%s|%s|%s", out.StorageClass, aws.ToString(out.Restore), out.ArchiveStatus)
}

func (w world) wantState(key, want string) {
	w.Helper()
	if got := w.state(key); got != want {
		w.Errorf("%s: %s; want %s", key, got, want)
	}
}

func (w world) get(key string) error {
	out, err := w.GetObject(w.Context(), &s3.GetObjectInput{Bucket: aws.String(bucket), Key: &key})
	if err != nil {
		return err
	}
	defer out.Body.Close()
	if got, err := io.ReadAll(out.Body); err != nil || string(got) != "bytes of "+key {
		return fmt.Errorf("read %q, %v", got, err)
	}
	return nil
}

// restore returns the status of the answer, and its error.
func (w world) restore(key string, days int32, tier types.Tier) (int, error) {
	var status int
	seen := func(o *s3.Options) { o.HTTPClient = &statusClient{o.HTTPClient, &status} }
	in := &types.RestoreRequest{}
	if days > 0 {
		in.Days = &days
	}
	if tier != "" {
		in.GlacierJobParameters = &types.GlacierJobParameters{Tier: tier}
	}
	_, err := w.RestoreObject(w.Context(), &s3.RestoreObjectInput{Bucket: aws.String(bucket), Key: &key, RestoreRequest: in}, seen)
	return status, err
}

func (w world) wantRestored(key string, days int32, tier types.Tier, want string) {
	w.Helper()
	status, err := w.restore(key, days, tier)
	got := fmt.Sprint(status)
	if err != nil {
		got = refusal(err)
	}
	if got != want {
		w.Errorf("restoring %s for %d days at %q: %s (%v); want %s", key, days, tier, got, err, want)
	}
}

func (w world) copyTo(key string, class types.StorageClass) (*s3.CopyObjectOutput, error) {
	return w.CopyObject(w.Context(), &s3.CopyObjectInput{Bucket: aws.String(bucket), Key: &key, CopySource: aws.String(bucket + "/" + key), StorageClass: class})
}

// refusal is the answer in words, "403 InvalidObjectState"; empty for no error.
func refusal(err error) string {
	if err == nil {
		return ""
	}
	status, code := 0, err.Error()
	if r := (*smithyhttp.ResponseError)(nil); errors.As(err, &r) {
		status = r.HTTPStatusCode()
	}
	if a := smithy.APIError(nil); errors.As(err, &a) {
		code = a.ErrorCode()
	}
	return fmt.Sprintf("%d %s", status, code)
}

func (w world) wantRefused(err error, want string) {
	w.Helper()
	if got := refusal(err); got != want {
		w.Errorf("%s (%v); want %s", got, err, want)
	}
}

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

// TestRestore: delays of class and tier, the state meanwhile, and the end of the copy.
func TestRestore(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		class types.StorageClass
		tier  types.Tier
		takes time.Duration
	}{
		{types.StorageClassGlacier, types.TierExpedited, 5 * time.Minute},
		{types.StorageClassGlacier, types.TierStandard, 5 * time.Hour},
		{types.StorageClassGlacier, "", 5 * time.Hour},
		{types.StorageClassGlacier, types.TierBulk, 12 * time.Hour},
		{types.StorageClassDeepArchive, types.TierStandard, 12 * time.Hour},
		{types.StorageClassDeepArchive, types.TierBulk, 48 * time.Hour},
	} {
		key := fmt.Sprintf("%s/x%s", c.class, c.tier)
		w.put(key, c.class)
		w.wantRestored(key, 2, c.tier, "202")
		w.clock.Advance(c.takes - time.Second)
		w.wantState(key, string(c.class)+`|ongoing-request="true"|`)
		w.wantRefused(w.get(key), "403 InvalidObjectState")
		w.clock.Advance(time.Second)
		// Two days from now, and up to the next midnight.
		until := w.clock.Now().Truncate(24*time.Hour).AddDate(0, 0, 3)
		w.wantState(key, fmt.Sprintf(`%s|ongoing-request="false", expiry-date="%s"|`, c.class, until.Format("Mon, 02 Jan 2006 15:04:05 GMT")))
		w.wantRefused(w.get(key), "")
		w.clock.Advance(until.Sub(w.clock.Now()) - time.Second)
		w.wantRefused(w.get(key), "")
		w.clock.Advance(time.Second)
		w.wantState(key, string(c.class)+"||")
		w.wantRefused(w.get(key), "403 InvalidObjectState")
	}
}

// TestRestoreAgain: extended when it is there, refused while it is under way, but for a faster tier.
func TestRestoreAgain(t *testing.T) {
	w := newWorld(t)
	w.put("x", types.StorageClassGlacier)
	w.wantRestored("x", 1, types.TierBulk, "202")
	w.wantRestored("x", 1, types.TierBulk, "409 RestoreAlreadyInProgress")
	w.wantRestored("x", 2, types.TierStandard, "409 RestoreAlreadyInProgress") // nothing else may change
	w.wantRestored("x", 1, types.TierStandard, "202")
	w.wantRestored("x", 1, types.TierBulk, "409 RestoreAlreadyInProgress")
	w.clock.Advance(5 * time.Hour)
	w.wantRefused(w.get("x"), "")
	w.wantRestored("x", 10, types.TierBulk, "200")
	until := w.clock.Now().Truncate(24*time.Hour).AddDate(0, 0, 11)
	w.wantState("x", `GLACIER|ongoing-request="false", expiry-date="`+until.Format("Mon, 02 Jan 2006 15:04:05 GMT")+`"|`)
	w.wantRefused(w.get("x"), "")
	// A restored object can be copied back for good.
	if _, err := w.copyTo("x", types.StorageClassStandard); err != nil {
		t.Fatal(err)
	}
	w.wantState("x", "||")
}

func TestRestoreRefused(t *testing.T) {
	w := newWorld(t)
	w.put("standard", "")
	w.put("instant", types.StorageClassGlacierIr)
	w.put("deep", types.StorageClassDeepArchive)
	w.put("glacier", types.StorageClassGlacier)
	w.put("tiering", types.StorageClassIntelligentTiering)
	w.wantRestored("standard", 1, "", "403 InvalidObjectState")
	w.wantRestored("instant", 1, "", "403 InvalidObjectState")
	w.wantRestored("tiering", 1, "", "403 ObjectAlreadyInActiveTierError")
	w.wantRestored("deep", 1, types.TierExpedited, "400 InvalidArgument")
	w.wantRestored("deep", 0, "", "400 MalformedXML")
	w.wantRestored("deep", 1, "Warp", "400 MalformedXML")
	w.wantRestored("none", 1, "", "404 NoSuchKey")
	w.wantState("deep", "DEEP_ARCHIVE||")

	w.server.SetExpedited(1)
	w.put("second", types.StorageClassGlacier)
	w.wantRestored("glacier", 1, types.TierExpedited, "202")
	w.wantRestored("second", 1, types.TierExpedited, "503 GlacierExpeditedRetrievalNotAvailable")
	w.wantState("second", "GLACIER||")
	w.clock.Advance(5 * time.Minute)
	w.wantRestored("second", 1, types.TierExpedited, "202")
	if n := w.server.Faults.Count("restore"); n != 10 {
		t.Errorf("counted %d restores", n)
	}
}

// TestTiering: the archive tiers of INTELLIGENT_TIERING give an object back for good, and want no days.
func TestTiering(t *testing.T) {
	w := newWorld(t)
	for tier, takes := range map[string]time.Duration{"ARCHIVE_ACCESS": 5 * time.Hour, "DEEP_ARCHIVE_ACCESS": 12 * time.Hour} {
		w.put(tier, types.StorageClassIntelligentTiering)
		w.wantRefused(w.get(tier), "")
		w.server.Archive(t, bucket, tier, tier)
		w.wantState(tier, "INTELLIGENT_TIERING||"+tier)
		w.wantRefused(w.get(tier), "403 InvalidObjectState")
		w.wantRestored(tier, 1, "", "400 InvalidArgument")
		w.wantRestored(tier, 0, "", "202")
		w.wantState(tier, `INTELLIGENT_TIERING|ongoing-request="true"|`+tier)
		w.clock.Advance(takes)
		w.wantState(tier, "INTELLIGENT_TIERING||")
		w.clock.Advance(1000 * time.Hour)
		w.wantRefused(w.get(tier), "")
	}
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

func TestFast(t *testing.T) {
	t.Parallel()
	now := glaciertest.Fast(3600)
	from := now()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	<-ctx.Done()
	if passed := now().Sub(from); passed < 36*time.Second {
		t.Errorf("only %s passed", passed)
	}
}

// statusClient keeps the status of the last answer, which the client itself does not tell.
type statusClient struct {
	s3.HTTPClient
	status *int
}

func (c *statusClient) Do(r *http.Request) (*http.Response, error) {
	resp, err := c.HTTPClient.Do(r)
	if err == nil {
		*c.status = resp.StatusCode
	}
	return resp, err
}
