package sim

import (
	"slices"

	"github.com/omegacell/omegacell/cellstate"
)

// offers is two-level scheduling in the manner of Mesos (Hindman et al., NSDI 2011; Omega, §3.3): an allocator offers all that
// is free to one framework at a time, which holds it, so that nobody else has it, until it has decided about one job. It sees
// no more of the cell than that. Next is the framework with the lowest dominant share (Ghodsi et al., NSDI 2011) among those
// that have jobs; what is held counts. A job not fully placed goes to the end of its framework's queue, and waits for
// another offer there.
type offers struct {
	w          *world
	cell       *cell
	frameworks []framework           // by scheduler
	pool       []cellstate.Resources // by machine: what is free and not offered
	left       cellstate.Resources   // the sum of pool
	total      cellstate.Resources   // of the cell
	making     bool                  // an offer is on its way
}

// framework is a scheduler as the allocator sees it.
type framework struct {
	planner *planner
	asks    bool                  // it has a job to decide about, and no offer
	offer   []cellstate.Resources // by machine
	holds   cellstate.Resources   // the sum of offer
	runs    cellstate.Resources   // what its tasks use
}

func newOffers(w *world) *offers {
	n := len(w.cfg.Machines)
	o := &offers{w: w, cell: newCell(&w.cfg, len(w.schedulers)), frameworks: make([]framework, len(w.schedulers))}
	o.pool = slices.Clone(w.cfg.Machines)
	for i := range o.pool {
		o.total = o.total.Add(o.pool[i])
	}
	o.left = o.total
	for i, s := range w.schedulers {
		f := &o.frameworks[i]
		f.offer = make([]cellstate.Resources, n)
		f.planner = newPlanner(&w.cfg, s, o.cell)
		f.planner.snap.only = f.offer
	}
	return o
}

func (o *offers) wake(s *scheduler) {
	o.frameworks[s.id].asks = true
	o.prepare()
}

// prepare begins the next offer, if somebody waits for one and there is something to offer.
func (o *offers) prepare() {
	if !o.making && (o.left.CPUMilli > 0 || o.left.MemBytes > 0) && o.next() >= 0 {
		o.making = true
		o.w.agenda.add(o.w.now+clockOf(o.w.cfg.Offer), offered, 0)
	}
}

// next returns the framework that is to have the next offer, or -1.
func (o *offers) next() int {
	best := -1
	for i := range o.frameworks {
		if o.frameworks[i].asks && (best < 0 || o.dominant(i) < o.dominant(best)) {
			best = i
		}
	}
	return best
}

// dominant is a framework's share of the resource of which it has the largest share.
func (o *offers) dominant(i int) float64 {
	f := &o.frameworks[i]
	return max(share(float64(f.runs.CPUMilli+f.holds.CPUMilli), float64(o.total.CPUMilli)),
		share(float64(f.runs.MemBytes+f.holds.MemBytes), float64(o.total.MemBytes)))
}

func (o *offers) offer() {
	o.making = false
	i := o.next() // somebody: who asks does so until there is an offer
	f, s := &o.frameworks[i], o.w.schedulers[i]
	f.offer, o.pool = o.pool, f.offer
	f.holds, o.left = o.left, cellstate.Resources{}
	f.planner.snap.only = f.offer
	f.asks = false
	j := o.w.take(s)
	o.w.count(s, j, func(t *tally) { t.Offers++ })
	o.w.ponder(s, o.w.think(s, j).over(j.left))
	o.prepare()
}

func (o *offers) decide(s *scheduler) {
	w, j, f := o.w, s.job, &o.frameworks[s.id]
	j.attempts++
	all := w.cfg.Mode == cellstate.AllOrNothing
	f.planner.snap.rev = o.cell.rev
	chosen := f.planner.choose(j, slots(j.left), all, w.now)
	f.planner.snap.planned = nil
	d := cellstate.Decision{}
	if len(chosen) > 0 {
		d = o.cell.ask(o.cell.rev, &cellstate.Txn{Scheduler: s.name, Mode: w.cfg.Mode, Rule: cellstate.FitRule, Add: chosen})
	}
	o.cell.begin()
	w.started(s, j, len(d.Committed), func(e *ending) {
		e.tasks = o.cell.apply(d.Ledgers, e.tasks)
		for _, t := range e.tasks {
			f.offer[t.machine] = f.offer[t.machine].Sub(j.Demand)
		}
		used := j.Demand.Times(int64(len(e.tasks)))
		f.runs, f.holds = f.runs.Add(used), f.holds.Sub(used)
	})
	o.handBack(f)
	w.tried(s, j, len(d.Committed), 0, 0)
	if j.left > 0 && !w.givenUp(s, j) {
		w.enqueue(j)
	}
	w.rest(s)
	o.prepare()
}

// handBack returns to the pool what is left of an offer.
func (o *offers) handBack(f *framework) {
	for i := range f.offer {
		o.pool[i] = o.pool[i].Add(f.offer[i])
	}
	o.left = o.left.Add(f.holds)
	f.holds = cellstate.Resources{}
	clear(f.offer)
}

func (o *offers) free(e *ending) {
	o.cell.begin()
	o.cell.free(e)
	for _, t := range e.tasks {
		o.pool[t.machine] = o.pool[t.machine].Add(e.demand)
	}
	held := e.demand.Times(int64(len(e.tasks)))
	o.left = o.left.Add(held)
	if e.owner >= 0 {
		f := &o.frameworks[e.owner]
		f.runs = f.runs.Sub(held)
	}
	o.prepare()
}

func (o *offers) fill(i int, demand *cellstate.Resources) (task, bool) {
	t, ok := o.cell.fill(i, demand)
	if ok {
		o.pool[i], o.left = o.pool[i].Sub(*demand), o.left.Sub(*demand)
	}
	return t, ok
}
