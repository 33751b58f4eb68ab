package ingest

import (
	"testing"

	"github.com/strata-pacs/strata/internal/fault"
)

// TestRepeatedInOneRequest: what comes twice in a request is acknowledged twice
// or not at all.
func TestRepeatedInOneRequest(t *testing.T) {
	b := newBench(t, nil)
	file := instance(1, 1, 100, "Twice^Told")
	b.index.fail = fault.New(fault.Unavailable, "the database does not answer")
	for i, r := range b.store(t, RequestOptions{}, file, file, file) {
		if r.Outcome != Refused || r.Err == nil {
			t.Errorf("instance %d, of which nothing became durable: %+v", i, r)
		}
	}
	b.index.fail = nil
	res := b.store(t, RequestOptions{}, file, file)
	if res[0].Outcome != Stored || res[1].Outcome != Known {
		t.Errorf("stored: %+v", res)
	}
}
