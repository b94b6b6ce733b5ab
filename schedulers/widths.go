package schedulers

import (
	"sync"

	"github.com/omegacell/omegacell/schedulers/place"
)

// widths adapts among how many near-best machines planners draw to how often this scheduler's plans conflicted of late.
// The zero widths begins at the narrowest.
type widths struct {
	mu        sync.Mutex
	width     int
	conflicts int // since the last change
	claims    int
}

// sample is how many claims are judged together.
const sample = 64

// now returns the width to plan with.
func (w *widths) now() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.width
}

// record counts the outcome of one transaction.
func (w *widths) record(conflicts, claims int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conflicts += conflicts
	w.claims += claims
	if w.claims >= sample {
		w.width = place.NextWidth(w.width, w.conflicts, w.claims)
		w.conflicts, w.claims = 0, 0
	}
}
