package audit

import (
	"maps"
	"slices"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cmd/internal/history"
)

// reported compares what an agent reports with what it did before. Either may be nil.
func (c *Checker) reported(machine string, old, now *cellstate.Report) {
	c.touched.machines[machine] = true
	if old == nil || now == nil {
		return
	}
	if now.Epoch < old.Epoch {
		c.violation("I5", reportKey(machine), "epoch %d after %d: a message of an earlier agent was let in", now.Epoch, old.Epoch)
	}
	status := byID(now)
	for i := range old.Claims {
		was := &old.Claims[i]
		is := status[was.ID]
		switch {
		case is == nil:
			c.forgotten(machine, was)
		case was.Phase == cellstate.PhaseEnded && *is != *was:
			c.violation("I5", reportKey(machine), "claim %s had ended (%s) and is now %s (%s)", was.ID, history.Ending(was), is.Phase, history.Ending(is))
		case is.Phase < was.Phase && !(was.Phase == cellstate.PhaseRunning && is.Phase == cellstate.PhaseStarting):
			c.violation("I5", reportKey(machine), "claim %s went back from %s to %s", was.ID, was.Phase, is.Phase)
		}
	}
}

// forgotten checks that an end is forgotten only once its scheduler has acknowledged it, by removing the claim.
func (c *Checker) forgotten(machine string, was *cellstate.ClaimStatus) {
	if l := c.ledgerOf(machine); was.Phase == cellstate.PhaseEnded && l != nil && l.Find(was.ID) != nil {
		c.violation("I5", reportKey(machine), "the end of claim %s (%s) is gone, and was not acknowledged", was.ID, history.Ending(was))
	}
}

// checkEnds checks that ledger and report tell the same ends: the transaction that reports one marks it in the ledger.
func (c *Checker) checkEnds() {
	for _, machine := range slices.Sorted(maps.Keys(c.touched.machines)) {
		l := c.ledgerOf(machine)
		r, _ := c.values[cellstate.ReportKey(machine)].(*cellstate.Report)
		if l == nil {
			continue
		}
		status := byID(r)
		for i := range l.Claims {
			n := &l.Claims[i]
			s := status[n.ID]
			ended := s != nil && s.Phase == cellstate.PhaseEnded
			switch {
			case n.Ended && !ended:
				c.violation("I5", ledgerKey(machine), "claim %s is marked ended, and no report says how it did", n.ID)
			case ended && !n.Ended:
				c.violation("I5", reportKey(machine), "claim %s ended (%s), and still holds its room", n.ID, history.Ending(s))
			}
		}
	}
}

func (c *Checker) ledgerOf(machine string) *cellstate.Ledger {
	l, _ := c.values[cellstate.LedgerKey(machine)].(*cellstate.Ledger)
	return l
}

func byID(r *cellstate.Report) map[cellstate.ClaimID]*cellstate.ClaimStatus {
	if r == nil {
		return nil
	}
	m := make(map[cellstate.ClaimID]*cellstate.ClaimStatus, len(r.Claims))
	for i := range r.Claims {
		m[r.Claims[i].ID] = &r.Claims[i]
	}
	return m
}

func statusKey(s *cellstate.JobStatus) string { return "jobs/" + s.Scheduler + "/" + s.Job + "/status" }

// status compares a job's status with the one before: within one run and version the final is final, and what is done stays
// done (I5).
func (c *Checker) status(old, now *cellstate.JobStatus) {
	if now == nil {
		return
	}
	if old != nil && old.Run == now.Run && old.Version == now.Version {
		if old.Phase.Final() && now.Phase != old.Phase {
			c.violation("I5", statusKey(now), "it had %s and is now %s", old.Phase, now.Phase)
		}
		for _, r := range old.Done {
			if i, found := doneRange(now, r.From); !found || now.Done[i].To < r.To {
				c.violation("I5", statusKey(now), "tasks %d to %d were done, and not all are any more", r.From, r.To-1)
			}
		}
	}
	job, _ := c.values[cellstate.JobKey(now.Scheduler, now.Job)].(*cellstate.Job)
	if job != nil && job.Run == now.Run && job.Version == now.Version {
		c.final(job, now)
	}
}

// final checks that every task of a job that ended by itself is done or has a reason (I10).
func (c *Checker) final(job *cellstate.Job, s *cellstate.JobStatus) {
	if s.Phase != cellstate.JobSucceeded && s.Phase != cellstate.JobFailed {
		return
	}
	for n := range job.Tasks {
		switch {
		case done(s, n):
		case s.Phase == cellstate.JobSucceeded:
			c.violation("I10", statusKey(s), "the job succeeded, and task %d is not done", n)
			return
		case s.Message == "" && !failed(s, n):
			c.violation("I10", statusKey(s), "the job failed, and nothing says what became of task %d", n)
			return
		}
	}
}

func done(s *cellstate.JobStatus, task uint32) bool {
	_, found := doneRange(s, task)
	return found
}

// doneRange finds the range that holds the task. The ranges are disjoint and not adjacent.
func doneRange(s *cellstate.JobStatus, task uint32) (int, bool) {
	return slices.BinarySearchFunc(s.Done, task, func(r cellstate.TaskRange, n uint32) int {
		switch {
		case n < r.From:
			return 1
		case n >= r.To:
			return -1
		}
		return 0
	})
}

func failed(s *cellstate.JobStatus, task uint32) bool {
	_, found := slices.BinarySearchFunc(s.Tasks, task, func(t cellstate.TaskState, n uint32) int { return int(int64(t.Task) - int64(n)) })
	return found
}
