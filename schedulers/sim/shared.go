package sim

import (
	"slices"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/schedulers/place"
)

// shared is schedulers that see the whole cell and commit optimistically. A monolithic scheduler is one that is alone, and
// looks at the cell when it has decided.
type shared struct {
	w        *world
	cell     *cell
	attempts []attempt // by scheduler
	alone    bool
	// askAlways asks the commit rule about every claim; see commit.
	askAlways bool
}

// attempt is what a scheduler makes of the job it decides about.
type attempt struct {
	planner *planner
	chosen  []cellstate.Claim // not committed yet
	todo    []place.Slot      // tasks to choose machines for
	rounds  int               // of revalidation so far
	wasted  clock             // time for what was lost before the commit
	since   int64             // the revision of the scheduler's last commit: it sees everything up to there at once
}

func newShared(w *world) *shared {
	r := &shared{w: w, cell: newCell(&w.cfg, len(w.schedulers)), attempts: make([]attempt, len(w.schedulers))}
	r.alone = w.cfg.Architecture != SharedState
	for i, s := range w.schedulers {
		r.attempts[i].planner = newPlanner(&w.cfg, s, r.cell)
	}
	return r
}

func (r *shared) wake(s *scheduler) {
	j := r.w.take(s)
	r.begin(s, j, nil, r.think(s, j, j.left))
}

// think is how long s has to think about n tasks of j.
func (r *shared) think(s *scheduler, j *job, n int) clock {
	t := r.w.think(s, j)
	if j.attempts > 0 && r.w.cfg.Repair.Losers {
		t.Job = 0
	}
	return t.over(n)
}

// begin starts an attempt at what is left of the job, with these claims chosen already, that takes d.
func (r *shared) begin(s *scheduler, j *job, chosen []cellstate.Claim, d clock) {
	a := &r.attempts[s.id]
	a.chosen, a.rounds, a.wasted = chosen, 0, 0
	a.todo = a.todo[:0]
	settled := make(map[uint32]bool, len(chosen))
	for i := range chosen {
		settled[chosen[i].ID.Task] = true
	}
	for i := range uint32(j.left) {
		if !settled[i] {
			a.todo = append(a.todo, place.Slot{Task: i})
		}
	}
	r.look(s, r.newest(a))
	r.w.ponder(s, d)
}

// newest returns the newest revision that the scheduler can see.
func (r *shared) newest(a *attempt) int64 { return max(r.cell.seen(r.w.now), a.since) }

// look makes a revision what the scheduler decides on.
func (r *shared) look(s *scheduler, rev int64) {
	r.cell.pin(s.id, rev)
	r.attempts[s.id].planner.snap.rev = rev
}

func (r *shared) decide(s *scheduler) {
	w, j, a := r.w, s.job, &r.attempts[s.id]
	if r.alone {
		r.look(s, r.cell.rev)
	}
	r.choose(j, a)
	if lost := r.revalidate(s, a); lost > 0 {
		think := Think{Task: r.w.think(s, j).Task}.over(lost)
		a.wasted += think
		w.count(s, j, func(t *tally) { t.Revalidated += lost })
		w.ponder(s, think)
		return
	}
	j.attempts++
	var kept []cellstate.Claim
	refused := 0
	sent := len(a.chosen)
	if sent > 0 {
		kept, refused = r.commit(s, j, a)
	}
	r.cell.pin(s.id, none)
	w.tried(s, j, sent, refused, a.wasted)
	switch {
	case j.left == 0:
	case w.givenUp(s, j):
	case refused == 0: // there was no room for the rest
		w.agenda.add(w.now+clockOf(w.cfg.Pause), requeue, j.id)
	default:
		s.began, s.took = w.now, 0
		if !w.cfg.Repair.Losers {
			kept = nil
		}
		r.begin(s, j, kept, r.think(s, j, j.left-len(kept)))
		return
	}
	w.rest(s)
}

// choose decides on machines for what is to do, beside what is chosen already.
func (r *shared) choose(j *job, a *attempt) {
	p := a.planner
	p.snap.planned = nil
	for _, c := range a.chosen {
		m, _ := p.snap.Machine(c.Machine)
		p.snap.plan(c, m)
	}
	all := r.w.cfg.Mode == cellstate.AllOrNothing
	got := p.choose(j, a.todo, all, r.w.now)
	if all && len(got) < len(a.todo) {
		a.chosen = nil
	} else if len(a.chosen) == 0 {
		a.chosen = got
	} else {
		a.chosen = append(a.chosen, got...)
	}
	a.todo = a.todo[:0]
	p.snap.planned = nil
}

