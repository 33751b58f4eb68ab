package held

import (
	"sync"
	"testing"
)

func TestBudget(t *testing.T) {
	b := NewBudget(10)
	if !b.Take(7) || b.Take(4) || !b.Take(3) || b.Take(1) || b.Used() != 10 {
		t.Errorf("%d bytes are taken of 10", b.Used())
	}
	b.Give(7)
	if b.Take(8) || !b.Take(7) {
		t.Error("what was given back is not there, or more is")
	}
	var none *Budget
	none.Give(1)
	if !none.Take(1<<62) || none.Used() != 0 {
		t.Error("no budget has a bound")
	}
}

func TestBudgetIsNeverExceeded(t *testing.T) {
	b := NewBudget(100)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 2000 {
				if b.Take(30) {
					if b.Used() > 100 {
						t.Error("more is taken than there is")
					}
					b.Give(30)
				}
			}
		})
	}
	wg.Wait()
	if b.Used() != 0 {
		t.Errorf("%d bytes are left over", b.Used())
	}
}
