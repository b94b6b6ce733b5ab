package schedulers

import (
	"context"
	"sync"
)

// window bounds how much is in flight by how it fares, as TCP does (Jacobson, SIGCOMM 1988): what is in flight was planned without
// knowing what other schedulers have in flight, so under contention less of it means fewer collisions, for everybody. The window
// grows by one with each transaction that met no conflict, until the first that did, and from then on by one with each windowful;
// a transaction that mostly conflicted halves it, at most once for each windowful.
type window struct {
	most int
	wake chan struct{} // holds one when there may be room

	mu    sync.Mutex
	size  float64
	slow  bool // a conflict was met
	used  int
	since int // transactions since it was last halved
}

// The window begins with windowStart, and is never less than windowLeast.
const (
	windowStart = 8
	windowLeast = 2
)

func newWindow(most int) *window {
	return &window{most: most, wake: make(chan struct{}, 1), size: float64(min(most, windowStart))}
}

// enter waits for room for one more; false where ctx is done first.
func (w *window) enter(ctx context.Context) bool {
	for ctx.Err() == nil {
		if w.tryEnter() {
			return true
		}
		select {
		case <-w.wake:
		case <-ctx.Done():
		}
	}
	return false
}

// tryEnter takes room for one more, if there is any.
func (w *window) tryEnter() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.used >= int(w.size) {
		return false
	}
	w.used++
	w.kick()
	return true
}

// leave gives the room of n back.
func (w *window) leave(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.used -= n
	w.kick()
}

// kick lets the next one in, if there is room. w.mu is held.
func (w *window) kick() {
	if w.used < int(w.size) {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// record counts the outcome of one transaction.
func (w *window) record(conflicts, claims int) {
	if claims == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.since++
	most := float64(w.most)
	switch {
	case 2*conflicts > claims:
		if !w.slow || w.since > int(w.size) {
			w.size = max(min(windowLeast, most), w.size/2)
			w.since, w.slow = 0, true
		}
	case conflicts > 0:
	case w.slow:
		w.size = min(most, w.size+1/w.size)
	default:
		w.size = min(most, w.size+1)
	}
}
