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
	var p plan
	p.begin(snap, req, rng)
	r := Result{Claims: make([]cellstate.Claim, 0, len(req.Tasks))}
	slots := make([]int, 0, len(req.Tasks)) // of the claims' machines
	for i, slot := range req.Tasks {
		c := p.draw()
		if c == none {
			r.Unplaced = req.Tasks[i:]
			break
		}
		m := p.pool.cands[c].view
		r.Claims = append(r.Claims, p.claim)
		slot.name(&r.Claims[i], m)
		slots = append(slots, p.pool.cands[c].slot)
		if i+1 < len(req.Tasks) { // else nobody asks any more what is left there
			p.count(m)
			p.take(c, &r.Claims[i])
		}
	}
	found := len(r.Claims)
	if len(r.Unplaced) > 0 {
		p.settle(r.Claims, slots)
		if req.Evict != nil {
			p.makeRoom(&r)
			found = len(r.Claims)
		}
	}
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
	spread   *spreads
	pool     pool
	// working holds, by slot, the ledgers that this request changed: all of them once it is settled; before, those of a
	// request for GPUs, of which a sum does not tell what is left.
	working map[int]*cellstate.Ledger
}

func (p *plan) begin(snap cellstate.Snapshot, req Request, rng *rand.Rand) {
	req.Limits = req.Limits.WithDefaults()
	if req.Width <= 0 {
		req.Width = DefaultWidth
	}
	job := req.Job
	p.snap, p.req, p.rng = snap, req, rng
	p.claim = cellstate.Claim{
		ID:         cellstate.ClaimID{Scheduler: job.Scheduler, Job: job.Name, Run: job.Run},
		JobVersion: job.Version, Precedence: job.Precedence, GangMin: job.GangMin, Resources: job.Task.Resources,
	}
	p.startAt(req.Start)
	p.rules = compileRules(job.Constraints, req.Avoid)
	p.affinity = compileAffinities(job.Affinities)
	p.spread = countSpreads(p)
	p.pool = newPool(p)
}

func (p *plan) startAt(t cellstate.Instant) {
	p.claim.Start, p.claim.End = t, 0
	if d := p.req.Job.Task.MaxRunTime; d > 0 {
		p.claim.End = t.Add(d)
	}
}

// name makes a claim, that has what all of the request have in common, the slot's on a machine.
func (s Slot) name(c *cellstate.Claim, m *cellstate.MachineView) {
	c.ID.Task, c.ID.Attempt = s.Task, s.Attempt
	c.Machine = m.Name()
}

// ledger returns a machine's ledger together with what this request already did to it, as far as `working` tells.
func (p *plan) ledger(slot int, m *cellstate.MachineView) *cellstate.Ledger {
	if p.working != nil {
		if l := p.working[slot]; l != nil {
			return l
		}
	}
	return m.Ledger
}

// change replaces a machine's ledger in this request's view of the cell.
func (p *plan) change(slot int, l *cellstate.Ledger) {
	if p.working == nil {
		p.working = make(map[int]*cellstate.Ledger)
	}
	p.working[slot] = l
}

// settle puts the claims so far, of machines in these slots, into ledgers, for those that look at more than what is free.
func (p *plan) settle(claims []cellstate.Claim, slots []int) {
	if p.devices() {
		return
	}
	for i := range claims {
		l := p.working[slots[i]]
		if l == nil {
			l = p.snap.At(slots[i]).Ledger.Clone()
			p.change(slots[i], l)
		}
		l.Claims = append(l.Claims, claims[i])
	}
	for _, l := range p.working {
		l.Sum()
	}
}

// fit asks the fit rule about the next claim of the request.
func (p *plan) fit(l *cellstate.Ledger) cellstate.Shortage { return l.Fit(&p.claim, p.req.Limits) }

// devices reports whether the claims want GPUs, so that it matters which of a machine's are free.
func (p *plan) devices() bool { return p.claim.Resources.GPUMilli > 0 }

// until is the exclusive end of the request's claims.
func (p *plan) until() cellstate.Instant {
	if p.claim.End == 0 {
		return cellstate.Forever
	}
	return p.claim.End
}
