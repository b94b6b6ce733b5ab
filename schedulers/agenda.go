package schedulers

import (
	"container/heap"
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
	lots   map[string]*lot   // the parked jobs, by what they wait for
	parked int               // how many they are
	room   uint64            // counts the times that room appeared somewhere
	seen   int64             // newest revision observed
	now    cellstate.Instant // the latest that anybody told
	early  []string          // jobs that were due before their own writes were seen: a heap, lowest minRev first
	fading []string          // jobs at rest whose state is kept until their writes have been observed
}

// jobState is what the loop remembers of one job between plans. What matters after a restart is in the
// job's status.
type jobState struct {
	name string

	// The agenda's, guarded by its mutex.
	queued     bool // it is in the queue, or early
	early      bool // it waits until minRev is seen
	busy       bool // a worker has it
	again      bool // something changed meanwhile
	lot        *lot // that it is parked in; nil: it is not
	place      int  // in the lot
	submitted  cellstate.Instant
	tries      string // the lot that it is the first of, as room appeared that might do
	precedence cellstate.Precedence

	// The worker's that has the job; else guarded by the mutex too.
	flight    *flight           // its claims on the way
	since     time.Time         // when it became early; zero: it did not
	notBefore cellstate.Instant // due no sooner: it was planned just now, and that took long
	room      uint64            // agenda.room when the job was taken
	plans     uint64
	minRev    int64  // plan on no older snapshot: it would not show what was written for this job
	lotKey    string // see lotName
	lotRev    int64
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
		jobs: make(map[string]*jobState), lots: make(map[string]*lot),
	}
}

// take hands out the first job that is due, or says how long until there may be one. A job whose own writes have not been seen
// waits for that instead: it would be planned on what was before them.
func (a *agenda) take(now cellstate.Instant) (name string, st *jobState, wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.now = now
	for {
		name, ok := a.queue.Pop(now)
		if !ok {
			break
		}
		st = a.state(name)
		a.unparked(st)
		if st.minRev > a.seen {
			a.hold(name, st)
			continue
		}
		st.queued, st.busy, st.room = false, true, a.room
		if _, more := a.queue.Next(); more {
			a.kick() // another worker may go on, or is to wait for it
		}
		return name, st, 0
	}
	if due, ok := a.queue.Next(); ok {
		return "", nil, max(time.Millisecond, due.Sub(now))
	}
	return "", nil, time.Hour
}

// hold keeps a job that is due until its writes are seen. a.mu is held.
func (a *agenda) hold(name string, st *jobState) {
	if st.early {
		return
	}
	st.early, st.since = true, time.Now()
	heap.Push((*byRev)(a), name)
}

// byRev is the agenda's early jobs as a heap.
type byRev agenda

func (a *byRev) Len() int           { return len(a.early) }
func (a *byRev) Less(i, k int) bool { return a.jobs[a.early[i]].minRev < a.jobs[a.early[k]].minRev }
func (a *byRev) Swap(i, k int)      { a.early[i], a.early[k] = a.early[k], a.early[i] }
func (a *byRev) Push(name any)      { a.early = append(a.early, name.(string)) }
func (a *byRev) Pop() any {
	last := a.early[len(a.early)-1]
	a.early = a.early[:len(a.early)-1]
	return last
}

// done takes a job back, and returns what size does.
func (a *agenda) done(name string, st *jobState, o outcome, now cellstate.Instant) (queued, parked int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.now = now
	st.busy = false
	switch {
	case st.again:
		st.again = false
		a.push(name, st, st.notBefore)
	case o.need != nil:
		a.passOn(st)
		a.park(st, &o, now)
		a.push(name, st, o.due)
	case o.again:
		a.push(name, st, o.due)
	default:
		a.passOn(st)
		a.fading = append(a.fading, name)
		a.fade()
	}
	if st.queued {
		a.kick()
	}
	return a.queue.Len(), a.parked
}

// due makes a job due at once; one that is being planned is planned again after that.
func (a *agenda) due(name string, p cellstate.Precedence) { a.dueAll([]dueJob{{name, p}}) }

// dueJob is a job to be planned.
type dueJob struct {
	name       string
	precedence cellstate.Precedence
}

// dueAll makes jobs due.
func (a *agenda) dueAll(jobs []dueJob) {
	if len(jobs) == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, j := range jobs {
		a.state(j.name).precedence = j.precedence
		a.raise(j.name)
	}
	a.kick()
}

// raise makes a job due at once, or as soon as it may be. a.mu is held.
func (a *agenda) raise(name string) {
	st := a.state(name)
	a.unparked(st)
	if st.busy {
		st.again = true
	} else {
		a.push(name, st, st.notBefore)
	}
}

// push puts a job into the queue. a.mu is held.
func (a *agenda) push(name string, st *jobState, due cellstate.Instant) {
	st.queued = true
	a.queue.Push(name, st.precedence, due)
}

// observed notes the newest revision that any snapshot from now on shows.
func (a *agenda) observed(rev int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen = rev
	a.fade()
	for len(a.early) > 0 && a.jobs[a.early[0]].minRev <= rev {
		name := heap.Pop((*byRev)(a)).(string)
		st := a.jobs[name]
		st.early = false
		a.push(name, st, 0)
		a.kick()
	}
}

// fade drops the state of jobs at rest that may be planned at any time: every further snapshot shows their writes. a.mu is held.
func (a *agenda) fade() {
	for len(a.fading) > 0 {
		name := a.fading[0]
		st := a.jobs[name]
		atRest := st != nil && !st.busy && !st.queued
		if atRest && (st.minRev > a.seen || st.notBefore > a.now) {
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
		st = &jobState{name: name}
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
	return a.queue.Len(), a.parked
}
