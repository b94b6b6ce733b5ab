package mirror

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/go-memdb"

	"github.com/omegacell/omegacell/cellstate"
)

// image turns batches into snapshots. It has no store, clock or lock: one goroutine feeds it.
type image struct {
	db     *memdb.MemDB
	now    *snapshot
	slotOf map[string]int // of every machine in now
	free   []int          // slots below now.Len() that no machine has
}

func newImage() (*image, error) {
	db, err := newTables()
	if err != nil {
		return nil, err
	}
	return &image{
		db:     db,
		now:    &snapshot{tables: db.Txn(false)},
		slotOf: make(map[string]int),
	}, nil
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
	if len(b.Events) == 0 {
		im.now = &snapshot{rev: b.Rev, tables: im.now.tables, slots: im.now.slots, bad: im.now.bad}
		return outcome{}
	}
	w := &writing{image: im, tables: im.db.Txn(true), slots: im.now.slots.edit(), bad: im.now.bad, instant: instant}
	w.changes = make([]cellstate.Change, len(b.Events))
	// Ledgers first: they decide which machines there are. A batch holds a key once, so the order changes nothing else.
	for i := range b.Events {
		if b.Events[i].Record.Key.Kind == cellstate.KindLedger {
			w.event(i, &b.Events[i])
		}
	}
	for i := range b.Events {
		if b.Events[i].Record.Key.Kind != cellstate.KindLedger {
			w.event(i, &b.Events[i])
		}
	}
	w.tables.Commit()
	im.now = &snapshot{rev: b.Rev, tables: im.db.Txn(false), slots: w.slots.slots, bad: w.bad}
	w.changes = slices.DeleteFunc(w.changes, func(c cellstate.Change) bool { return c.Old == nil && c.New == nil })
	return w.outcome
}

// writing is the application of one batch. Everything old is read from the snapshot before it: a read inside a write
// transaction of memdb makes the writes after it slow.
type writing struct {
	*image
	outcome
	tables  *memdb.Txn
	slots   *slotsEdit
	bad     map[string]cellstate.Record // that of now until the first change
	ownBad  bool
	instant cellstate.Instant
}

