package dicom

// arena hands out slices cut from larger ones, so that a data set of a hundred
// elements takes a few allocations. It grows with what it has handed out.
type arena[T any] struct {
	free []T
	next int // size of the next allocation
}

// take returns a slice of n zero elements. First and limit bound an allocation
// that is shared, in elements.
func (a *arena[T]) take(n, first, limit int) []T {
	if n > len(a.free) {
		size := max(a.next, first)
		a.next = min(2*size, limit)
		if n > size/2 {
			return make([]T, n)
		}
		a.free = make([]T, size)
	}
	s := a.free[:n:n]
	a.free = a.free[n:]
	return s
}
