package service

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/schedulers"
	"github.com/omegacell/omegacell/schedulers/place"
)

// The wait before a task that ended is started again doubles from backoffMin to backoffMax with each failure in a row.
const (
	backoffMin = time.Second
	backoffMax = time.Minute
)

// Planner plans services. The zero value is ready.
type Planner struct{}

// Plan is the decision about one service; see the package comment.
func (Planner) Plan(snap cellstate.Snapshot, job schedulers.Job, rng *rand.Rand) schedulers.Plan {
	p := planning{snap: snap, job: job, tasks: job.Claims(snap), history: schedulers.NewHistory(job.Status), update: updatePolicy(job.Update)}
	p.acknowledge()
	if job.Stopped {
		p.stopAll()
	} else {
		p.scaleDown()
		p.rollout()
		p.place(rng)
	}
	p.plan.LookAgain(p.tasks.LostNext)
	p.plan.Status = p.history.JobStatus
	return p.plan
}

// updatePolicy fills in the defaults that cellstate.UpdatePolicy states.
func updatePolicy(u cellstate.UpdatePolicy) cellstate.UpdatePolicy {
	if u.MaxParallel == 0 {
		u.MaxParallel = 1
	}
	if u.HealthyFor == 0 {
		u.HealthyFor = 5 * time.Second
	}
	if u.HealthTimeout == 0 {
		u.HealthTimeout = 5 * time.Minute
	}
	return u
}

// planning is one call of Plan.
type planning struct {
	snap    cellstate.Snapshot
	job     schedulers.Job
	tasks   schedulers.Tasks
	history *schedulers.History
	update  cellstate.UpdatePolicy
	plan    schedulers.Plan
}

// acknowledge writes down that claims ended, whatever the way, and removes them: a service's task is always started again.
func (p *planning) acknowledge() {
	for _, c := range p.tasks.Ended {
		p.plan.Remove = append(p.plan.Remove, schedulers.Ref(c))
		if p.history.Recorded(c.Claim.ID) {
			continue
		}
		// What an older version did says nothing about this one.
		failed := c.Claim.JobVersion == p.job.Version && c.Claim.Evict == nil && c.Status != nil &&
			c.Status.Outcome != cellstate.OutcomeLost && c.Status.Outcome != cellstate.OutcomeStopped
		if failed && c.Status.EndedAt.Sub(c.Status.StartedAt) >= backoffMax {
			p.forgive(c.Claim.ID.Task) // it ran well for long: its earlier failures count no more
		}
		p.history.Again(c, failed, p.job.Now, backoffMin, backoffMax)
	}
	for _, c := range p.tasks.Lost {
		p.plan.Remove = append(p.plan.Remove, schedulers.Ref(c))
		if !p.history.Recorded(c.Claim.ID) {
			p.history.Again(c, false, p.job.Now, 0, 0)
		}
	}
	for _, c := range p.tasks.Extra {
		p.plan.Stop(c, p.job.Now, "a later attempt runs")
	}
}

func (p *planning) forgive(task uint32) {
	t := p.history.Task(task)
	t.Failures = 0
	p.history.SetTask(t)
}

// forgiveAll lets tasks that wait because an older version failed be tried at once.
func (p *planning) forgiveAll() {
	for i := range p.history.Tasks {
		p.history.Tasks[i].Failures, p.history.Tasks[i].NotBefore = 0, 0
	}
}

func (p *planning) stopAll() {
	p.history.Message, p.history.Placed, p.history.Running = "stopped", 0, 0
	for _, c := range p.tasks.Live {
		p.plan.Stop(c, p.job.Now, "job stopped")
		p.count(c)
	}
	if len(p.tasks.Live)+len(p.tasks.Extra) == 0 {
		p.history.Phase = cellstate.JobStopped
	}
}

// count counts a live claim.
func (p *planning) count(c cellstate.ClaimView) {
	p.history.Placed++
	if schedulers.Running(c) {
		p.history.Running++
	}
}

func (p *planning) scaleDown() {
	for _, c := range p.tasks.Live {
		if c.Claim.ID.Task >= p.job.Tasks {
			p.plan.Stop(c, p.job.Now, fmt.Sprintf("the job has %d tasks now", p.job.Tasks))
		}
	}
}

// rollout stops tasks of an older version, and tasks on machines that are being emptied, as many as may be down at a time.
func (p *planning) rollout() {
	if r := p.history.Rollout; r == nil || r.Version != p.job.Version {
		p.history.Rollout = &cellstate.Rollout{Version: p.job.Version, Phase: cellstate.RolloutRunning}
		p.forgiveAll()
	}
	old, proven, halted := p.survey()
	r := p.history.Rollout
	switch {
	case r.Phase != cellstate.RolloutRunning:
	case halted != "":
		r = &cellstate.Rollout{Version: p.job.Version, Phase: cellstate.RolloutHalted, Message: halted}
	case proven >= p.job.Tasks:
		r = &cellstate.Rollout{Version: p.job.Version, Phase: cellstate.RolloutDone}
	}
	p.history.Rollout = r
	p.replace(old, proven)
}