func (w *writing) event(i int, e *cellstate.Event) {
	r := &e.Record
	v, err := r.Value, r.Err
	switch {
	case e.Deleted:
		v, err = nil, nil
	case err != nil:
	case v == nil:
		err = errors.New("the store brought neither a value nor an error")
	case v.Key() != r.Key:
		err = fmt.Errorf("the value is that of %s", v.Key())
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
	if r.Key.Kind == cellstate.KindLedger {
		old = w.ledger(r.Key.Name, v)
	} else {
		old = w.row(r, v)
		w.view(r.Key, v)
	}
	w.changes[i] = cellstate.Change{Key: r.Key, Old: old, New: v}
}

// kept returns what the snapshot is to show of a ledger that has become unreadable: the last version that could be read,
// cordoned. Were it taken for absent, its tasks would be taken for gone and started elsewhere while they run (I3), some
// under a claim of the same ID (I4). It returns nil where there is nothing to change: no version was ever seen, or the record
// is another one, of which the last version stays as it is.
func (w *writing) kept(k cellstate.Key) cellstate.Value {
	if k.Kind != cellstate.KindLedger {
		return nil
	}
	slot, there := w.slotOf[k.Name]
	if !there {
		return nil
	}
	l := w.slots.at(slot).Ledger.Clone()
	l.Cordoned = true
	return l.Sum()
}

// quarantine notes that a record became bad (err is set) or is no longer so, and reports whether it was not bad before.
func (w *writing) quarantine(r *cellstate.Record, err error) (fresh bool) {
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

// row puts or, where v is nil, deletes a record that is no ledger, and returns what was there.
func (w *writing) row(r *cellstate.Record, v cellstate.Value) cellstate.Value {
	old := rowOf(w.now.tables, r.Key)
	switch {
	case v != nil:
		must(w.tables.Insert(r.Key.Kind.String(), &row{key: r.Key, rev: r.Rev, value: v}))
	case old != nil:
		must(w.tables.Delete(r.Key.Kind.String(), old))
	}
	if old == nil {
		return nil
	}
	return old.value
}

// view brings the view of the machine that a record describes up to date, if there is such a machine.
func (w *writing) view(k cellstate.Key, v cellstate.Value) {
	if k.Kind != cellstate.KindMachine && k.Kind != cellstate.KindSession && k.Kind != cellstate.KindReport {
		return
	}
	slot, ok := w.slotOf[k.Name]
	if !ok {
		return
	}
	m := *w.slots.at(slot)
	switch k.Kind {
	case cellstate.KindMachine:
		m.Machine, _ = v.(*cellstate.Machine)
	case cellstate.KindReport:
		m.Report, _ = v.(*cellstate.Report)
	case cellstate.KindSession:
		m.Session, _ = v.(*cellstate.Session)
		switch {
		case m.Session != nil:
			m.LostAt = 0
		case m.LostAt == 0:
			m.LostAt = w.instant
		}
	}
	w.slots.set(slot, &m)
}

// ledger puts or, where v is nil, deletes a ledger, and with it the machine's view; it returns the ledger before.
func (w *writing) ledger(machine string, v cellstate.Value) cellstate.Value {
	l, _ := v.(*cellstate.Ledger)
	slot, there := w.slotOf[machine]
	if !there {
		if l != nil {
			w.appear(machine, l)
		}
		return nil
	}
	m := *w.slots.at(slot)
	old := m.Ledger
	w.placements(slot, old, l)
	if l == nil {
		must(w.tables.Delete(tableSlot, &place{machine: machine, slot: slot}))
		w.slots.set(slot, nil)
		delete(w.slotOf, machine)
		w.free = append(w.free, slot)
		return old
	}
	m.Ledger = l
	w.slots.set(slot, &m)
	return old
}

// appear gives a machine its slot: the one freed last, or a new one.
func (w *writing) appear(machine string, l *cellstate.Ledger) {
	slot := w.slots.n
	if n := len(w.free); n > 0 {
		slot, w.free = w.free[n-1], w.free[:n-1]
	}
	m := &cellstate.MachineView{
		Slot:    slot,
		Ledger:  l,
		Machine: valueOf[*cellstate.Machine](rowOf(w.now.tables, cellstate.MachineKey(machine))),
		Session: valueOf[*cellstate.Session](rowOf(w.now.tables, cellstate.SessionKey(machine))),
		Report:  valueOf[*cellstate.Report](rowOf(w.now.tables, cellstate.ReportKey(machine))),
	}
	if m.Session == nil {
		m.LostAt = w.instant
	}
	w.slotOf[machine] = slot
	w.slots.set(slot, m)
	must(w.tables.Insert(tableSlot, &place{machine: machine, slot: slot}))
	w.placements(slot, nil, l)
}

// placements brings the index of claims by job from one ledger of a machine to the next. Claims are sorted by job, so the
// jobs that came and went are seen in one walk over both.
func (w *writing) placements(slot int, old, l *cellstate.Ledger) {
	var a, b []cellstate.Claim
	if old != nil {
		a = old.Claims
	}
	if l != nil {
		b = l.Claims
	}
	for len(a) > 0 || len(b) > 0 {
		order := 0 // which job comes next: a's (-1), b's (1) or the same in both
		switch {
		case len(a) == 0:
			order = 1
		case len(b) == 0:
			order = -1
		default:
			order = compareJobs(&a[0].ID, &b[0].ID)
		}
		if order < 0 {
			must(w.tables.Delete(tablePlacement, placementOf(&a[0].ID, old.Machine, slot)))
		}
		if order > 0 {
			must(w.tables.Insert(tablePlacement, placementOf(&b[0].ID, l.Machine, slot)))
		}
		if order <= 0 {
			a = afterJob(a)
		}
		if order >= 0 {
			b = afterJob(b)
		}
	}
}

func compareJobs(a, b *cellstate.ClaimID) int {
	if a.Scheduler == b.Scheduler && a.Job == b.Job {
		return 0
	}
	return cellstate.ClaimID{Scheduler: a.Scheduler, Job: a.Job}.Compare(cellstate.ClaimID{Scheduler: b.Scheduler, Job: b.Job})
}

func placementOf(id *cellstate.ClaimID, machine string, slot int) *placement {
	return &placement{scheduler: id.Scheduler, job: id.Job, machine: machine, slot: slot}
}

// afterJob returns the claims after those of the first one's job.
func afterJob(c []cellstate.Claim) []cellstate.Claim {
	i := 1
	for i < len(c) && compareJobs(&c[0].ID, &c[i].ID) == 0 {
		i++
	}
	return c[i:]
}

// difference returns the batch that leads from the present snapshot to a listing: what was written since, and what is gone.
func (im *image) difference(l cellstate.Listing) cellstate.Batch {
	b := cellstate.Batch{Rev: l.Rev}
	listed := make(map[cellstate.Key]bool, len(l.Records))
	badListed := make(map[string]bool)
	for _, r := range l.Records {
		if r.Key.Kind == 0 {
			badListed[r.Raw] = true
		}
		listed[r.Key] = true
		if !im.has(&r) {
			b.Events = append(b.Events, cellstate.Event{Record: r})
		}
	}
	for k := range im.now.keys() {
		if !listed[k] {
			b.Events = append(b.Events, cellstate.Event{Record: cellstate.Record{Key: k, Rev: l.Rev}, Deleted: true})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(im.now.bad)) {
		q := im.now.bad[name]
		if q.Key.Kind == 0 && !badListed[q.Raw] || q.Key.Kind != 0 && !listed[q.Key] && !im.shows(q.Key) {
			b.Events = append(b.Events, cellstate.Event{Record: cellstate.Record{Key: q.Key, Rev: l.Rev, Raw: q.Raw}, Deleted: true})
		}
	}
	return b
}

// shows reports whether the image shows any version of a record: of a bad one, the last that could be read.
func (im *image) shows(k cellstate.Key) bool {
	v, _ := im.now.record(k)
	return v != nil
}

// has reports whether the image shows this version of a record already.
func (im *image) has(r *cellstate.Record) bool {
	if q, bad := im.now.bad[badName(r)]; bad {
		return q.Rev == r.Rev
	}
	if r.Key.Kind == 0 {
		return false
	}
	v, rev := im.now.record(r.Key)
	return v != nil && rev == r.Rev
}
