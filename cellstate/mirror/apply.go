package mirror

import (
	"fmt"
	"maps"

	"github.com/hashicorp/go-memdb"

	"github.com/omegacell/omegacell/cellstate"
)

// image turns batches into snapshots. It has no store, clock or lock: one goroutine feeds it.
type image struct {
	db   *memdb.MemDB
	now  *snapshot
	free []int // slots below now.Len() that no machine has

	hosts vectorEdit[host]
}

// newImage returns an empty image, which indexes the claims of these schedulers, or all for nil.
func newImage(schedulers []string) (*image, error) {
	db, err := newTables()
	if err != nil {
		return nil, err
	}
	empty := &snapshot{tables: db.Txn(false), indexed: schedulers}
	return &image{db: db, now: empty}, nil
}

// outcome is what one batch did.
type outcome struct {
	changes []cellstate.Change
	fresh   []cellstate.Record // newly quarantined
	healed  []cellstate.Record // no longer so
}

// apply makes the snapshot after b, which is not older than the present one. instant is when the batch was seen.
func (im *image) apply(b cellstate.Batch, instant cellstate.Instant) outcome {
	if b.Rev < im.now.rev {
		panic(fmt.Sprintf("mirror: batch %d after revision %d", b.Rev, im.now.rev))
	}
	next := *im.now
	next.rev, next.asOf = b.Rev, max(instant, next.asOf)
	if len(b.Events) == 0 {
		im.now = &next
		return outcome{}
	}
	w := &writing{
		image: im, names: namesEdit{names: next.names}, bad: next.bad, instant: instant,
		jobs: jobsEdit{before: next.tables}, spread: spread{indexed: next.indexed},
	}
	w.hosts.begin(next.hosts)
	w.changes = make([]cellstate.Change, 0, len(b.Events))
	for i := range b.Events {
		w.event(&b.Events[i])
	}
	w.place()
	w.leave()
	if len(w.jobs.changed) > 0 {
		w.jobs.write(w.write())
	}
	next.hosts, next.names, next.bad = w.hosts.vector, w.names.done(), w.bad
	if w.tables != nil {
		w.tables.Commit()
		next.tables = im.db.Txn(false)
	}
	im.now = &next
	return w.outcome
}

// writing is the application of one batch, which holds each key once.
type writing struct {
	*image
	outcome
	names   namesEdit
	jobs    jobsEdit
	spread  spread
	emptied []int                       // slots that may have become empty
	tables  *memdb.Txn                  // nil until the first write
	bad     map[string]cellstate.Record // that of now until the first change
	ownBad  bool
	instant cellstate.Instant
}

func (w *writing) event(e *cellstate.Event) {
	r := &e.Record
	v, err := r.Value, error(nil)
	if e.Deleted {
		v = nil
	} else {
		err = problem(e)
	}
	fresh := w.quarantine(r, err)
	if r.Key.Kind == 0 || err != nil && !fresh {
		return
	}
	if err != nil {
		if v = w.kept(r.Key); v == nil {
			return
		}
	}
	var old cellstate.Value
	switch {
	case ofHost(r.Key.Kind):
		old = w.host(r, v)
	case ofJob(r.Key.Kind):
		old = w.job(r, v)
	default:
		old = w.row(r, v)
	}
	if old != nil || v != nil {
		w.changes = append(w.changes, cellstate.Change{Key: r.Key, Old: old, New: v})
	}
}

// kept returns what the snapshot is to show of a ledger that has become unreadable: the last version that could be read,
// cordoned. Were it taken for absent, its tasks would be taken for gone and started elsewhere while they run (I3), some
// under a claim of the same ID (I4). It returns nil where there is nothing to change: no version was ever seen, or the record
// is another one, of which the last version stays as it is.
func (w *writing) kept(k cellstate.Key) cellstate.Value {
	if k.Kind != cellstate.KindLedger {
		return nil
	}
	v, _ := w.now.record(k)
	if v == nil {
		return nil
	}
	l := v.(*cellstate.Ledger).Clone()
	l.Cordoned = true
	return l.Sum()
}

// quarantine notes that a record became bad (err is set) or is no longer so, and reports whether it was not bad before.
func (w *writing) quarantine(r *cellstate.Record, err error) (fresh bool) {
	if err == nil && len(w.bad) == 0 {
		return true
	}
	name := badName(r)
	was, is := w.bad[name]
	if err == nil && !is {
		return true
	}
	if !w.ownBad {
		w.bad, w.ownBad = maps.Clone(w.bad), true
		if w.bad == nil {
			w.bad = make(map[string]cellstate.Record)
		}
	}
	if err == nil {
		delete(w.bad, name)
		w.healed = append(w.healed, was)
		return false
	}
	q := cellstate.Record{Key: r.Key, Rev: r.Rev, Err: err, Raw: r.Raw}
	w.bad[name] = q
	if !is {
		w.fresh = append(w.fresh, q)
	}
	return !is
}

// job puts or, where v is nil, deletes a part of a job, and returns what was there.
func (w *writing) job(r *cellstate.Record, v cellstate.Value) (old cellstate.Value) {
	e := w.jobs.change(jobName{r.Key.Scope, r.Key.Name})
	old, _ = e.value(r.Key.Kind)
	e.put(r.Key.Kind, v, r.Rev)
	return old
}

// row puts or, where v is nil, deletes another record, and returns what was there.
func (w *writing) row(r *cellstate.Record, v cellstate.Value) cellstate.Value {
	old := rowOf(w.now.tables, r.Key)
	switch {
	case v != nil:
		must(w.write().Insert(r.Key.Kind.String(), &row{key: r.Key, rev: r.Rev, value: v}))
	case old != nil:
		must(w.write().Delete(r.Key.Kind.String(), old))
	}
	if old == nil {
		return nil
	}
	return old.value
}

// write returns the transaction in which tables are changed.
func (w *writing) write() *memdb.Txn {
	if w.tables == nil {
		w.tables = w.db.Txn(true)
	}
	return w.tables
}

// host puts or, where v is nil, deletes a part of a machine, and returns what was there. A name that comes gets the slot
// freed last, or a new one.
func (w *writing) host(r *cellstate.Record, v cellstate.Value) cellstate.Value {
	slot, there := w.names.find(r.Key.Name)
	if !there {
		if v == nil {
			return nil
		}
		slot = w.hosts.n
		if n := len(w.free); n > 0 {
			slot, w.free = w.free[n-1], w.free[:n-1]
		}
		w.names.set(r.Key.Name, slot)
	}
	h := w.hosts.change(slot)
	if !there {
		h.name, h.Slot = r.Key.Name, slot
	}
	ledger := h.Ledger
	old, _ := h.value(r.Key.Kind)
	h.put(r.Key.Kind, v, r.Rev, w.instant)
	if r.Key.Kind == cellstate.KindLedger {
		w.spread.ledger(slot, ledger, h.Ledger)
	}
	if v == nil {
		w.emptied = append(w.emptied, slot)
	}
	return old
}

// place brings the index of claims up to date.
func (w *writing) place() {
	name := func(slot int32) string { return w.hosts.at(int(slot)).name }
	for i := range w.spread.shifts {
		s := &w.spread.shifts[i]
		e := w.jobs.change(s.jobName)
		e.slots = s.after(e.slots, name)
	}
}

// leave frees the slots of the names of which nothing is left.
func (w *writing) leave() {
	for _, slot := range w.emptied {
		if h := w.hosts.at(slot); h != nil && h.empty() {
			w.names.set(h.name, -1)
			w.hosts.clear(slot)
			w.free = append(w.free, slot)
		}
	}
}
