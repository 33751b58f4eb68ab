package glaciertest_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

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
	if n := w.server.Begun(); n == 0 || n > 10 {
		t.Errorf("%d restores were begun by 10 requests", n)
	}
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
