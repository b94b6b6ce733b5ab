package place

import (
	"math/rand/v2"
	"slices"

	"github.com/omegacell/omegacell/cellstate"
)

// Request asks for machines for some tasks of one job.
type Request struct {
	Job    *cellstate.Job
	Tasks  []Slot            // which tasks, in order
	Start  cellstate.Instant // of the claims; their end follows from Job.Task.MaxRunTime
	Min    int               // with fewer than this placed none is (a gang); 0: each for itself
	Avoid  map[string]bool   // machines not to use, such as those where the task just failed
	Width  int               // near-best candidates to draw among; 1 is the best only; 0 means DefaultWidth. See NextWidth
	Evict  *EvictPolicy      // nil: evict nobody
	Limits cellstate.Limits
}

// Slot is a task and the number of its next attempt.
type Slot struct{ Task, Attempt uint32 }

// EvictPolicy allows to take room from claims of lower precedence where nothing is free.
type EvictPolicy struct {
	Deadline cellstate.Instant // victims have to be gone by then, and the new claims start then; not before Request.Start
	Reason   string            // for the victims' owners; default "preempted by scheduler/job"
}

// Result says where tasks go. Each task of the request is in Claims or in Unplaced.
type Result struct {
	Claims []cellstate.Claim // in the order of Tasks; devices are left for Commit to assign
	Evict  []cellstate.Evict // each names in By the claim of Claims, on the same machine, that it makes room for
	// Unplaced are the tasks that no machine takes, or all of them where a gang has less than its minimum.
	Unplaced    []Slot
	Explanation *cellstate.Explanation // non-nil when something is unplaced; Attempts and Parked are the caller's to fill
}

// Place finds machines for the tasks of a request.
//
// A task that fits somewhere is placed; the order of the tasks and the seed decide only where. Victims are looked for only
// when no machine takes a task as it is.
func Place(snap cellstate.Snapshot, req Request, rng *rand.Rand) Result {
	p := newPlan(snap, req, rng)
	r := Result{Claims: make([]cellstate.Claim, 0, len(req.Tasks))}
	for i, slot := range req.Tasks {
		c := p.draw()
		if c == nil {
			r.Unplaced = req.Tasks[i:]
			break
		}
		claim := p.claimFor(slot, c.view)
		p.spread.add(c.view)
		if i+1 < len(req.Tasks) { // else nobody asks any more what is left there
			p.take(c, claim)
		}
		r.Claims = append(r.Claims, claim)
	}
	if len(r.Unplaced) > 0 && req.Evict != nil {
		p.makeRoom(&r)
	}
	found := len(r.Claims)
	if found < req.Min {
		r = Result{Unplaced: req.Tasks}
	}
	r.Unplaced = slices.Clone(r.Unplaced)
	if len(r.Unplaced) > 0 {
		r.Explanation = p.explain(found, len(r.Unplaced))
	}
	return r
}

// plan is the state of one call of Place.
type plan struct {
	snap     cellstate.Snapshot
	req      Request
	rng      *rand.Rand
	claim    cellstate.Claim // what all claims of the request have in common
	rules    rules
	affinity []affinity
	spread   spreads
	pool     pool
	working  map[int]*cellstate.Ledger // by slot: ledgers that this request changed
}

func newPlan(snap cellstate.Snapshot, req Request, rng *rand.Rand) *plan {
	req.Limits = req.Limits.WithDefaults()
	if req.Width <= 0 {
		req.Width = DefaultWidth
	}
	job := req.Job
	p := &plan{
		snap: snap, req: req, rng: rng,
		claim: cellstate.Claim{
			ID:         cellstate.ClaimID{Scheduler: job.Scheduler, Job: job.Name, Run: job.Run},
			JobVersion: job.Version, Precedence: job.Precedence, GangMin: job.GangMin, Resources: job.Task.Resources,
		},
		rules:    compileRules(job.Constraints, req.Avoid),
		affinity: compileAffinities(job.Affinities),
		working:  make(map[int]*cellstate.Ledger),
	}
	p.startAt(req.Start)
	p.spread = countSpreads(p)
	p.pool = newPool(p)
	return p
}

func (p *plan) startAt(t cellstate.Instant) {
	p.claim.Start, p.claim.End = t, 0
	if d := p.req.Job.Task.MaxRunTime; d > 0 {
		p.claim.End = t.Add(d)
	}
}

func (p *plan) claimFor(s Slot, m *cellstate.MachineView) cellstate.Claim {
	c := p.claim
	c.ID.Task, c.ID.Attempt = s.Task, s.Attempt
	c.Machine = m.Name()
	return c
}

// ledger returns a machine's ledger together with what this request already did to it.
func (p *plan) ledger(slot int, m *cellstate.MachineView) *cellstate.Ledger {
	if l := p.working[slot]; l != nil {
		return l
	}
	return m.Ledger
}

// fit asks the fit rule about the next claim of the request.
func (p *plan) fit(l *cellstate.Ledger) cellstate.Shortage { return l.Fit(&p.claim, p.req.Limits) }
