package schedulers

import (
	"cmp"
	"iter"
	"slices"
	"time"

	"github.com/omegacell/omegacell/cellstate"
)

// Tasks is a job's claims, sorted out for a planner. It holds those of the job's present run only; the loop itself clears
// away what an earlier run of the same name left.
type Tasks struct {
	Live  []cellstate.ClaimView // by task, one each: the latest attempt, should there be two
	Ended []cellstate.ClaimView // waiting to be acknowledged, by task and attempt
	Extra []cellstate.ClaimView // live, but of an earlier attempt than another live claim of the task
	Lost  []cellstate.ClaimView // live, on machines without an agent for longer than the job's ReplaceAfter
	// LostNext is when the next live claim would count as lost; 0: none.
	LostNext cellstate.Instant
}

// DefaultReplaceAfter is how long a machine's agent may be away before its tasks are replaced elsewhere, where the job does
// not say.
const DefaultReplaceAfter = time.Minute

// Claims sorts out the claims of the job in a snapshot.
func (j Job) Claims(snap cellstate.Snapshot) Tasks {
	var t Tasks
	for c := range snap.Claims(j.Scheduler, j.Name) {
		switch {
		case c.Claim.ID.Run != j.Run:
		case c.Claim.Ended:
			t.Ended = append(t.Ended, c)
		case j.lost(c, &t):
			t.Lost = append(t.Lost, c)
		default:
			t.Live = append(t.Live, c)
		}
	}
	t.byTask()
	byTask := func(a, b cellstate.ClaimView) int {
		return cmp.Or(a.Claim.ID.Compare(b.Claim.ID), cmp.Compare(a.Claim.Machine, b.Claim.Machine))
	}
	slices.SortFunc(t.Ended, byTask)
	slices.SortFunc(t.Extra, byTask)
	slices.SortFunc(t.Lost, byTask)
	return t
}

// byTask brings the live claims, which come by machine, into the order of their tasks, and sorts out those of earlier attempts.
// Numbers are sorted instead of claims: a job may have 100,000 of them, each in another place of memory.
func (t *Tasks) byTask() {
	if len(t.Live) < 2 {
		return
	}
	order := make([]uint64, len(t.Live))
	for i := range t.Live {
		order[i] = uint64(t.Live[i].Claim.ID.Task)<<32 | uint64(i)
	}
	slices.Sort(order)
	live := make([]cellstate.ClaimView, 0, len(t.Live))
	for _, o := range order {
		c := t.Live[uint32(o)]
		if n := len(live); n > 0 && live[n-1].Claim.ID.Task == c.Claim.ID.Task {
			if live[n-1].Claim.ID.Attempt < c.Claim.ID.Attempt {
				live[n-1], c = c, live[n-1]
			}
			t.Extra = append(t.Extra, c)
			continue
		}
		live = append(live, c)
	}
	t.Live = live
}

// Without yields the numbers below n of the tasks that have no live claim, and of those only that are not done.
func (t *Tasks) Without(n uint32, done []cellstate.TaskRange) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		live := t.Live
		for task := uint32(0); task < n; task++ {
			for len(live) > 0 && live[0].Claim.ID.Task < task {
				live = live[1:]
			}
			for len(done) > 0 && done[0].To <= task {
				done = done[1:]
			}
			switch {
			case len(live) > 0 && live[0].Claim.ID.Task == task:
			case len(done) > 0 && done[0].From <= task:
				task = done[0].To - 1
			case !yield(task):
				return
			}
		}
	}
}

// lost reports whether the claim's machine has been without an agent for too long, or notes when it will have been.
func (j Job) lost(c cellstate.ClaimView, t *Tasks) bool {
	if c.Machine.LostAt == 0 || j.Disconnect.ReplaceAfter < 0 {
		return false
	}
	after := j.Disconnect.ReplaceAfter
	if after == 0 {
		after = DefaultReplaceAfter
	}
	due := c.Machine.LostAt.Add(after)
	if due <= j.Now {
		return true
	}
	if t.LostNext == 0 || due < t.LostNext {
		t.LostNext = due
	}
	return false
}

// Ref names the claim for Plan.Remove.
func Ref(c cellstate.ClaimView) cellstate.ClaimRef {
	return cellstate.ClaimRef{Machine: c.Claim.Machine, ID: c.Claim.ID}
}

// Going reports whether the claim has been asked to go.
func Going(c cellstate.ClaimView) bool { return c.Claim.Evict != nil }

// Running reports whether the claim's process runs.
func Running(c cellstate.ClaimView) bool {
	return c.Status != nil && c.Status.Phase == cellstate.PhaseRunning
}

// Failed reports whether a claim ended in a way that counts against its task: not by being evicted, drained or lost.
func Failed(c cellstate.ClaimView) bool {
	s := c.Status
	switch {
	case s == nil, s.Succeeded(), s.Outcome == cellstate.OutcomeLost:
		return false
	case s.Outcome == cellstate.OutcomeStopped:
		return c.Claim.Evict == nil && c.Claim.End != 0 && s.EndedAt >= c.Claim.End // ran over its time
	}
	return true
}
