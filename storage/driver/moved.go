package driver

import "context"

type movedKey struct{}

// WithMoved returns a context whose user wants to hear of bytes that move, to or
// from the store, on behalf of it. moved must be safe for concurrent use and quick.
// Users further up still hear of them.
func WithMoved(ctx context.Context, moved func()) context.Context {
	if above, ok := ctx.Value(movedKey{}).(func()); ok {
		own := moved
		moved = func() { own(); above() }
	}
	return context.WithValue(ctx, movedKey{}, moved)
}

// Moved reports that bytes moved on behalf of ctx.
func Moved(ctx context.Context) {
	if moved, ok := ctx.Value(movedKey{}).(func()); ok {
		moved()
	}
}
