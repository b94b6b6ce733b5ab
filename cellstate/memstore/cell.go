package memstore

import (
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/omegacell/omegacell/cellstate"
)

// cell is the state that all clients share.
type cell struct {
	mu        sync.Mutex
	limits    cellstate.Limits
	progress  time.Duration // how often a quiet watch says that it is
	rev       int64         // the latest revision; 1 is the empty cell
	compacted int64         // the earliest revision that can be listed
	keys      map[cellstate.Key]*history
	log       []cellstate.Batch // what each revision from logFrom on changed, none left out
	logFrom   int64
	leases    map[int64]*lease
	lastLease int64
	wake      chan struct{} // closed at the next write, or when a client is cut off or let back
}

// history is every version of one key that is kept, oldest first. In a version of a deletion Rev is all there is.
type history []version

type version struct {
	cellstate.Record
	deleted bool
}

// write is one change to come. Value, err or deleted is set.
type write struct {
	key     cellstate.Key
	value   cellstate.Value
	err     error
	lease   int64
	deleted bool
}

// Ledger implements [cellstate.View] on the present state.
func (c *cell) Ledger(machine string) (*cellstate.Ledger, bool) {
	l, ok := c.now(cellstate.LedgerKey(machine)).Value.(*cellstate.Ledger)
	return l, ok
}

// now returns what stands at k; its Rev is 0 where nothing does.
func (c *cell) now(k cellstate.Key) cellstate.Record { return c.at(k, c.rev) }

func (c *cell) at(k cellstate.Key, rev int64) cellstate.Record {
	if h := c.keys[k]; h != nil {
		if v := h.at(rev); v != nil && !v.deleted {
			return v.Record
		}
	}
	return cellstate.Record{Key: k}
}

// at returns the version that stood at rev, or nil.
func (h history) at(rev int64) *version {
	i := sort.Search(len(h), func(i int) bool { return h[i].Rev > rev })
	if i == 0 {
		return nil
	}
	return &h[i-1]
}

// apply writes all of w as one revision. A deletion of what is not there is no change; without a change there is no revision.
func (c *cell) apply(w []write) {
	w = slices.DeleteFunc(w, func(w write) bool { return w.deleted && c.now(w.key).Rev == 0 })
	if len(w) == 0 {
		return
	}
	slices.SortFunc(w, func(a, b write) int { return a.key.Compare(b.key) })
	rev := c.rev + 1
	batch := cellstate.Batch{Rev: rev}
	for _, w := range w {
		old := c.now(w.key)
		if l := c.leases[old.Lease]; l != nil {
			delete(l.keys, w.key)
		}
		rec := cellstate.Record{Key: w.key, Rev: rev}
		if !w.deleted {
			rec.CreateRev, rec.Lease, rec.Err = old.CreateRev, w.lease, w.err
			if old.Rev == 0 {
				rec.CreateRev = rev
			}
			if w.err != nil {
				rec.Raw = w.key.String()
			} else {
				rec.Value = cellstate.WithRev(w.value, rev)
			}
			if l := c.leases[w.lease]; l != nil {
				l.keys[w.key] = true
			}
		}
		h := c.keys[w.key]
		if h == nil {
			h = new(history)
			c.keys[w.key] = h
		}
		*h = append(*h, version{rec, w.deleted})
		batch.Events = append(batch.Events, cellstate.Event{Record: rec, Deleted: w.deleted})
	}
	c.rev = rev
	c.log = append(c.log, batch)
	c.wakeAll()
}

// holds reports whether every condition of sw does.
func (c *cell) holds(sw cellstate.Swap) bool {
	for _, g := range sw.Guards {
		if c.now(g.Key).Rev != g.Rev {
			return false
		}
	}
	for _, u := range sw.Unchanged {
		for _, r := range c.list(u.Range, c.rev) {
			if r.Rev > u.Rev {
				return false
			}
		}
	}
	return true
}

// list returns the records of a range as of rev, by key.
func (c *cell) list(r cellstate.Range, rev int64) []cellstate.Record {
	if one := cellstate.Key(r); r.Name != "" && (r.Scope != "" || !scoped(r.Kind)) {
		if rec := c.at(one, rev); rec.Rev != 0 {
			return []cellstate.Record{rec}
		}
		return nil
	}
	var out []cellstate.Record
	for k := range c.keys {
		if r.Contains(k) {
			if rec := c.at(k, rev); rec.Rev != 0 {
				out = append(out, rec)
			}
		}
	}
	slices.SortFunc(out, func(a, b cellstate.Record) int { return a.Key.Compare(b.Key) })
	return out
}

// scoped reports whether keys of the kind have a Scope; of kind 0, all kinds, some do.
func scoped(k cellstate.Kind) bool {
	switch k {
	case 0, cellstate.KindJob, cellstate.KindStatus, cellstate.KindLeader:
		return true
	}
	return false
}

func (c *cell) compact(rev int64) {
	rev = min(rev, c.rev)
	if rev <= c.compacted {
		return
	}
	c.compacted = rev
	if n := rev - c.logFrom; n > 0 {
		c.log = slices.Clone(c.log[n:])
		c.logFrom = rev
	}
	for k, h := range c.keys {
		i := sort.Search(len(*h), func(i int) bool { return (*h)[i].Rev > rev })
		if i > 0 && !(*h)[i-1].deleted {
			i--
		}
		if *h = slices.Clone((*h)[i:]); len(*h) == 0 {
			delete(c.keys, k)
		}
	}
	c.wakeAll()
}

func (c *cell) wakeAll() {
	close(c.wake)
	c.wake = make(chan struct{})
}
