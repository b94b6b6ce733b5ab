package schedtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/memstore"
	"github.com/omegacell/omegacell/schedulers"
)

// world is one seeded history: a cell, its agents and one scheduler, all in the calling goroutine.
type world struct {
	t       testing.TB
	cfg     Config
	seed    uint64
	rng     *rand.Rand
	now     cellstate.Instant
	store   *memstore.Store
	lostAt  map[string]cellstate.Instant
	jobs    []string
	seen    counts
	planned uint64
}

// counts says what a history contained, so that an uneventful one is noticed.
type counts struct{ placed, removed, evicted, refused, lost, unplaced int }

func newWorld(t testing.TB, cfg Config, seed uint64) *world {
	w := &world{
		t: t, cfg: cfg, seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), now: 1_000_000,
		store: memstore.New(memstore.Config{}), lostAt: make(map[string]cellstate.Instant),
	}
	for i := range cfg.Machines {
		name := fmt.Sprintf("m%02d", i)
		w.put(cellstate.NewLedger(name, cellstate.Resources{CPUMilli: 4000, MemBytes: 4 << 30, GPUMilli: 2000}))
		w.put(&cellstate.Machine{Name: name, Attributes: map[string]string{"rack": fmt.Sprintf("r%d", i%3)}})
		w.put(&cellstate.Session{Machine: name, Epoch: 1})
	}
	return w
}

func (w *world) failf(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("seed %d at %d: %s", w.seed, w.now, fmt.Sprintf(format, args...))
}

// put writes a value whatever stood there.
func (w *world) put(v cellstate.Value) {
	if _, err := w.store.Swap(context.Background(), cellstate.Swap{Put: []cellstate.Put{{Value: v}}}); err != nil {
		w.failf("put %s: %v", v.Key(), err)
	}
}

func (w *world) snapshot() *Snapshot {
	l, err := w.store.List(context.Background(), cellstate.Range{}, 0)
	if err != nil {
		w.failf("list: %v", err)
	}
	return NewSnapshot(l, w.lostAt)
}

// step lets one thing happen.
func (w *world) step() {
	w.now += cellstate.Instant(w.rng.IntN(3000))
	switch n := w.rng.IntN(20); {
	case n == 0 && len(w.jobs) < w.cfg.Jobs:
		w.submit()
	case n == 1:
		w.change()
	case n == 2:
		w.machine()
	case n < 9:
		w.agent(w.rng.IntN(w.cfg.Machines))
	default:
		if len(w.jobs) > 0 {
			w.plan(w.jobs[w.rng.IntN(len(w.jobs))])
		}
	}
	w.check()
}

func (w *world) submit() {
	j := w.cfg.Job(w.rng)
	j.Scheduler, j.Name = w.cfg.Scheduler, fmt.Sprintf("j%d", len(w.jobs))
	j.Run, j.Version, j.SubmittedAt = w.rng.Uint32(), 1, w.now
	w.jobs = append(w.jobs, j.Name)
	w.put(j)
}

// change grows, shrinks, updates or, rarely, stops a job.
func (w *world) change() {
	if len(w.jobs) == 0 {
		return
	}
	j, st, _ := w.snapshot().Job(w.cfg.Scheduler, w.jobs[w.rng.IntN(len(w.jobs))])
	if st != nil && st.Phase.Final() {
		return
	}
	n := *j
	switch w.rng.IntN(4) {
	case 0:
		n.Tasks = max(n.GangMin, 1+uint32(w.rng.IntN(8)))
	case 1:
		n.Version++
	case 2:
		n.Stopped = w.rng.IntN(4) == 0
	}
	w.put(&n)
}

// machine cordons, drains, loses or restores one machine.
func (w *world) machine() {
	name := fmt.Sprintf("m%02d", w.rng.IntN(w.cfg.Machines))
	m, _ := w.snapshot().Machine(name)
	switch w.rng.IntN(4) {
	case 0:
		l := m.Ledger.Clone()
		l.Cordoned = !l.Cordoned
		w.put(l)
	case 1:
		l := m.Ledger.Clone()
		l.Drain = nil
		if m.Ledger.Drain == nil {
			l.Drain = &cellstate.Drain{Deadline: w.now.Add(5 * time.Second), Reason: "test"}
		}
		w.put(l)
	case 2:
		if m.Session != nil {
			w.lose(name)
		} else {
			w.restore(name)
		}
	}
}

func (w *world) lose(name string) {
	w.lostAt[name] = w.now
	w.seen.lost++
	if _, err := w.store.Swap(context.Background(), cellstate.Swap{Delete: []cellstate.Key{cellstate.SessionKey(name)}}); err != nil {
		w.failf("lose %s: %v", name, err)
	}
}

