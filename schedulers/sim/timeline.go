package sim

import (
	"math"
	"slices"
)

// timeline is a T for each machine, now and as it was at earlier revisions that somebody still looks at. To take a snapshot
// is to remember a revision: it copies nothing, whatever the number of machines.
type timeline[T any] struct {
	rev  int64 // the latest
	now  []version[T]
	past [][]version[T] // by machine: what was before now, oldest first, as far as it may still be looked at
	pins []int64        // by holder: the revision that it looks at, or none
	top  int64          // the newest revision that anybody could look at when the latest one began
	// floor is the oldest revision that may yet be pinned: the latest, unless snapshots are to be taken of the past.
	floor int64
	// drop is called with what nobody can look at any more.
	drop func(T)
}

// version is what a machine was from one revision on.
type version[T any] struct {
	from  int64
	value T
}

const (
	none   int64 = -1
	latest int64 = math.MaxInt64
)

// newTimeline returns one of n machines, for so many holders of pins.
func newTimeline[T any](n, holders int) *timeline[T] {
	t := &timeline[T]{now: make([]version[T], n), past: make([][]version[T], n), pins: make([]int64, holders), top: none, floor: latest, drop: func(T) {}}
	for i := range t.pins {
		t.pins[i] = none
	}
	return t
}

// pin lets a holder look at a revision, not older than floor, until it pins another or none.
func (t *timeline[T]) pin(holder int, rev int64) { t.pins[holder] = rev }

// at returns what machine i was at a revision that is pinned, or is now.
func (t *timeline[T]) at(i int, rev int64) *T {
	if v := &t.now[i]; v.from <= rev {
		return &v.value
	}
	past := t.past[i]
	for k := len(past) - 1; k >= 0; k-- {
		if past[k].from <= rev {
			return &past[k].value
		}
	}
	panic("sim: a snapshot is older than what is kept")
}

// begin makes a new revision, which the next edits belong to; nobody may pin it before they are done.
func (t *timeline[T]) begin() {
	t.rev++
	t.top = latest
	if t.floor == latest {
		t.top = slices.Max(t.pins)
	}
}

// edit returns machine i to be changed, and whether what it was is kept, so that it must not be changed through pointers.
func (t *timeline[T]) edit(i int) (value *T, kept bool) {
	v := &t.now[i]
	kept = v.from <= t.top && v.from < t.rev
	if kept {
		t.keep(i, *v)
	}
	v.from = t.rev
	return &v.value, kept
}

// keep adds to the past of machine i. What nobody can look at any more goes when the past would have to grow.
func (t *timeline[T]) keep(i int, v version[T]) {
	past := append(t.past[i], v)
	if len(past) == cap(past) {
		low, gone := t.lowest(), 0
		for gone+1 < len(past) && past[gone+1].from <= low {
			gone++
		}
		for k := range gone {
			t.drop(past[k].value)
		}
		rest := copy(past, past[gone:])
		clear(past[rest:])
		past = past[:rest]
	}
	t.past[i] = past
}

// lowest is the oldest revision that somebody looks at or may come to look at.
func (t *timeline[T]) lowest() int64 {
	low := min(t.rev, t.floor)
	for _, p := range t.pins {
		if p != none {
			low = min(low, p)
		}
	}
	return low
}
