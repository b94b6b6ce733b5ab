package emulated

import (
	"container/heap"
	"sync"
	"time"

	"github.com/omegacell/omegacell/agent"
	"github.com/omegacell/omegacell/cellstate"
)

// Clock ends the tasks of any number of hosts when their time has come.
type Clock struct {
	wake chan struct{}
	quit chan struct{}
	done chan struct{}

	mu     sync.Mutex // guards all hosts and tasks too
	agenda agenda
	hosts  map[string]*host
}

// host is one emulated host. It outlives its drivers.
type host struct {
	tasks  map[cellstate.ClaimID]*task
	driver *Driver // the one that reports its events; nil while no agent runs
}

// task is one emulated task.
type task struct {
	host   *host
	state  agent.TaskState
	plan   plan
	killed bool      // it will end by its grace, not by itself
	at     time.Time // of its end, where it is on the agenda
	index  int       // on the agenda, −1 where it is not
}

// NewClock starts a clock. Close ends it.
func NewClock() *Clock {
	c := &Clock{
		wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}), hosts: make(map[string]*host),
	}
	go c.run()
	return c
}

// Close ends the clock: no task ends any more. It is called once.
func (c *Clock) Close() {
	close(c.quit)
	<-c.done
}

func (c *Clock) run() {
	defer close(c.done)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(c.fire(time.Now()))
		select {
		case <-timer.C:
		case <-c.wake:
		case <-c.quit:
			return
		}
	}
}

// fire ends what is due and returns how long it is to the next.
func (c *Clock) fire(now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.agenda) > 0 {
		t := c.agenda[0]
		if wait := t.at.Sub(now); wait > 0 {
			return wait
		}
		heap.Pop(&c.agenda)
		t.end()
	}
	return time.Hour
}

// schedule puts a task on the agenda, or elsewhere on it. c.mu is held.
func (c *Clock) schedule(t *task, at time.Time) {
	t.at = at
	if t.index < 0 {
		heap.Push(&c.agenda, t)
	} else {
		heap.Fix(&c.agenda, t.index)
	}
	if t.index == 0 {
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
}

// end records the task's end at the time it was planned for, and reports it. The clock's mu is held.
func (t *task) end() {
	s := &t.state
	switch {
	case s.Phase != cellstate.PhaseStopping:
		s.Outcome, s.ExitCode = cellstate.OutcomeExited, t.plan.exit
	case t.killed:
		s.Outcome, s.Signal = cellstate.OutcomeStopped, 9
		s.Message = "killed " + t.plan.grace.String() + " after the stop signal"
	default:
		s.Outcome, s.ExitCode = cellstate.OutcomeStopped, t.plan.exit
	}
	s.Phase, s.EndedAt = cellstate.PhaseEnded, cellstate.InstantOf(t.at)
	if d := t.host.driver; d != nil {
		d.report(t.state)
	}
}

// agenda is a heap of tasks by their next event.
type agenda []*task

func (a agenda) Len() int           { return len(a) }
func (a agenda) Less(i, j int) bool { return a[i].at.Before(a[j].at) }
func (a agenda) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].index, a[j].index = i, j
}

func (a *agenda) Push(x any) {
	t := x.(*task)
	t.index = len(*a)
	*a = append(*a, t)
}

func (a *agenda) Pop() any {
	old := *a
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*a = old[:len(old)-1]
	t.index = -1
	return t
}