// survey sorts out the tasks: the claims that have to be replaced, how many tasks of this version have been healthy for long
// enough, and why the update has to halt, or "".
func (p *planning) survey() (old []cellstate.ClaimView, proven uint32, halted string) {
	for _, t := range p.history.Tasks {
		if t.Task < p.job.Tasks && waited(t.Failures) >= p.update.HealthTimeout {
			halted = fmt.Sprintf("task %d failed %d times in a row", t.Task, t.Failures)
		}
	}
	for _, c := range p.tasks.Live {
		switch {
		case c.Claim.ID.Task >= p.job.Tasks:
		case schedulers.Going(c):
		case c.Claim.JobVersion != p.job.Version, c.Machine.Ledger.Drain != nil:
			old = append(old, c)
		default:
			ok, late := p.proven(c)
			if ok {
				proven++
			}
			if late {
				halted = fmt.Sprintf("task %d was not healthy within %s of its start", c.Claim.ID.Task, p.update.HealthTimeout)
			}
		}
	}
	return old, proven, halted
}

// waited is how long a task waited altogether between so many failures in a row.
func waited(failures uint32) (d time.Duration) {
	for n := range min(failures, 1000) {
		d += min(backoffMax, backoffMin<<min(n, 16))
	}
	return d
}

// replace stops old tasks. One that is not even running costs nothing to replace; those go first. Every other one takes a
// running task down, and so only as many go as may be down together.
func (p *planning) replace(old []cellstate.ClaimView, proven uint32) {
	slices.SortStableFunc(old, func(a, b cellstate.ClaimView) int { return rank(a) - rank(b) })
	up := proven
	for _, c := range old {
		up += uint32(rank(c))
	}
	for _, c := range old {
		drain := c.Machine.Ledger.Drain != nil
		if p.history.Rollout.Phase == cellstate.RolloutHalted && !drain {
			continue
		}
		if schedulers.Running(c) {
			if p.job.Tasks > up && p.job.Tasks-up >= p.update.MaxParallel {
				break
			}
			up--
		}
		why := fmt.Sprintf("update to version %d", p.job.Version)
		if drain {
			why = "drain of " + c.Machine.Name()
		}
		p.plan.Stop(c, p.job.Now, why)
	}
}

func rank(c cellstate.ClaimView) int {
	if schedulers.Running(c) {
		return 1
	}
	return 0
}

// proven reports whether a task has run, healthy, for long enough to count on it; or whether it is late to become so. It is
// late by when it was placed: one that its agent starts again and again is not new each time.
func (p *planning) proven(c cellstate.ClaimView) (ok, late bool) {
	healthy := schedulers.Running(c) && (p.job.Task.Health == nil || c.Status.Health == cellstate.Healthy)
	due := c.Claim.Start.Add(p.update.HealthTimeout)
	if healthy {
		due = max(c.Claim.Start, c.Status.StartedAt).Add(p.update.HealthyFor)
	}
	if due > p.job.Now {
		p.plan.LookAgain(due)
		return false, false
	}
	return healthy, !healthy
}

// place looks for machines for the tasks that have none.
func (p *planning) place(rng *rand.Rand) {
	p.history.Message = ""
	req := place.Request{Job: spreadByDefault(p.job.Job), Start: p.job.Now, Width: p.job.Width, Limits: p.job.Limits}
	p.history.Placed, p.history.Running, p.history.Phase = 0, 0, cellstate.JobPending
	for _, c := range p.tasks.Live {
		if c.Claim.ID.Task < p.job.Tasks {
			p.history.Phase = cellstate.JobRunning
			p.count(c)
		}
	}
	for task := range p.tasks.Without(p.job.Tasks, nil) {
		t := p.history.Task(task)
		if t.NotBefore > p.job.Now {
			p.plan.LookAgain(t.NotBefore)
			continue
		}
		req.Tasks = append(req.Tasks, place.Slot{Task: task, Attempt: t.Attempt})
	}
	if len(req.Tasks) == 0 {
		return
	}
	if p.job.Hopeless != nil {
		p.plan.Explanation = p.job.Explain(len(req.Tasks))
		return
	}
	r := place.Place(p.snap, req, rng)
	p.plan.Add, p.plan.Explanation = r.Claims, r.Explanation
	if len(r.Claims) > 0 {
		p.history.Phase = cellstate.JobRunning
	}
}

// spreadByDefault makes a service that asks for no spread prefer different machines for its tasks.
func spreadByDefault(j *cellstate.Job) *cellstate.Job {
	if len(j.Spread) > 0 {
		return j
	}
	n := *j
	n.Spread = []cellstate.Spread{{Attribute: "name", Weight: 50}}
	return &n
}
