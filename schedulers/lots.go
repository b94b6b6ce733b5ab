package schedulers

import (
	"cmp"
	"container/heap"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/omegacell/omegacell/cellstate"
)

// lot is the parked jobs that wait for the same: where one of them finds no room, none does. So only the first of them is
// planned when room appears, and whenever one found all it wanted, the next; and what was explained to one holds for the others.
type lot struct {
	name  string
	claim cellstate.Claim // a task of any of them
	jobs  line            // the first submitted first
	room  uint64          // agenda.room when something last happened that may help them
	why   *cellstate.Explanation
	asOf  cellstate.Instant // when why was found out
}

// line is jobs as a heap.
type line []*jobState

func (l line) Len() int { return len(l) }
func (l line) Less(i, k int) bool {
	return cmp.Or(cmp.Compare(l[i].submitted, l[k].submitted), strings.Compare(l[i].name, l[k].name)) < 0
}
func (l line) Swap(i, k int) { l[i], l[k] = l[k], l[i]; l[i].place, l[k].place = i, k }
func (l *line) Push(x any)   { x.(*jobState).place = len(*l); *l = append(*l, x.(*jobState)) }
func (l *line) Pop() any {
	last := (*l)[len(*l)-1]
	(*l)[len(*l)-1] = nil
	*l = (*l)[:len(*l)-1]
	return last
}

// stillTrue is how long one explanation serves for all of a lot, should an event have been missed.
const stillTrue = 10 * time.Second

// need is what a parked job waits for: room for one of its tasks somewhere.
type need struct {
	claim cellstate.Claim
	lot   string            // names its lot
	since cellstate.Instant // when the job was submitted
}

func needOf(job *Job, lot string) *need {
	n := &need{lot: lot, since: job.SubmittedAt, claim: cellstate.Claim{
		ID:        cellstate.ClaimID{Scheduler: job.Scheduler, Job: job.Name, Run: job.Run},
		Resources: job.Task.Resources,
		Start:     job.Now,
	}}
	if job.Task.MaxRunTime > 0 {
		n.claim.End = job.Now.Add(job.Task.MaxRunTime)
	}
	return n
}

// lotOf names the lot of a job: all that decides whether one more of its tasks has a place. Where it depends on the job's other
// tasks too, the job is a lot by itself.
func lotOf(j *cellstate.Job) string {
	if j.GangMin > 0 || slices.ContainsFunc(j.Spread, func(s cellstate.Spread) bool { return s.MaxSkew > 0 }) {
		return j.Name
	}
	return fmt.Sprintf("%d %#v %d %#v %#v", j.Precedence, j.Task.Resources, j.Task.MaxRunTime, j.Constraints, j.Affinities)
}

// lotFor returns the lot that a need is for. a.mu is held.
func (a *agenda) lotFor(n *need) *lot {
	l := a.lots[n.lot]
	if l == nil {
		l = &lot{name: n.lot, room: a.room} // whether anything that helps happened before nobody asked
		a.lots[n.lot] = l
	}
	l.claim = n.claim
	return l
}

// park takes a job that nothing helps at present. a.mu is held.
func (a *agenda) park(st *jobState, o *outcome, now cellstate.Instant) {
	l := a.lotFor(o.need)
	st.lot, st.submitted = l, o.need.since
	heap.Push(&l.jobs, st)
	a.parked++
	if l.room > st.room {
		// What helps appeared after the snapshot that the job was planned on, and before it was parked, and woke others at most.
		o.due = min(o.due, now.Add(a.retry))
	}
}

// explained notes why a planner that looked found no room for a job: it holds for all of the job's lot.
func (a *agenda) explained(st *jobState, n *need, why *cellstate.Explanation, now cellstate.Instant) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if l := a.lotFor(n); l.room <= st.room {
		l.why, l.asOf = why, now
	}
}

// unparked takes a job out of its lot, if it is in one. a.mu is held.
func (a *agenda) unparked(st *jobState) {
	if st.lot == nil {
		return
	}
	heap.Remove(&st.lot.jobs, st.place)
	if st.lot.jobs.Len() == 0 {
		delete(a.lots, st.lot.name)
	}
	st.lot = nil
	a.parked--
}

// unpark makes the first of each lot due of which a task might fit on one of the machines now. It asks only about room; whether
// the constraints hold too, the planner finds out.
func (a *agenda) unpark(machines []*cellstate.MachineView) {
	if len(machines) == 0 {
		return
	}
	a.help(func(l *lot) bool {
		return slices.ContainsFunc(machines, func(m *cellstate.MachineView) bool {
			return m.Session != nil && m.Ledger.Fit(&l.claim, a.limits) == (cellstate.Shortage{})
		})
	})
}

// unparkAll makes the first of every lot due: something changed that could help any of them.
func (a *agenda) unparkAll() { a.help(func(*lot) bool { return true }) }

func (a *agenda) help(helps func(*lot) bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.room++
	var helped []*lot
	for name, l := range a.lots {
		switch {
		case !helps(l):
		case l.jobs.Len() > 0:
			helped = append(helped, l)
		default:
			delete(a.lots, name) // all of them are being planned
		}
	}
	slices.SortFunc(helped, func(x, y *lot) int { return strings.Compare(x.name, y.name) })
	for _, l := range helped {
		l.room, l.why = a.room, nil
		a.tryFirst(l)
	}
}

// tryFirst makes the first of a lot due. a.mu is held.
func (a *agenda) tryFirst(l *lot) {
	st := l.jobs[0]
	a.raise(st.name)
	st.tries = l.name
	a.kick()
}

// placed notes that a job found all the room it wanted. If it was the first of a lot, the next one is to try.
func (a *agenda) placed(st *jobState) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.passOn(st)
}

// passOn lets the next of the lot try that the job was the first of. a.mu is held.
func (a *agenda) passOn(st *jobState) {
	if st.tries == "" {
		return
	}
	l := a.lots[st.tries]
	st.tries = ""
	if l != nil && l.why == nil && l.jobs.Len() > 0 {
		a.tryFirst(l)
	}
}

// hopeless returns what was explained to a job of the same lot a short while ago, if nothing has happened since that helps; else nil.
func (a *agenda) hopeless(st *jobState, j *cellstate.Job, now cellstate.Instant) *cellstate.Explanation {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.lots) == 0 {
		return nil
	}
	name := st.lotName(j)
	if name == j.Name { // alone in it, and planned because something changed
		return nil
	}
	if l := a.lots[name]; l != nil && l.why != nil && now < l.asOf.Add(stillTrue) {
		return l.why
	}
	return nil
}

// lotName is lotOf, found out once for each version of the job's record.
func (st *jobState) lotName(j *cellstate.Job) string {
	if st.lotKey == "" || st.lotRev != j.Rev {
		st.lotKey, st.lotRev = lotOf(j), j.Rev
	}
	return st.lotKey
}
