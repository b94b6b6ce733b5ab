package schedulers

import (
	"slices"
	"sync"

	"github.com/omegacell/omegacell/cellstate"
)

// flights knows what the loop has in flight: claims that were sent to the store and that the mirror does not show yet. It
// hands planners snapshots that show them, so that two jobs of one loop never want the same room.
//
// Only room that is taken is drawn in, never room that becomes free: what an eviction or a removal in flight gives is there
// when the mirror shows it.
type flights struct {
	rule   cellstate.Rule
	limits cellstate.Limits

	mu      sync.Mutex
	base    cellstate.Snapshot // the newest that was observed
	covers  covers
	waiting map[string]*waiting // by machine
	landing []*flight           // answered, and not shown as a whole yet
}

// flight is the claims of one plan on their way.
type flight struct {
	claims []cellstate.Claim
	left   int   // how many of them still wait somewhere
	rev    int64 // once answered: when this is shown, nothing of the flight is left
}

// waiting is the claims in flight to one machine.
type waiting struct {
	slot int // whose cover is ours; -1: none
	due  []arrival
	one  [1]arrival // holds due where it is one
}

type arrival struct {
	flight *flight
	claim  *cellstate.Claim
}

func newFlights(rule cellstate.Rule, lim cellstate.Limits) *flights {
	return &flights{rule: rule, limits: lim, waiting: make(map[string]*waiting)}
}

// view returns the newest snapshot, and over it what is in flight.
func (f *flights) view() cellstate.Snapshot {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.covers.count == 0 {
		return f.base
	}
	return &overlaid{Snapshot: f.base, spine: f.covers.share()}
}

// repairing returns the newest view, in which the claims a plan keeps count as claims of its job. Each has to fit there.
func (f *flights) repairing(job *cellstate.Job, kept []cellstate.Claim) cellstate.Snapshot {
	f.mu.Lock()
	defer f.mu.Unlock()
	o := &overlaid{
		Snapshot: f.base, spine: f.covers.share(), kept: make(map[int]*cellstate.MachineView),
		owner: cellstate.ClaimID{Scheduler: job.Scheduler, Job: job.Name},
	}
	for i := range kept {
		m, ok := o.Machine(kept[i].Machine)
		if !ok {
			continue
		}
		with := *m
		with.Ledger = m.Ledger.With(kept[i])
		o.kept[m.Slot] = &with
	}
	for i := range kept {
		if m, ok := o.Machine(kept[i].Machine); ok {
			o.own = append(o.own, cellstate.ClaimView{Claim: &kept[i], Machine: m})
		}
	}
	return o
}

// stale asks the fit rule on the newest view about those claims of a plan whose machine has changed since the view that it
// was made on, and returns the indices of those that do not fit any more. A plan that evicts is left to the store to judge: it
// is the eviction that makes the room. f.mu is held.
func (f *flights) stale(planned cellstate.Snapshot, p *Plan) (lost []int) {
	if slices.ContainsFunc(p.Evict, makesRoom) || f.current(planned) {
		return nil
	}
	var changed map[string]*cellstate.Ledger
	for i := range p.Add {
		c := &p.Add[i]
		now := changed[c.Machine]
		if now == nil {
			was, _ := planned.Machine(c.Machine)
			m := f.machine(c.Machine)
			if m == nil {
				lost = append(lost, i)
				continue
			}
			if was != nil && was.Ledger == m.Ledger {
				continue
			}
			if changed == nil {
				changed = make(map[string]*cellstate.Ledger)
			}
			now = m.Ledger
		}
		if now.Find(c.ID) != nil || now.Fit(c, f.limits) != (cellstate.Shortage{}) {
			changed[c.Machine] = now
			lost = append(lost, i)
			continue
		}
		changed[c.Machine] = now.With(*c)
	}
	return lost
}

// stored returns the snapshot below a view: what the store held at its revision.
func stored(view cellstate.Snapshot) cellstate.Snapshot {
	if o, ok := view.(*overlaid); ok {
		return o.Snapshot
	}
	return view
}

// current reports whether a view shows what the newest one would.
func (f *flights) current(planned cellstate.Snapshot) bool {
	if o, ok := planned.(*overlaid); ok {
		return o.Snapshot == f.base && o.kept == nil && len(o.spine) > 0 && len(o.spine) == len(f.covers.spine) && &o.spine[0] == &f.covers.spine[0]
	}
	return planned == f.base && f.covers.count == 0
}

// machine returns the newest view of a machine, or nil. f.mu is held.
func (f *flights) machine(name string) *cellstate.MachineView {
	m, ok := f.base.Machine(name)
	if !ok {
		return nil
	}
	if c := coverAt(f.covers.spine, m.Slot); c != nil {
		return c.view()
	}
	return m
}

