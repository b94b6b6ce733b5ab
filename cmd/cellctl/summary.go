package main

import (
	"cmp"
	"slices"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cmd/internal/submit"
)

// summary is what can be said of a job from its status, its claims and their reports together.
type summary struct {
	job     *cellstate.Job
	status  *cellstate.JobStatus           // never nil; of the present run
	claims  []cellstate.ClaimView          // of the present run, by task and attempt
	running uint32                         // tasks whose process runs
	healthy uint32                         // of these, the ones that are healthy, or have no check
	current uint32                         // of the running ones, those of the job's present version
	placed  uint32                         // tasks with a live claim
	unseen  uint32                         // of these, the ones whose machine has no session
	done    uint32                         // tasks that succeeded
	gaveUp  uint32                         // tasks that are not tried again
	waiting []cellstate.TaskState          // tasks that are to be placed, by number
	state   string                         // one word for people
	final   bool                           // nothing more happens by itself
	phase   cellstate.JobPhase             // where final
	history map[uint32]cellstate.TaskState // of tasks that ended without success
}

// summarize looks at one job in a snapshot.
func summarize(s cellstate.Snapshot, job *cellstate.Job, status *cellstate.JobStatus) summary {
	out := summary{job: job, history: make(map[uint32]cellstate.TaskState)}
	if status == nil || status.Run != job.Run {
		status = &cellstate.JobStatus{Scheduler: job.Scheduler, Job: job.Name, Run: job.Run, Version: job.Version, Phase: cellstate.JobPending}
	}
	out.status = status
	out.final, out.phase = submit.Final(job, status), status.Phase
	live := make(map[uint32]bool)
	for c := range s.Claims(job.Scheduler, job.Name) {
		if c.Claim.ID.Run != job.Run {
			continue
		}
		out.claims = append(out.claims, c)
		if !c.Claim.Ended {
			out.live(c, live)
		} else {
			live[c.Claim.ID.Task] = true // its scheduler has yet to say what becomes of the task
		}
	}
	slices.SortFunc(out.claims, func(a, b cellstate.ClaimView) int {
		return cmp.Or(cmp.Compare(a.Claim.ID.Task, b.Claim.ID.Task), cmp.Compare(a.Claim.ID.Attempt, b.Claim.ID.Attempt))
	})
	for _, t := range status.Tasks {
		out.history[t.Task] = t
		if t.GaveUp {
			out.gaveUp++
		}
	}
	for _, r := range status.Done {
		out.done += r.To - r.From
	}
	out.wait(live)
	out.name()
	return out
}

func (s *summary) live(c cellstate.ClaimView, seen map[uint32]bool) {
	if !seen[c.Claim.ID.Task] {
		s.placed++
		if c.Machine != nil && c.Machine.Session == nil {
			s.unseen++
		}
		seen[c.Claim.ID.Task] = true
	}
	if c.Status == nil || c.Status.Phase != cellstate.PhaseRunning {
		return
	}
	s.running++
	if s.job.Task.Health == nil || c.Status.Health == cellstate.Healthy {
		s.healthy++
	}
	if c.Claim.JobVersion == s.job.Version {
		s.current++
	}
}

// wait finds the tasks that are to be placed: without a claim, not done and not given up.
func (s *summary) wait(claimed map[uint32]bool) {
	if s.final || s.job.Stopped {
		return
	}
	done := s.status.Done
	for n := range s.job.Tasks {
		for len(done) > 0 && n >= done[0].To {
			done = done[1:]
		}
		h := s.history[n]
		if claimed[n] || len(done) > 0 && n >= done[0].From || h.GaveUp {
			continue
		}
		h.Task = n
		s.waiting = append(s.waiting, h)
	}
}

func (s *summary) name() {
	switch {
	case s.final:
		s.state = s.phase.String()
	case s.job.Stopped:
		s.state = "stopping"
	case s.running > 0:
		s.state = cellstate.JobRunning.String()
	case s.placed > 0:
		s.state = "starting"
	case s.status.Explanation != nil && s.status.Explanation.Parked:
		s.state = "parked"
	default:
		s.state = cellstate.JobPending.String()
	}
}

// allRunning reports whether every task that is not done runs.
func (s *summary) allRunning() bool { return s.running+s.done >= s.job.Tasks && s.running > 0 }

// allHealthy reports whether every task that is not done runs in the present version and is healthy.
func (s *summary) allHealthy() bool {
	return s.allRunning() && s.healthy+s.done >= s.job.Tasks && s.current+s.done >= s.job.Tasks
}

// taskState is a claim's state in one word: what its agent reports, or what the ledger says.
func taskState(c cellstate.ClaimView, now cellstate.Instant) string {
	switch {
	case c.Status != nil && (c.Status.Phase == cellstate.PhaseEnded || c.Claim.Ended):
		return cellstate.PhaseEnded.String()
	case c.Claim.Ended:
		return cellstate.PhaseEnded.String()
	case c.Machine != nil && c.Machine.Session == nil:
		return "unseen" // its agent is away
	case c.Claim.Start > now:
		return "reserved"
	case c.Status == nil:
		return "placed"
	}
	return c.Status.Phase.String()
}
