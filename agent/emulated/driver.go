package emulated

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/omegacell/omegacell/agent"
	"github.com/omegacell/omegacell/cellstate"
)

// Driver runs the emulated tasks of one host. It is an [agent.Driver].
type Driver struct {
	clock  *Clock
	host   *host
	events chan agent.TaskState
	closed chan struct{}

	// Guarded by clock.mu.
	pending    []agent.TaskState // ends not yet taken from events
	delivering bool              // there is a goroutine for that
}

var _ agent.Driver = (*Driver)(nil)

// New returns a driver of the named host. If the host has one already, that one gets no more events, as if its agent had
// been killed.
func New(c *Clock, name string) *Driver {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.hosts[name]
	if h == nil {
		h = &host{tasks: make(map[cellstate.ClaimID]*task)}
		c.hosts[name] = h
	}
	if h.driver != nil {
		h.driver.detach()
	}
	h.driver = &Driver{clock: c, host: h, events: make(chan agent.TaskState), closed: make(chan struct{})}
	return h.driver
}

// Name returns "emulated".
func (d *Driver) Name() string { return "emulated" }

// Recover returns the host's tasks, by ID.
func (d *Driver) Recover(context.Context) ([]agent.TaskState, error) {
	d.clock.mu.Lock()
	defer d.clock.mu.Unlock()
	out := make([]agent.TaskState, 0, len(d.host.tasks))
	for _, t := range d.host.tasks {
		out = append(out, t.state)
	}
	slices.SortFunc(out, func(a, b agent.TaskState) int { return a.ID.Compare(b.ID) })
	return out, nil
}

// Start puts a task on the agenda.
func (d *Driver) Start(_ context.Context, t agent.Task) (agent.TaskState, error) {
	p, err := planOf(&t)
	if err != nil {
		return agent.TaskState{}, fmt.Errorf("start task %s: %w", t.ID, err)
	}
	d.clock.mu.Lock()
	defer d.clock.mu.Unlock()
	if old := d.host.tasks[t.ID]; old != nil && old.state.Phase != cellstate.PhaseEnded {
		return agent.TaskState{}, fmt.Errorf("start task %s: it runs already: %w", t.ID, cellstate.ErrInvalid)
	}
	now := time.Now()
	n := &task{host: d.host, plan: p, index: -1, state: agent.TaskState{
		ID: t.ID, Restart: t.Restart, Phase: cellstate.PhaseRunning, StartedAt: cellstate.InstantOf(now),
	}}
	d.host.tasks[t.ID] = n
	if p.ends {
		d.clock.schedule(n, now.Add(p.runtime))
	}
	return n.state, nil
}

// Stop ends the task as soon as it would stop by itself, or its grace is over.
func (d *Driver) Stop(_ context.Context, id cellstate.ClaimID) error {
	d.clock.mu.Lock()
	defer d.clock.mu.Unlock()
	t := d.host.tasks[id]
	if t == nil || t.state.Phase != cellstate.PhaseRunning {
		return nil
	}
	t.state.Phase = cellstate.PhaseStopping
	at := time.Now().Add(min(t.plan.stop, t.plan.grace))
	if t.index >= 0 && t.at.Before(at) {
		return nil // it ends by itself before that
	}
	t.killed = t.plan.stop > t.plan.grace
	d.clock.schedule(t, at)
	return nil
}

// Forget drops a task that has ended.
func (d *Driver) Forget(_ context.Context, id cellstate.ClaimID) error {
	d.clock.mu.Lock()
	defer d.clock.mu.Unlock()
	if t := d.host.tasks[id]; t != nil && t.state.Phase != cellstate.PhaseEnded {
		return fmt.Errorf("forget task %s: it has not ended: %w", id, cellstate.ErrInvalid)
	}
	delete(d.host.tasks, id)
	return nil
}

// Events carries every end that Recover did not return.
func (d *Driver) Events() <-chan agent.TaskState { return d.events }

// Close lets the host's tasks go on without a driver.
func (d *Driver) Close() error {
	d.clock.mu.Lock()
	defer d.clock.mu.Unlock()
	d.detach()
	return nil
}

// detach ends the driver's events. clock.mu is held.
func (d *Driver) detach() {
	if d.host.driver == d {
		d.host.driver = nil
		close(d.closed)
	}
}

// report queues an end. A goroutine exists only while somebody has still to take one. clock.mu is held.
func (d *Driver) report(s agent.TaskState) {
	d.pending = append(d.pending, s)
	if !d.delivering {
		d.delivering = true
		go d.deliver()
	}
}

func (d *Driver) deliver() {
	for {
		d.clock.mu.Lock()
		if len(d.pending) == 0 {
			d.delivering = false
			d.clock.mu.Unlock()
			return
		}
		s := d.pending[0]
		d.pending = d.pending[1:]
		d.clock.mu.Unlock()
		select {
		case d.events <- s:
		case <-d.closed:
			return
		}
	}
}

// plan is how a task will behave.
type plan struct {
	runtime time.Duration // where ends
	ends    bool
	exit    int32
	stop    time.Duration // it needs to stop
	grace   time.Duration // it is given
}

func planOf(t *agent.Task) (plan, error) {
	p := plan{grace: t.Spec.StopGrace}
	bad := func(what, v string) (plan, error) {
		return plan{}, fmt.Errorf("emulated %s %q: %w", what, v, cellstate.ErrInvalid)
	}
	var err error
	if v, ok := t.Env["OMEGACELL_EMULATED_RUNTIME"]; ok {
		if p.runtime, err = time.ParseDuration(v); err != nil || p.runtime < 0 {
			return bad("run time", v)
		}
		p.ends = true
	} else if c := t.Spec.Command; len(c) == 2 && c[0] == "sleep" && c[1] != "infinity" {
		seconds, err := strconv.ParseFloat(c[1], 64)
		if err != nil || !(seconds >= 0 && seconds <= maxSleep) {
			return bad("sleep", c[1])
		}
		p.runtime, p.ends = time.Duration(seconds*float64(time.Second)), true
	}
	if v, ok := t.Env["OMEGACELL_EMULATED_EXIT"]; ok {
		code, err := strconv.ParseUint(v, 10, 8)
		if err != nil {
			return bad("exit code", v)
		}
		p.exit = int32(code)
	}
	if v, ok := t.Env["OMEGACELL_EMULATED_STOP"]; ok {
		if p.stop, err = time.ParseDuration(v); err != nil || p.stop < 0 {
			return bad("stopping time", v)
		}
	}
	return p, nil
}

// maxSleep is the longest sleep in seconds that a time.Duration holds, rounded down.
const maxSleep = 9e9
