package schedulers

import (
	"fmt"
	"time"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/schedulers/place"
)

// The wait before a failed task is tried again doubles from retryMin to retryMax with each of its failures.
const (
	retryMin = time.Second
	retryMax = 5 * time.Minute
)

// RunToCompletion is all of a plan but the choice of machines, for jobs whose tasks run until they exit with 0: it
// acknowledges ends, counts failures against the job's Retries, gives tasks that were evicted, drained away or lost another
// attempt, stops what has to stop, and ends the job. What is left to a planner are the tasks that need a machine now.
func RunToCompletion(snap cellstate.Snapshot, job Job) (Plan, []place.Slot) {
	c := completion{job: job, tasks: job.Claims(snap), history: NewHistory(job.Status)}
	c.acknowledge()
	var todo []place.Slot
	gaveUp := c.gaveUp()
	switch {
	case job.Stopped:
		c.finish(cellstate.JobStopped, "stopped")
	case gaveUp != "":
		c.finish(cellstate.JobFailed, gaveUp)
	case c.history.DoneCount(job.Tasks) >= job.Tasks:
		c.finish(cellstate.JobSucceeded, "")
	default:
		c.drain()
		todo = c.todo()
	}
	c.plan.LookAgain(c.tasks.LostNext)
	c.plan.Status = c.history.JobStatus
	return c.plan, todo
}

// completion is one call of RunToCompletion.
type completion struct {
	job     Job
	tasks   Tasks
	history *History
	plan    Plan
}

// acknowledge writes down how claims ended and removes them.
func (p *completion) acknowledge() {
	for _, c := range p.tasks.Ended {
		p.plan.Remove = append(p.plan.Remove, Ref(c))
		switch {
		case p.history.Recorded(c.Claim.ID):
		case c.Status != nil && c.Status.Succeeded():
			p.history.SetDone(c.Claim.ID.Task)
		default:
			t := p.history.Again(c, Failed(c), p.job.Now, retryMin, retryMax)
			if t.Failures > p.job.Retries {
				t.GaveUp = true
				p.history.SetTask(t)
			}
		}
	}
	for _, c := range p.tasks.Lost {
		p.plan.Remove = append(p.plan.Remove, Ref(c))
		if !p.history.Recorded(c.Claim.ID) {
			p.history.Again(c, false, p.job.Now, 0, 0)
		}
	}
	for _, c := range p.tasks.Extra {
		p.plan.Stop(c, p.job.Now, "a later attempt runs")
	}
}

// gaveUp says why the job has failed, or "".
func (p *completion) gaveUp() string {
	for _, t := range p.history.Tasks {
		if !t.GaveUp || t.Task >= p.job.Tasks {
			continue
		}
		how := t.Last.Outcome.String()
		if t.Last.Outcome == cellstate.OutcomeExited {
			how = fmt.Sprintf("exited with %d", t.Last.ExitCode)
		}
		msg := fmt.Sprintf("task %d failed %d times, last: %s", t.Task, t.Failures, how)
		if t.Last.Message != "" {
			msg += ": " + t.Last.Message
		}
		return msg
	}
	return ""
}

// finish ends what still runs; the job is final once nothing does.
func (p *completion) finish(phase cellstate.JobPhase, why string) {
	p.history.Message, p.history.Placed, p.history.Running = why, 0, 0
	for _, c := range p.tasks.Live {
		p.plan.Stop(c, p.job.Now, "job "+phase.String())
		p.history.count(c)
	}
	if len(p.tasks.Live)+len(p.tasks.Extra) == 0 {
		p.history.Phase = phase
	}
}

// drain lets tasks on a machine that is being emptied run until the drain's deadline; those that are not done by then are
// tried again elsewhere. Tasks that a job made smaller has no more end at once.
func (p *completion) drain() {
	for _, c := range p.tasks.Live {
		switch {
		case c.Claim.ID.Task >= p.job.Tasks:
			p.plan.Stop(c, p.job.Now, fmt.Sprintf("the job has %d tasks now", p.job.Tasks))
		case c.Machine.Ledger.Drain != nil:
			p.plan.Stop(c, c.Machine.Ledger.Drain.Deadline, "drain of "+c.Machine.Name())
		}
	}
}

// todo lists the tasks that need a machine now, and fills in what the status says of the others.
func (p *completion) todo() []place.Slot {
	var todo []place.Slot
	h := p.history
	h.Message, h.Placed, h.Running = "", 0, 0
	for _, c := range p.tasks.Live {
		if c.Claim.ID.Task < p.job.Tasks {
			h.Phase = cellstate.JobRunning
			h.count(c)
		}
	}
	for task := range p.tasks.Without(p.job.Tasks, h.Done) {
		t := h.Task(task)
		if t.NotBefore > p.job.Now {
			p.plan.LookAgain(t.NotBefore)
			continue
		}
		todo = append(todo, place.Slot{Task: task, Attempt: t.Attempt})
	}
	return todo
}