// send notes that the claims of a plan, made on a view, are being sent, unless some of them do not fit any more: then it does
// nothing and returns their indices. With force it asks nothing.
func (f *flights) send(planned cellstate.Snapshot, p *Plan, force bool) (*flight, []int) {
	if len(p.Add) == 0 {
		return nil, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !force {
		if lost := f.stale(planned, p); len(lost) > 0 {
			return nil, lost
		}
	}
	fl := &flight{claims: slices.Clone(p.Add), left: len(p.Add)}
	for i := range fl.claims {
		c := &fl.claims[i]
		w := f.waiting[c.Machine]
		if w == nil {
			w = &waiting{slot: -1}
			w.due = w.one[:0]
			f.waiting[c.Machine] = w
		}
		w.due = append(w.due, arrival{fl, c})
		f.cover(c.Machine, w)
	}
	return fl, nil
}

// cover brings the cover of a machine up to date.
func (f *flights) cover(name string, w *waiting) {
	m, ok := f.base.Machine(name)
	if !ok || len(w.due) == 0 || w.slot >= 0 && w.slot != m.Slot {
		f.uncover(w)
	}
	if !ok || len(w.due) == 0 {
		return
	}
	c := &cover{machine: m, closed: f.rule == cellstate.SeqRule, limits: f.limits}
	c.due = c.one[:0]
	for _, a := range w.due {
		if m.Ledger.Find(a.claim.ID) == nil {
			c.due = append(c.due, a.claim)
		}
	}
	w.slot = m.Slot
	f.covers.set(w.slot, c)
}

func (f *flights) uncover(w *waiting) {
	if w.slot >= 0 {
		f.covers.set(w.slot, nil)
		w.slot = -1
	}
}

// landed notes the answer to a flight, nil for none: what was refused takes no room any more, what was committed does so in
// flight until rev is shown. It returns the machines that have room again.
func (f *flights) landed(fl *flight, rev int64, refused []cellstate.Conflict) (roomier []*cellstate.MachineView) {
	if fl == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	fl.rev = rev
	switch {
	case f.base.Rev() >= rev:
		return f.drop(fl, nil)
	case len(refused) > 0:
		ids := make(map[cellstate.ClaimID]bool, len(refused))
		for i := range refused {
			ids[refused[i].ID] = true
		}
		roomier = f.drop(fl, ids)
	}
	if fl.left > 0 {
		f.landing = append(f.landing, fl)
	}
	return roomier
}

// drop takes the claims of a flight out of those that wait: these, or all. It returns the machines that are shown with more
// room now.
func (f *flights) drop(fl *flight, ids map[cellstate.ClaimID]bool) (roomier []*cellstate.MachineView) {
	for i := range fl.claims {
		c := &fl.claims[i]
		w := f.waiting[c.Machine]
		if w == nil || ids != nil && !ids[c.ID] {
			continue
		}
		at := slices.IndexFunc(w.due, func(a arrival) bool { return a.claim == c })
		if at < 0 {
			continue
		}
		w.due = slices.Delete(w.due, at, at+1)
		fl.left--
		f.cover(c.Machine, w)
		if m := f.machine(c.Machine); m != nil && (f.rule == cellstate.SeqRule || m.Ledger.Find(c.ID) == nil) {
			roomier = append(roomier, m)
		}
		if len(w.due) == 0 {
			delete(f.waiting, c.Machine)
		}
	}
	return roomier
}

// observe takes the next snapshot as the base. What it shows is in flight no more.
func (f *flights) observe(snap cellstate.Snapshot, changes []cellstate.Change) (roomier []*cellstate.MachineView) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.base = snap
	if len(f.waiting) == 0 {
		return nil
	}
	for i := range changes {
		switch k := changes[i].Key; k.Kind {
		case cellstate.KindLedger, cellstate.KindReport, cellstate.KindSession, cellstate.KindMachine:
			if w := f.waiting[k.Name]; w != nil && f.arrive(k.Name, w) && f.rule == cellstate.SeqRule {
				roomier = append(roomier, f.machine(k.Name)) // it was shown as cordoned
			}
		}
	}
	keep := f.landing[:0]
	for _, fl := range f.landing {
		switch {
		case fl.left == 0:
		case fl.rev <= snap.Rev():
			roomier = append(roomier, f.drop(fl, nil)...)
		default:
			keep = append(keep, fl)
		}
	}
	clear(f.landing[len(keep):])
	f.landing = keep
	return roomier
}

// arrive forgets the claims in flight to a machine that stand in its ledger now, and reports whether there are no more.
func (f *flights) arrive(name string, w *waiting) bool {
	if l, ok := f.base.Ledger(name); ok {
		w.due = slices.DeleteFunc(w.due, func(a arrival) bool {
			there := l.Find(a.claim.ID) != nil
			if there {
				a.flight.left--
			}
			return there
		})
	}
	f.cover(name, w)
	if len(w.due) > 0 {
		return false
	}
	delete(f.waiting, name)
	return true
}

// size counts the claims in flight.
func (f *flights) size() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range f.waiting {
		n += len(w.due)
	}
	return n
}
