package schedulers

import (
	"math/rand/v2"

	"github.com/omegacell/omegacell/cellstate"
)

// Planner decides what should become of one job. It is called with the newest snapshot, in which what the loop has in
// flight for other jobs is claimed already, whenever something about the job changed; with several Workers also from several
// goroutines, for different jobs. It must be a pure function of its arguments, so that any decision can
// be replayed and any refusal explained: no I/O, no clock (see Job.Now), no randomness but rng, no state.
type Planner interface {
	Plan(snap cellstate.Snapshot, job Job, rng *rand.Rand) Plan
}

// PlannerFunc is a function as a Planner.
type PlannerFunc func(snap cellstate.Snapshot, job Job, rng *rand.Rand) Plan

// Plan calls f.
func (f PlannerFunc) Plan(snap cellstate.Snapshot, job Job, rng *rand.Rand) Plan {
	return f(snap, job, rng)
}

// Job is one job as the loop hands it to a planner.
type Job struct {
	*cellstate.Job
	Status cellstate.JobStatus // as stored, or a fresh pending one
	Now    cellstate.Instant
	Width  int // candidates to draw among; follows recent conflicts, for place.Request
	Limits cellstate.Limits
	// Hopeless, where it is not nil, says why another job, that asks the same for each task, found no room a moment ago, and
	// no room that would do has appeared since. A planner need not look again; see Job.Explain.
	Hopeless *cellstate.Explanation
}

// Plan is what a planner wants done. The loop first writes Status, if it says something new, and then commits the rest.
type Plan struct {
	Mode   cellstate.Mode // of Add; the zero Mode is Incremental
	Add    []cellstate.Claim
	Evict  []cellstate.Evict
	Remove []cellstate.ClaimRef
	// Status is what the job's status becomes. The loop fills in what names it, and leaves it unwritten where only counts
	// of live tasks differ, which anybody can read off the ledgers.
	Status cellstate.JobStatus
	// Explanation says why tasks could not be placed. With one, the job is parked until something changes that could
	// help; see Loop.
	Explanation *cellstate.Explanation
	// Again is when to plan the job again even if nothing changes; 0: only then.
	Again cellstate.Instant
}

// Explain makes an explanation why n tasks wait out of that of another job for which there was no room either.
func (j *Job) Explain(n int) *cellstate.Explanation {
	e := *j.Hopeless
	e.At, e.Unplaced, e.Attempts = j.Now, uint32(n), 0
	return &e
}

// LookAgain makes the plan due again no later than at t; 0 is no time.
func (p *Plan) LookAgain(t cellstate.Instant) {
	if t != 0 && (p.Again == 0 || t < p.Again) {
		p.Again = t
	}
}

// Stop asks one of the job's own claims to end at a deadline, unless it was asked to end by then already.
func (p *Plan) Stop(c cellstate.ClaimView, deadline cellstate.Instant, why string) {
	if c.Claim.Evict == nil || c.Claim.Evict.Deadline > deadline {
		p.Evict = append(p.Evict, cellstate.Evict{ClaimRef: Ref(c), Eviction: cellstate.Eviction{Deadline: deadline, Reason: why}})
	}
}
