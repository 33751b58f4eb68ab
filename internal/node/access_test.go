package node

import (
	"sync/atomic"
	"testing"
	"time"
)

// TestAccessBeforeClosing: what was read just before a node closes is known to have been read.
func TestAccessBeforeClosing(t *testing.T) {
	p := newPlace(t)
	began := time.Now()
	var days atomic.Int64
	p.o.Now = func() time.Time { return began.AddDate(0, 0, int(days.Load())) }
	n := p.open()
	u, file := image(1, 1)
	store(t, n, file)
	accessed := func() time.Time {
		t.Helper()
		l, ok, err := n.n.Index.Life(t.Context(), n.Tenant, n.ring.Ref(u.Study))
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		return l.Accessed
	}
	before := accessed()
	days.Add(3)
	n.Accessed(u.Study)
	p.close(n)
	n = p.open()
	defer p.close(n)
	if at := accessed(); !at.Equal(before.AddDate(0, 0, 3)) {
		t.Errorf("read three days after %v, known is %v", before, at)
	}
}
