package agent

import (
	"fmt"
	"hash/fnv"
	"time"

	"github.com/omegacell/omegacell/cellstate"
)

// Hold is what the agent has of one claim: what it reports of it, and what is needed to decide what comes next.
type Hold struct {
	Status cellstate.ClaimStatus // as reported
	Order  *Order                // nil until the job was read

	Busy    bool              // a Start is under way in the driver
	Asked   bool              // the job is being read, or the driver is to forget it: no second call meanwhile
	Kept    bool              // the driver has something of it, to be forgotten
	Stopped bool              // Stop was called: it will not be started again
	Restop  bool              // the call of Stop failed: to be repeated
	Last    *TaskState        // the incarnation that ended last, until it is followed by another one or is the final one
	Failed  string            // why there can be no order; "" otherwise
	RetryAt cellstate.Instant // no further call for it before; set after a call failed
}

// live reports whether a process of the claim takes up room, or may by now.
func (h *Hold) live() bool {
	return h.Busy || h.Status.Phase == cellstate.PhaseRunning || h.Status.Phase == cellstate.PhaseStopping
}

// Order is how one claim is to be carried out: what the agent keeps, also on disk, from the moment it starts the task, since
// claim and job may be gone from the cell, or out of reach, before the task has ended.
type Order struct {
	ID         cellstate.ClaimID
	JobVersion uint64
	Tasks      uint32 // of the job
	Spec       cellstate.TaskSpec
	StopAfter  time.Duration // DisconnectPolicy.StopAfter of the job
	Resources  cellstate.Resources
	GPUs       []cellstate.GPUShare
}

// NewOrder makes the order for a claim of a job, with every default filled in.
func NewOrder(c *cellstate.Claim, j *cellstate.Job) *Order {
	o := &Order{
		ID: c.ID, JobVersion: c.JobVersion, Tasks: j.Tasks, Spec: j.Task, StopAfter: j.Disconnect.StopAfter,
		Resources: c.Resources, GPUs: c.GPUs,
	}
	s := &o.Spec
	s.Resources = c.Resources
	setDefault(&s.StopSignal, "SIGTERM")
	setDefault(&s.StopGrace, 10*time.Second)
	setDefault(&s.Restart.When, cellstate.RestartNever)
	setDefault(&s.Restart.BackoffMin, time.Second)
	setDefault(&s.Restart.BackoffMax, time.Minute)
	setDefault(&s.Logs.MaxBytes, 10<<20)
	setDefault(&s.Logs.Files, 2)
	if s.Health != nil {
		h := *s.Health
		setDefault(&h.Interval, 5*time.Second)
		setDefault(&h.Timeout, 2*time.Second)
		setDefault(&h.Failures, 3)
		s.Health = &h
	}
	return o
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// again reports whether a task that ended as t says is started again under its policy, and when.
func (o *Order) again(t *TaskState) (cellstate.Instant, bool) {
	p := o.Spec.Restart
	if p.Max > 0 && t.Restart >= p.Max {
		return 0, false
	}
	failed := t.Outcome == cellstate.OutcomeSignaled || t.Outcome == cellstate.OutcomeOOM ||
		t.Outcome == cellstate.OutcomeExited && t.ExitCode != 0
	switch {
	case t.Outcome == cellstate.OutcomeStopped || t.Outcome == cellstate.OutcomeFailed:
		return 0, false
	case p.When == cellstate.RestartAlways, p.When == cellstate.RestartOnFailure && failed:
		return t.EndedAt.Add(o.backoff(t)), true
	}
	return 0, false
}

// backoff is the wait before the restart that follows t: BackoffMin × 2ⁿ after the n-th restart, at most BackoffMax, of which
// a half to the whole, by a hash of claim and number, so that the tasks of a job do not come back in step and the answer is
// the same each time. One that ran for BackoffMax or longer waits as if it were the first.
func (o *Order) backoff(t *TaskState) time.Duration {
	p := o.Spec.Restart
	d := p.BackoffMin
	if t.EndedAt.Sub(t.StartedAt) < p.BackoffMax {
		for n := uint32(0); n < t.Restart && d < p.BackoffMax; n++ {
			d *= 2
		}
	}
	d = min(d, p.BackoffMax)
	h := fnv.New32a()
	fmt.Fprintf(h, "%s %d", o.ID, t.Restart)
	return d/2 + time.Duration(float64(d)/2*float64(h.Sum32())/(1<<32))
}

// final makes h's status the final one, as t says.
func (h *Hold) final(t *TaskState) {
	s := &h.Status
	why := s.Message // why it was stopped
	s.Phase, s.Health, s.PID = cellstate.PhaseEnded, cellstate.HealthUnknown, 0
	s.Restarts = t.Restart
	s.StartedAt, s.EndedAt = t.StartedAt, t.EndedAt
	s.Outcome, s.ExitCode, s.Signal, s.Message = t.Outcome, t.ExitCode, t.Signal, clip(t.Message)
	if t.Outcome == cellstate.OutcomeStopped && why != "" {
		s.Message = why
	}
}

// maxMessage bounds a status's message in bytes, so that a report of all claims stays far below what one record may hold.
const maxMessage = 256

func clip(s string) string {
	if len(s) <= maxMessage {
		return s
	}
	cut := maxMessage - len("…")
	for cut > 0 && s[cut]&0xC0 == 0x80 { // not inside a rune
		cut--
	}
	return s[:cut] + "…"
}
