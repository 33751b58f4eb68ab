//go:build linux

package e2e

import (
	"math/rand/v2"
	"net/http"
	"testing"

	"github.com/strata-pacs/strata/storage/s3protocol/s3protocoltest"
)

// storeFails has every eighth request to the S3 server go wrong, in turn by a
// reset, an error, a lost answer, a body that breaks off and a wrong one, and one of
// a hundred stand still.
func storeFails(t *testing.T, w *world) {
	random := rand.New(rand.NewPCG(1, 2))
	broken := []s3protocoltest.Action{s3protocoltest.Reset, s3protocoltest.SlowDown, s3protocoltest.Lost, s3protocoltest.Truncate,
		s3protocoltest.Raced, s3protocoltest.FlipRequest}
	count := map[s3protocoltest.Action]int{}
	requests := 0
	w.store3.Script(func(*http.Request) s3protocoltest.Action { // called one at a time
		requests++
		a := s3protocoltest.Pass
		switch n := random.IntN(800); {
		case n < 4:
			a = s3protocoltest.Stall
		case n < 8:
			a = s3protocoltest.StallBody
		case n < 100:
			a = broken[n%len(broken)]
		}
		count[a]++
		return a
	})
	l := w.load(t, 4)
	l.more(t, int64(times(100, 2000)), "the store fails")
	w.store3.Script(nil) // what is under way has read the counts for the last time
	l.end(t)
	t.Logf("of %d requests %d were reset, %d refused, %d done and not answered, %d cut short, %d told of a race, %d spoilt, %d stood still",
		requests, count[s3protocoltest.Reset], count[s3protocoltest.SlowDown], count[s3protocoltest.Lost], count[s3protocoltest.Truncate],
		count[s3protocoltest.Raced], count[s3protocoltest.FlipRequest], count[s3protocoltest.Stall]+count[s3protocoltest.StallBody])

	// Gone at all: the node says so, and comes back.
	w.store3.Script(func(*http.Request) s3protocoltest.Action { return s3protocoltest.Reset })
	w.unready(t, 0, "store")
	w.store3.Script(nil)
	w.ready(t, []int{0, 1, 2})
}
