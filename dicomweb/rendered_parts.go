package dicomweb

import (
	"context"
	"encoding/json"
	"iter"
	"runtime"
	"sync"

	"github.com/strata-pacs/strata/internal/retrieve"
)

// madePart is what came of one item.
type madePart struct {
	part part
	err  error
}

// inOrder makes parts of the items on all cores and yields them in the order of
// the items. No more are begun than there are cores, beyond the one that is being
// sent. It ends with the first error that is not of one part alone; everything
// that was begun has ended by then.
func inOrder[T any](ctx context.Context, items []T, do func(context.Context, T) (part, error)) iter.Seq2[part, error] {
	return func(yield func(part, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()
		var queue []chan madePart
		next := 0
		for next < len(items) || len(queue) > 0 {
			for next < len(items) && len(queue) < runtime.GOMAXPROCS(0) {
				item, out := items[next], make(chan madePart, 1)
				queue, next = append(queue, out), next+1
				wg.Go(func() {
					p, err := do(ctx, item)
					out <- madePart{p, err}
				})
			}
			m := <-queue[0]
			queue = queue[1:]
			if !yield(m.part, m.err) || m.err != nil && !isUnshown(m.err) {
				return
			}
		}
	}
}

// told makes a problem document of each part that could not be rendered, so that
// one damaged instance neither hides nor spoils the others. When there is none
// that could, the first reason is the answer: parts without anything to show are
// held back until one comes that has.
func told(parts iter.Seq2[part, error]) iter.Seq2[part, error] {
	return func(yield func(part, error) bool) {
		var held []part
		var why error
		shown := false
		for p, err := range parts {
			if isUnshown(err) {
				if why == nil {
					why = err
				}
				held = append(held, problemPart(p.location, err))
				if !shown {
					continue
				}
			} else if err != nil {
				yield(part{}, err)
				return
			} else {
				shown = true
				held = append(held, p)
			}
			for _, h := range held {
				if !yield(h, nil) {
					return
				}
			}
			held = held[:0]
		}
		if !shown && why != nil {
			yield(part{}, why)
		}
	}
}

// problemPart is a part that says why there is no other.
func problemPart(location string, err error) part {
	text, _ := json.Marshal(problemOf(err))
	return part{retrieve.NewBody("application/problem+json", "", text), "application/problem+json", location}
}
