package schedulers

import (
	"slices"
	"sync"
	"time"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/schedulers/queue"
)

// agenda says which job is planned next, and remembers what is known of each between its plans. A job is in one of four
// states: waiting in the queue, due now or later; busy, in a worker's hands; parked, which also has it in the queue for
// later; or at rest, until something about it changes.
type agenda struct {
	limits cellstate.Limits
	retry  time.Duration // a job that may have missed room is planned again after this
	wake   chan struct{} // holds one when there may be something to take

	mu     sync.Mutex
	queue  queue.FIFO
	jobs   map[string]*jobState
	parked map[string]struct{}
	room   uint64   // counts the times that room appeared somewhere
	seen   int64    // newest revision observed
	fading []string // jobs at rest whose state is kept until their writes have been observed
}

// jobState is what the loop remembers of one job between plans. What matters after a restart is in the
// job's status.
type jobState struct {
	// The agenda's, guarded by its mutex.
	queued     bool  // it is in the queue
	busy       bool  // a worker has it
	again      bool  // something changed meanwhile
	need       *need // what it waits for while it is parked
	precedence cellstate.Precedence

	// The worker's that has the job; else guarded by the mutex too.
	room      uint64 // agenda.room when the job was taken
	plans     uint64
	minRev    int64          // plan on no older snapshot: it would not show what was written for this job
	conflicts int            // commits with conflicts in a row
	failures  int            // writes in a row that failed, or whose guards did
	unknown   *cellstate.Txn // sent, and nobody knows whether it was done: nothing else before that is settled
	refused   string         // why the last plan could not be carried out at all
	behind    bool           // minRev may be too low: what the last commit did is not known
}

// outcome is what becomes of a job after it was planned. The zero outcome puts it to rest.
type outcome struct {
	again bool              // it is due again
	due   cellstate.Instant // when; 0: at once
	need  *need             // it is parked: due earlier if this appears
}

func newAgenda(cfg *Config) *agenda {
	return &agenda{
		limits: cfg.Limits, retry: cfg.BackoffMax, wake: make(chan struct{}, 1),
		jobs: make(map[string]*jobState), parked: make(map[string]struct{}),
	}
}

// take hands out the first job that is due, or says how long until there may be one.
func (a *agenda) take(now cellstate.Instant) (name string, st *jobState, wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	name, ok := a.queue.Pop(now)
	if ok {
		delete(a.parked, name)
		st = a.state(name)
		st.queued, st.busy, st.need, st.room = false, true, nil, a.room
		return name, st, 0
	}
	if due, ok := a.queue.Next(); ok {
		return "", nil, max(time.Millisecond, due.Sub(now))
	}
	return "", nil, time.Hour
}

// done takes a job back.
func (a *agenda) done(name string, st *jobState, o outcome, now cellstate.Instant) {
	a.mu.Lock()
	defer a.mu.Unlock()
	st.busy = false
	switch {
	case st.again:
		st.again = false
		a.push(name, st, 0)
	case o.need != nil:
		st.need = o.need
		a.parked[name] = struct{}{}
		// Room that appeared after the snapshot that the job was planned on, and before it was parked, woke nobody.
		if a.room != st.room {
			o.due = min(o.due, now.Add(a.retry))
		}
		a.push(name, st, o.due)
	case o.again:
		a.push(name, st, o.due)
	default:
		a.fading = append(a.fading, name)
		a.fade()
	}
	a.kick()
}

// due makes a job due at once; one that is being planned is planned again after that.
func (a *agenda) due(name string, p cellstate.Precedence) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.state(name).precedence = p
	a.raise(name)
	a.kick()
}

// raise makes a job due at once. a.mu is held.
func (a *agenda) raise(name string) {
	st := a.state(name)
	delete(a.parked, name)
	st.need = nil
	if st.busy {
		st.again = true
	} else {
		a.push(name, st, 0)
	}
}

// push puts a job into the queue. a.mu is held.
func (a *agenda) push(name string, st *jobState, due cellstate.Instant) {
	st.queued = true
	a.queue.Push(name, st.precedence, due)
}

// unpark makes those parked jobs due of which a task might fit on one of the machines now. It asks only about room; whether
// the constraints hold too, the planner finds out.
func (a *agenda) unpark(machines []*cellstate.MachineView) {
	if len(machines) == 0 {
		return
	}
	a.raiseParked(func(n *need) bool {
		return slices.ContainsFunc(machines, func(m *cellstate.MachineView) bool {
			return m.Session != nil && m.Ledger.Fit(&n.claim, a.limits) == (cellstate.Shortage{})
		})
	})
}

// unparkAll makes all parked jobs due: something changed that could help any of them.
func (a *agenda) unparkAll() { a.raiseParked(func(*need) bool { return true }) }

func (a *agenda) raiseParked(helps func(*need) bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.room++
	var names []string
	for name := range a.parked {
		if helps(a.jobs[name].need) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		a.raise(name)
	}
	if len(names) > 0 {
		a.kick()
	}
}

// observed notes the newest revision that any snapshot from now on shows.
func (a *agenda) observed(rev int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen = rev
	a.fade()
}

// fade drops the state of jobs at rest whose writes every further snapshot shows. a.mu is held.
func (a *agenda) fade() {
	for len(a.fading) > 0 {
		name := a.fading[0]
		st := a.jobs[name]
		atRest := st != nil && !st.busy && !st.queued
		if atRest && st.minRev > a.seen {
			return
		}
		a.fading = a.fading[1:]
		if atRest && st.unknown == nil && !st.behind {
			delete(a.jobs, name)
		}
	}
}

// state returns the job's state, a new one if there is none. a.mu is held.
func (a *agenda) state(name string) *jobState {
	st := a.jobs[name]
	if st == nil {
		st = &jobState{}
		a.jobs[name] = st
	}
	return st
}

// kick makes whoever waits for a job look again.
func (a *agenda) kick() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// size counts the jobs in the queue, due or not, and of those the parked ones.
func (a *agenda) size() (queued, parked int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.queue.Len(), len(a.parked)
}