func (w *world) restore(name string) {
	delete(w.lostAt, name)
	w.put(&cellstate.Session{Machine: name, Epoch: 2})
}

// agent does what the agent of one machine would: starts what it may, ends what is due, by chance or by order, and reports.
func (w *world) agent(i int) {
	m := w.snapshot().At(i)
	if m.Session == nil {
		return
	}
	report := &cellstate.Report{Machine: m.Name(), Epoch: 1}
	var ended []cellstate.ClaimID
	for k := range m.Ledger.Claims {
		c := &m.Ledger.Claims[k]
		s := cellstate.ClaimStatus{ID: c.ID, Phase: cellstate.PhaseRunning, StartedAt: w.now}
		if old := m.Report.Find(c.ID); old != nil {
			s = *old
		}
		due := c.Evict != nil && c.Evict.Deadline <= w.now || m.Ledger.Drain != nil && m.Ledger.Drain.Deadline <= w.now
		if !c.Ended && (due || w.cfg.RunsToCompletion && w.rng.IntN(3) == 0) {
			s.Phase, s.EndedAt, s.Outcome = cellstate.PhaseEnded, w.now, cellstate.OutcomeExited
			switch {
			case due:
				s.Outcome = cellstate.OutcomeStopped
			case w.rng.IntN(6) == 0:
				s.ExitCode = 1
			}
			ended = append(ended, c.ID)
		}
		report.Claims = append(report.Claims, s)
	}
	w.put(report)
	w.put(m.Ledger.MarkEnded(ended, w.now))
}

// plan plans one job as the loop would: twice, to see that both plans are equal; then it carries the plan out. ok is false
// where there is nothing to plan.
func (w *world) plan(name string) (plan schedulers.Plan, ok bool) {
	snap := w.snapshot()
	record, status, ok := snap.Job(w.cfg.Scheduler, name)
	if !ok {
		return plan, false
	}
	job := schedulers.Job{Job: record, Now: w.now, Width: 3, Limits: cellstate.Limits{}.WithDefaults(), Status: cellstate.JobStatus{
		Scheduler: record.Scheduler, Job: record.Name, Run: record.Run, Version: record.Version, Phase: cellstate.JobPending,
	}}
	if status != nil {
		job.Status = *status
	}
	if job.Status.Phase.Final() {
		return plan, false
	}
	w.planned++
	plan = w.twice(snap, job)
	if plan.Mode == 0 {
		plan.Mode = cellstate.Incremental
	}
	next := plan.Status
	next.Scheduler, next.Job, next.Run, next.Version = record.Scheduler, record.Name, record.Run, record.Version
	next.Explanation = plan.Explanation
	w.checkPlan(snap, &job, &plan, &next)
	w.put(&next)
	w.commit(&cellstate.Txn{Mode: cellstate.Incremental, Remove: plan.Remove}, snap)
	w.commit(&cellstate.Txn{Mode: plan.Mode, Add: plan.Add, Evict: plan.Evict}, snap)
	return plan, true
}

func (w *world) commit(t *cellstate.Txn, snap *Snapshot) {
	if len(t.Add)+len(t.Remove)+len(t.Evict) == 0 {
		return
	}
	if len(t.Add) == 0 {
		t.Mode = cellstate.Incremental
	}
	t.ID, t.Scheduler, t.Rule, t.Basis = fmt.Sprint(w.planned), w.cfg.Scheduler, cellstate.FitRule, snap
	v, err := w.store.Commit(context.Background(), t)
	if err != nil {
		w.failf("the plan is not a valid transaction: %v", err)
	}
	w.seen.refused += len(v.Conflicts)
	w.seen.placed += len(t.Add)
	w.seen.removed += len(t.Remove)
	w.seen.evicted += len(t.Evict)
}

// settle makes the cell quiet and roomy: all machines back, no cordon or drain, and the planner asked until nothing changes.
func (w *world) settle() {
	for i := range w.cfg.Machines {
		name := fmt.Sprintf("m%02d", i)
		w.restore(name)
		m, _ := w.snapshot().Machine(name)
		l := m.Ledger.Clone()
		l.Cordoned, l.Drain = false, nil
		l.Capacity = cellstate.Resources{CPUMilli: 400_000, MemBytes: 400 << 30, GPUMilli: 64_000}
		w.put(l)
	}
	w.cfg.RunsToCompletion = false
	for range 40 {
		w.now = w.now.Add(10 * time.Minute)
		for _, name := range w.jobs {
			w.plan(name)
			w.check()
		}
		for i := range w.cfg.Machines {
			w.agent(i)
			w.check()
		}
	}
}
