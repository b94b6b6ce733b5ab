package schedtest

import (
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/schedulers"
)

// Config says which planner is tested, and on what jobs. Planner and Job are required; a zero in any other field means the
// default its comment states.
type Config struct {
	Planner   schedulers.Planner
	Scheduler string                              // default "test"
	Job       func(rng *rand.Rand) *cellstate.Job // a random job that the planner understands; names and versions are filled in
	// RunsToCompletion lets tasks end by themselves during the history, sometimes with an exit code other than 0.
	RunsToCompletion bool
	Machines         int // default 6, of 4 cores, 4 GiB and 2 GPUs
	Jobs             int // default 6
	Seeds            int // histories; default 60
	Steps            int // events in each; default 300
}

func (c Config) withDefaults() Config {
	for _, f := range []struct {
		field *int
		value int
	}{{&c.Machines, 6}, {&c.Jobs, 6}, {&c.Seeds, 60}, {&c.Steps, 300}} {
		if *f.field == 0 {
			*f.field = f.value
		}
	}
	if c.Scheduler == "" {
		c.Scheduler = "test"
	}
	return c
}

// Run plays the histories.
//
// Always: a plan is equal for equal arguments and changes nothing that a snapshot holds; it is a valid transaction that adds
// only claims of its own job, each for a task that has no live claim, on machines that take claims and have an agent; it
// removes a claim only when the status written before tells of its end; a plan that leaves tasks unplaced explains it, with
// counts that add up. At the end: every job that was stopped or has run is final and holds nothing, every other task runs.
func Run(t *testing.T, cfg Config) {
	cfg = cfg.withDefaults()
	var total counts
	for seed := range uint64(cfg.Seeds) {
		w := newWorld(t, cfg, seed)
		for range cfg.Steps {
			w.step()
		}
		w.settle()
		w.checkSettled()
		total.add(w.seen)
	}
	for name, n := range map[string]int{
		"placed": total.placed, "removed": total.removed, "evicted": total.evicted, "lost machines": total.lost, "unplaced": total.unplaced,
	} {
		if n == 0 {
			t.Errorf("no history had any %s: this no longer tests anything", name)
		}
	}
}

func (c *counts) add(o counts) {
	c.placed += o.placed
	c.removed += o.removed
	c.evicted += o.evicted
	c.refused += o.refused
	c.lost += o.lost
	c.unplaced += o.unplaced
}

// twice plans the job twice and fails if the plans differ or the snapshot was changed.
func (w *world) twice(snap *Snapshot, job schedulers.Job) schedulers.Plan {
	before := w.snapshot()
	first := w.cfg.Planner.Plan(snap, job, rand.New(rand.NewPCG(w.seed, w.planned)))
	second := w.cfg.Planner.Plan(snap, job, rand.New(rand.NewPCG(w.seed, w.planned)))
	if !reflect.DeepEqual(first, second) {
		w.failf("job %s: two plans from the same arguments differ:\n%+v\n%+v", job.Name, first, second)
	}
	if !reflect.DeepEqual(snap, before) {
		w.failf("job %s: planning changed the snapshot", job.Name)
	}
	return first
}

// checkPlan checks one plan against the snapshot it was made on.
func (w *world) checkPlan(snap *Snapshot, job *schedulers.Job, p *schedulers.Plan, next *cellstate.JobStatus) {
	live := make(map[uint32]bool)
	for _, c := range job.Claims(snap).Live {
		live[c.Claim.ID.Task] = true
	}
	for i := range p.Add {
		c := &p.Add[i]
		m, ok := snap.Machine(c.Machine)
		switch {
		case c.ID.Job != job.Name || c.ID.Run != job.Run || c.ID.Scheduler != job.Scheduler || c.ID.Task >= job.Tasks:
			w.failf("job %s: added a claim %s that is not its own", job.Name, c.ID)
		case live[c.ID.Task]:
			w.failf("job %s: task %d would get a second live claim (I3)", job.Name, c.ID.Task)
		case !ok || m.Session == nil || m.Ledger.Cordoned || m.Ledger.Drain != nil:
			w.failf("job %s: placed %s on %s, which takes no claims", job.Name, c.ID, c.Machine)
		case job.Stopped:
			w.failf("job %s is stopped and was given a claim", job.Name)
		}
		live[c.ID.Task] = true
	}
	h := schedulers.NewHistory(*next)
	for _, r := range p.Remove {
		m, _ := snap.Machine(r.Machine)
		if c := m.Ledger.Find(r.ID); c != nil && r.ID.Run == job.Run && !h.Recorded(r.ID) && !(job.Stopped || next.Phase.Final()) {
			w.failf("job %s: %s is removed although the status does not tell of its end (I5)", job.Name, r.ID)
		}
	}
	if e := p.Explanation; e != nil {
		w.seen.unplaced++
		sum := uint32(0)
		for _, r := range e.Rules {
			sum += r.Count
		}
		if sum != e.Looked-e.Eligible {
			w.failf("job %s: explanation counts %d machines, not %d of %d: %+v", job.Name, sum, e.Looked-e.Eligible, e.Looked, e)
		}
	}
}

// check checks what must hold in the cell at any time.
func (w *world) check() {
	snap := w.snapshot()
	running := make(map[cellstate.ClaimID]string)
	for i := range snap.Len() {
		l := snap.At(i).Ledger
		if s := l.Overcommitted(0); s != (cellstate.Shortage{}) {
			w.failf("I1 broken on %s: %s", l.Machine, s)
		}
		for k := range l.Claims {
			c := &l.Claims[k]
			if c.Ended || snap.At(i).LostAt != 0 {
				continue
			}
			id := c.ID
			id.Attempt = 0
			if other, twice := running[id]; twice && c.Evict == nil {
				w.failf("I3 broken: %s has live claims on %s and %s", c.ID, other, l.Machine)
			}
			running[id] = l.Machine
		}
	}
}

// checkSettled checks that no task is without a state (I10).
func (w *world) checkSettled() {
	snap := w.snapshot()
	for _, name := range w.jobs {
		j, st, _ := snap.Job(w.cfg.Scheduler, name)
		claims := 0
		for c := range snap.Claims(j.Scheduler, j.Name) {
			if !c.Claim.Ended && c.Claim.ID.Task < j.Tasks {
				claims++
			}
		}
		switch {
		case st == nil:
			w.failf("job %s was never planned", name)
		case st.Phase.Final():
			if claims > 0 {
				w.failf("job %s is %s and holds %d claims", name, st.Phase, claims)
			}
		case j.Stopped:
			w.failf("job %s is stopped and %s", name, st.Phase)
		default:
			h := schedulers.NewHistory(*st)
			if uint32(claims)+h.DoneCount(j.Tasks) < j.Tasks {
				w.failf("job %s: %d of %d tasks run and %d are done, in an empty cell: %+v", name, claims, j.Tasks, h.DoneCount(j.Tasks), st)
			}
		}
	}
}
