package sim

import (
	"math"
	"time"
)

// clock is a virtual time, or a length of it, in seconds since the beginning of the run. It is a float because that of Google's
// simulator is: where times of four decimals add up, rounding decides which of two events comes first, and the imitation
// goes as far as that.
type clock float64

// clockOf returns the float nearest to d.
func clockOf(d time.Duration) clock { return clock(float64(d) / 1e9) }

func (c clock) duration() time.Duration { return time.Duration(math.Round(float64(c) * 1e9)) }

// agenda holds the events to come, earliest first; of one time, in the order in which they were added.
type agenda struct {
	heap  []event
	count uint64
}

type event struct {
	at    clock
	order uint64
	kind  kind
	id    int32 // what of the kind: a scheduler, a job, an ending
}

type kind uint8

const (
	decided kind = iota + 1 // a scheduler has come to the end of a decision time
	requeue                 // a job's pause is over
	ended                   // tasks that were placed together end
	offered                 // the allocator has made an offer
)

func (e *event) before(o *event) bool { return e.at < o.at || e.at == o.at && e.order < o.order }

func (a *agenda) add(at clock, k kind, id int32) {
	a.count++
	e := event{at, a.count, k, id}
	h := append(a.heap, e)
	i := len(h) - 1
	for i > 0 {
		up := (i - 1) / 4
		if !e.before(&h[up]) {
			break
		}
		h[i] = h[up]
		i = up
	}
	h[i] = e
	a.heap = h
}

// next returns when the earliest event is; false where there is none.
func (a *agenda) next() (clock, bool) {
	if len(a.heap) == 0 {
		return 0, false
	}
	return a.heap[0].at, true
}

// pop takes the earliest event out. There must be one.
func (a *agenda) pop() event {
	h := a.heap
	first, last := h[0], h[len(h)-1]
	h = h[:len(h)-1]
	i := 0
	for {
		child := 4*i + 1
		if child >= len(h) {
			break
		}
		least := child
		for c := child + 1; c < min(child+4, len(h)); c++ {
			if h[c].before(&h[least]) {
				least = c
			}
		}
		if !h[least].before(&last) {
			break
		}
		h[i] = h[least]
		i = least
	}
	if len(h) > 0 {
		h[i] = last
	}
	a.heap = h
	return first
}