// revalidate compares what is chosen with the newest snapshot, which becomes the one decided on, and takes out the claims that
// no longer fit: those are to do again. It returns how many they are.
func (r *shared) revalidate(s *scheduler, a *attempt) int {
	now := r.newest(a)
	if a.rounds >= r.w.cfg.Repair.Revalidate || now == a.planner.snap.rev {
		return 0
	}
	t := cellstate.Txn{Scheduler: s.name, Mode: cellstate.Incremental, Rule: cellstate.FitRule, Add: r.changed(a, now)}
	r.look(s, now)
	if len(t.Add) == 0 {
		return 0
	}
	d := r.cell.ask(now, &t)
	if len(d.Conflicts) == 0 {
		return 0
	}
	a.rounds++
	lost := make(map[uint32]bool, len(d.Conflicts))
	for _, c := range d.Conflicts {
		lost[c.ID.Task] = true
		a.todo = append(a.todo, place.Slot{Task: c.ID.Task})
	}
	a.chosen = slices.DeleteFunc(a.chosen, func(c cellstate.Claim) bool { return lost[c.ID.Task] })
	return len(lost)
}

// commit sends what is chosen. It returns how many claims were refused for themselves, and those that were refused only
// because of them: a gang's others.
//
// The commit rule is asked where a machine changed since it was decided on. Elsewhere it can only say yes: the planner put
// those claims together, by the same fit rule, on the very ledgers that stand.
func (r *shared) commit(s *scheduler, j *job, a *attempt) (kept []cellstate.Claim, refused int) {
	w := r.w
	t := cellstate.Txn{
		Scheduler: s.name, Mode: w.cfg.Mode, Rule: w.cfg.Rule, Basis: &a.planner.snap, BasisRev: a.planner.snap.rev,
	}
	if r.alone {
		t.Rule = cellstate.FitRule
	}
	sure := a.chosen
	if r.askAlways {
		t.Add, sure = a.chosen, nil
	} else if t.Add = r.changed(a, r.cell.rev); len(t.Add) > 0 {
		if t.Mode == cellstate.AllOrNothing {
			t.Add, sure = a.chosen, nil
		} else {
			sure = slices.DeleteFunc(a.chosen, func(c cellstate.Claim) bool { return r.cell.ledger(c.Machine).Rev > t.BasisRev })
		}
	}
	d := cellstate.Decision{}
	if len(t.Add) > 0 {
		d = r.cell.ask(r.cell.rev, &t)
	}
	a.planner.learn(len(sure)+len(t.Add), len(d.Conflicts))
	if len(d.Conflicts) > 0 && t.Mode == cellstate.AllOrNothing {
		kept = abandoned(t.Add, d.Conflicts)
	}
	r.cell.begin()
	w.started(s, j, len(sure)+len(d.Committed), func(e *ending) {
		e.tasks = r.cell.apply(d.Ledgers, e.tasks)
		for i := range sure {
			m, _ := r.cell.slotOf(sure[i].Machine)
			e.tasks = append(e.tasks, r.cell.add(m, &sure[i]))
		}
	})
	r.cell.seal(w.now)
	a.since = r.cell.rev
	return kept, len(d.Conflicts) - len(kept)
}

// changed returns what is chosen on machines that changed from the revision decided on until a newer one.
func (r *shared) changed(a *attempt, until int64) []cellstate.Claim {
	var out []cellstate.Claim
	for i := range a.chosen {
		m, _ := r.cell.slotOf(a.chosen[i].Machine)
		if (*r.cell.at(m, until)).ledger.Rev > a.planner.snap.rev {
			out = append(out, a.chosen[i])
		}
	}
	return out
}

// abandoned returns the claims of a gang that were refused only because of others.
func abandoned(gang []cellstate.Claim, conflicts []cellstate.Conflict) []cellstate.Claim {
	own := make(map[uint32]bool, len(conflicts)) // tasks that were refused for themselves
	for _, c := range conflicts {
		if c.Reason != cellstate.ReasonAbandoned {
			own[c.ID.Task] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(gang), func(c cellstate.Claim) bool { return own[c.ID.Task] })
}

func (r *shared) free(e *ending) {
	r.cell.begin()
	r.cell.free(e)
	r.cell.seal(r.w.now)
}

func (r *shared) offer() {}

func (r *shared) fill(i int, demand *cellstate.Resources) (task, bool) { return r.cell.fill(i, demand) }
