package queue

import (
	"cmp"
	"container/heap"

	"github.com/omegacell/omegacell/cellstate"
)

// FIFO is a queue of names. One entry a name: pushing a name again can only make it due earlier. The zero FIFO is empty and
// ready; it is not safe for concurrent use.
type FIFO struct {
	ready   byOrder          // due at the last Pop or when pushed
	delayed byDue            // due later
	entries map[string]*item // by name
	pushed  uint64           // entries so far: breaks ties
}

type item struct {
	name       string
	precedence cellstate.Precedence
	due        cellstate.Instant
	seq        uint64
	index      int  // in the heap that holds it
	delayed    bool // which heap that is
}

// Len counts the entries, due or not.
func (q *FIFO) Len() int { return len(q.entries) }

// Push enters a name that is due at an instant, the zero Instant meaning at once. If the name waits already, it keeps its
// place, gets the new precedence, and becomes due at the earlier of both instants.
func (q *FIFO) Push(name string, p cellstate.Precedence, due cellstate.Instant) {
	if q.entries == nil {
		q.entries = make(map[string]*item)
	}
	it := q.entries[name]
	if it == nil {
		q.pushed++
		it = &item{name: name, precedence: p, due: due, seq: q.pushed}
		q.entries[name] = it
		q.enter(it)
		return
	}
	if p == it.precedence && due >= it.due {
		return
	}
	q.leave(it)
	it.precedence, it.due = p, min(it.due, due)
	q.enter(it)
}

func (q *FIFO) enter(it *item) {
	it.delayed = it.due > 0
	if it.delayed {
		heap.Push(&q.delayed, it)
	} else {
		heap.Push(&q.ready, it)
	}
}

func (q *FIFO) leave(it *item) {
	if it.delayed {
		heap.Remove(&q.delayed, it.index)
	} else {
		heap.Remove(&q.ready, it.index)
	}
}

// Pop takes out the first name due at now, if there is one.
func (q *FIFO) Pop(now cellstate.Instant) (name string, ok bool) {
	for len(q.delayed) > 0 && q.delayed[0].due <= now {
		it := heap.Pop(&q.delayed).(*item)
		it.due, it.delayed = 0, false
		heap.Push(&q.ready, it)
	}
	if len(q.ready) == 0 {
		return "", false
	}
	it := heap.Pop(&q.ready).(*item)
	delete(q.entries, it.name)
	return it.name, true
}

// Next returns when the next entry is due: the zero Instant for at once. ok is false where the queue is empty.
func (q *FIFO) Next() (due cellstate.Instant, ok bool) {
	if len(q.ready) > 0 {
		return 0, true
	}
	if len(q.delayed) > 0 {
		return q.delayed[0].due, true
	}
	return 0, false
}

// Remove takes a name out, if it is there.
func (q *FIFO) Remove(name string) {
	if it := q.entries[name]; it != nil {
		q.leave(it)
		delete(q.entries, name)
	}
}

type byOrder []*item

func (h byOrder) Len() int { return len(h) }
func (h byOrder) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(h[j].precedence, h[i].precedence), cmp.Compare(h[i].seq, h[j].seq)) < 0
}
func (h byOrder) Swap(i, j int) { h[i], h[j] = h[j], h[i]; h[i].index, h[j].index = i, j }
func (h *byOrder) Push(x any)   { x.(*item).index = len(*h); *h = append(*h, x.(*item)) }
func (h *byOrder) Pop() any     { return popLast((*[]*item)(h)) }

type byDue []*item

func (h byDue) Len() int { return len(h) }
func (h byDue) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(h[i].due, h[j].due), cmp.Compare(h[i].seq, h[j].seq)) < 0
}
func (h byDue) Swap(i, j int) { h[i], h[j] = h[j], h[i]; h[i].index, h[j].index = i, j }
func (h *byDue) Push(x any)   { x.(*item).index = len(*h); *h = append(*h, x.(*item)) }
func (h *byDue) Pop() any     { return popLast((*[]*item)(h)) }

func popLast(h *[]*item) *item {
	last := len(*h) - 1
	it := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return it
}
