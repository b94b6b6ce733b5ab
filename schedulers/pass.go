package schedulers

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/omegacell/omegacell/cellstate"
)

// patience bounds one write, also while the loop stops: the outcome of what was sent should be known.
const patience = 10 * time.Second

// begin plans one job once. What is then to be written, and whatever else takes its time, is left to the function that it
// returns; where that is nil, o is what becomes of the job.
func (l *Loop) begin(ctx context.Context, name string, st *jobState) (o outcome, rest func(context.Context) outcome) {
	// The fence before the snapshot: one that was taken before this leadership began would not show what others did.
	fence, ours := l.shards.Load().fence(name)
	if !ours { // planned again when its shard is won
		l.land(st, 0, nil)
		return outcome{}, nil
	}
	if st.unknown != nil || st.behind {
		return o, func(ctx context.Context) outcome {
			if err := l.catchUp(ctx, st, fence); err != nil {
				return l.failed(name, st, err)
			}
			return outcome{again: true}
		}
	}
	if l.suspect(name) {
		return o, func(ctx context.Context) outcome {
			bad, err := l.unreadable(ctx, name)
			switch {
			case err != nil:
				return l.failed(name, st, err)
			case bad:
				l.cfg.Log.Error("job left alone: its record or its status cannot be read", zap.String("job", name))
				return outcome{again: true, due: l.cfg.Now().Add(l.cfg.Recheck)}
			}
			o, rest := l.decide(ctx, name, st, fence)
			if rest != nil {
				return rest(ctx)
			}
			return o
		}
	}
	return l.decide(ctx, name, st, fence)
}

// decide plans a job of which nothing is open.
func (l *Loop) decide(ctx context.Context, name string, st *jobState, fence cellstate.Fence) (o outcome, rest func(context.Context) outcome) {
	if _, err := l.cfg.Mirror.Wait(ctx, max(st.minRev, fence.CreateRev)); err != nil {
		return outcome{}, nil // ctx is done: the loop stops
	}
	snap := l.flights.view()
	if st.minRev = max(st.minRev, fence.CreateRev); snap.Rev() < st.minRev { // we are yet to observe it
		return outcome{again: true}, nil
	}
	waited := time.Duration(0)
	if !st.since.IsZero() {
		waited = time.Since(st.since)
		st.since = time.Time{}
	}
	l.cfg.Metrics.stale.Observe(waited.Seconds())
	w := &write{loop: l, state: st, snap: snap, fence: fence, now: l.cfg.Now()}
	if asOf := snap.AsOf(); asOf != 0 {
		l.cfg.Metrics.age.Observe(w.now.Sub(asOf).Seconds())
	}
	job, status, ok := snap.Job(l.cfg.Name, name)
	if !ok {
		w.job = &cellstate.Job{Scheduler: l.cfg.Name, Name: name}
		return o, w.within(w.clearOrphans)
	}
	w.job, w.stored = job, status
	return w.decide()
}

// within makes f run with w's own context, which outlasts the loop's: the outcome of what was sent should be known.
func (w *write) within(f func() outcome) func(context.Context) outcome {
	return func(ctx context.Context) outcome {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		w.ctx = ctx
		return f()
	}
}

// decide plans the job; what is to be written is left to the function it returns.
func (w *write) decide() (o outcome, rest func(context.Context) outcome) {
	l, st := w.loop, w.state
	job := Job{Job: w.job, Now: w.now, Width: l.width.now(), Limits: l.cfg.Limits, Status: freshStatus(w.job)}
	job.Hopeless = l.agenda.hopeless(st, w.job, w.now)
	if w.stored != nil && w.stored.Run == w.job.Run {
		job.Status = *w.stored
	}
	if job.Status.Phase.Final() && job.Status.Version == w.job.Version {
		return o, w.within(func() outcome { return w.finished(&job) })
	}
	if st.plans == 0 && w.firstLook() {
		l.cfg.Metrics.wait.Observe(w.now.Sub(w.job.SubmittedAt).Seconds())
	}
	plan := w.settle(&job)
	switch {
	case plan.Explanation == nil:
		l.agenda.placed(st)
	case plan.Explanation == w.why && job.Hopeless == nil:
		l.agenda.explained(st, needOf(&job, st.lotName(w.job)), w.why, w.now)
	}
	next, news := w.news(&job, &plan)
	if !news && len(plan.Add)+len(plan.Evict)+len(plan.Remove) == 0 {
		st.conflicts, st.failures, st.refused = 0, 0, ""
		return w.next(&job, &plan), nil
	}
	return o, w.within(func() outcome {
		if news && !w.status(&job, next) {
			l.land(st, 0, nil) // nothing of it was sent
			return l.again(st)
		}
		return w.carry(&job, &plan)
	})
}

// settle makes the plan that is sent: on the newest view, with those of its claims placed anew whose machines changed while it
// was made, and noted as in flight.
func (w *write) settle(job *Job) Plan {
	l, st := w.loop, w.state
	plan := l.plan(w.snap, *job, st.plans)
	st.plans++
	for round := 1; ; round++ {
		w.addForeign(&plan)
		w.why = plan.Explanation
		l.hold(w.snap, job, &plan, st)
		flight, lost := l.flights.send(w.snap, &plan, round > repairs)
		if len(lost) == 0 {
			st.flight = flight
			return plan
		}
		l.cfg.Metrics.replaced.Add(float64(len(lost)))
		plan = w.repair(job, plan, lost)
	}
}

// repairs bounds how often claims of one plan are placed anew before it is sent.
const repairs = 2

// repair plans anew the claims of a plan that do not fit any more. The others stay where they are: the planner sees them as
// claims that the job has.
func (w *write) repair(job *Job, p Plan, lost []int) Plan {
	l := w.loop
	kept := make([]cellstate.Claim, 0, len(p.Add)-len(lost))
	for i := range p.Add {
		if len(lost) > 0 && lost[0] == i {
			lost = lost[1:]
		} else {
			kept = append(kept, p.Add[i])
		}
	}
	w.snap = l.flights.repairing(w.job, kept)
	next := l.plan(w.snap, *job, w.state.plans)
	w.state.plans++
	if p.Mode == cellstate.AllOrNothing && next.Explanation != nil && len(next.Add) == 0 { // a gang is not sent in part
		next.Explanation.Unplaced += uint32(len(kept))
		next.Status = p.Status // not that of a job whose kept claims are there
		return next
	}
	for _, e := range next.Evict { // what was kept is not wanted any more
		kept = slices.DeleteFunc(kept, func(c cellstate.Claim) bool { return c.ID == e.ID })
	}
	next.Evict = slices.DeleteFunc(next.Evict, func(e cellstate.Evict) bool {
		return slices.ContainsFunc(p.Add, func(c cellstate.Claim) bool { return c.ID == e.ID })
	})
	next.Add = append(kept, next.Add...)
	if p.Mode == cellstate.AllOrNothing {
		next.Mode = cellstate.AllOrNothing
	}
	return next
}

// land notes the answer to what was in flight for a job. Parked jobs that waited because of it are due where it leaves room.
func (l *Loop) land(st *jobState, rev int64, refused []cellstate.Conflict) {
	l.agenda.unpark(l.flights.landed(st.flight, rev, refused))
	st.flight = nil
}

// carry commits the plan.
func (w *write) carry(job *Job, plan *Plan) outcome {
	l, st := w.loop, w.state
	refused := st.refused != ""
	st.refused = "" // the status says it now
	verdict, err := w.commit(plan)
	if refused && errors.Is(err, cellstate.ErrInvalid) { // what is wrong is not what was taken out: nothing more can be done
		st.behind = true
		return w.next(job, plan)
	}
	if err != nil {
		return l.failed(w.job.Name, st, err)
	}
	l.land(st, st.minRev, verdict.Conflicts)
	if len(verdict.Conflicts) > 0 {
		return l.conflicted(st, verdict)
	}
	st.conflicts, st.failures = 0, 0
	l.width.record(0, len(plan.Add))
	l.window.record(0, len(plan.Add))
	return w.next(job, plan)
}

// next is when to plan the job again after all of a plan was done that can be.
func (w *write) next(job *Job, p *Plan) outcome {
	cfg := &w.loop.cfg
	var o outcome
	if p.Explanation != nil {
		p.LookAgain(w.now.Add(cfg.Recheck))
		o.need = needOf(job, w.state.lotName(w.job))
	}
	if p.Again != 0 { // not at once, whatever the planner says: it would keep a worker busy for ever
		o.again, o.due = true, max(p.Again, w.now.Add(max(cfg.BackoffMin, time.Millisecond)))
	}
	return o
}

// firstLook reports whether nothing was ever done for this run of the job, as far as the cell tells.
func (w *write) firstLook() bool {
	if s := w.stored; s != nil && (s.Run != w.job.Run || s.UpdatedAt > w.job.SubmittedAt) {
		return false
	}
	for range w.snap.Claims(w.job.Scheduler, w.job.Name) {
		return false
	}
	return true
}

// freshStatus is the status of a job that has none.
func freshStatus(j *cellstate.Job) cellstate.JobStatus {
	return cellstate.JobStatus{Scheduler: j.Scheduler, Job: j.Name, Run: j.Run, Version: j.Version, Phase: cellstate.JobPending}
}

// plan asks the planner. The source of randomness depends on the loop's seed, the job and how often it was planned.
func (l *Loop) plan(snap cellstate.Snapshot, job Job, times uint64) Plan {
	h := fnv.New64a()
	h.Write([]byte(job.Name))
	rng := rand.New(rand.NewPCG(l.cfg.Seed, h.Sum64()+times))
	began := time.Now()
	p := l.cfg.Planner.Plan(snap, job, rng)
	l.cfg.Metrics.think.Observe(time.Since(began).Seconds())
	l.cfg.Metrics.plans.Inc()
	if p.Mode == 0 {
		p.Mode = cellstate.Incremental
	}
	return p
}

// catchUp finds out what the last commit for the job did, where that was left open. Until it is known the job cannot be
// planned: the same task might get a second claim (I4).
//
// A transaction whose outcome is unknown is sent once more; a store does not do it twice. One that was sent under another
// leadership than today's needs no settling: since that one ended it has been refused, and before that it shows.
func (l *Loop) catchUp(ctx context.Context, st *jobState, fence cellstate.Fence) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if st.unknown != nil && *st.unknown.Fence == fence {
		v, err := l.cfg.Store.Commit(ctx, st.unknown)
		switch {
		case errors.Is(err, cellstate.ErrInvalid):
			st.behind = true
		case err != nil:
			return err
		}
		st.minRev = max(st.minRev, v.Rev)
	}
	st.unknown = nil
	if st.behind {
		now, err := l.cfg.Store.List(ctx, fence.Key.Only(), 0)
		if err != nil {
			return err
		}
		st.minRev = max(st.minRev, now.Rev)
	}
	st.behind = false
	l.land(st, st.minRev, nil)
	return nil
}

// suspect reports whether a record that the mirror cannot read may be the job's or its status.
func (l *Loop) suspect(name string) bool {
	m, ok := l.cfg.Mirror.(interface{ Quarantined() map[string]error })
	if !ok {
		return false
	}
	for key := range m.Quarantined() {
		if strings.Contains(key, name) {
			return true
		}
	}
	return false
}

// unreadable reports whether the job's record or status is in the cell and cannot be read. A mirror that never saw a readable
// version shows none; taking that for a deleted job would end its tasks, or for a new one run them again.
func (l *Loop) unreadable(ctx context.Context, name string) (bool, error) {
	for _, k := range []cellstate.Key{cellstate.JobKey(l.cfg.Name, name), cellstate.StatusKey(l.cfg.Name, name)} {
		if rec, err := cellstate.Get(ctx, l.cfg.Store, k); err != nil || rec.Err != nil {
			return rec.Err != nil, err
		}
	}
	return false, nil
}

// failed handles an error of a write, which is tried again after a growing wait; except where the plan is wrong: then the next
// pass says so in the status, and the job is parked.
func (l *Loop) failed(name string, st *jobState, err error) outcome {
	if errors.Is(err, cellstate.ErrInvalid) {
		st.behind = true // a part may have been carried out
		st.refused = fmt.Sprintf("the plan cannot be carried out: %v", err)
	}
	if st.unknown == nil && !st.behind {
		l.land(st, 0, nil) // nothing was done
	}
	o := l.again(st)
	l.cfg.Log.Warn("write failed", zap.String("job", name), zap.Stringer("again", o.due), zap.Error(err))
	return o
}

// again plans the job again after a write that was not done, waiting longer each time in a row.
func (l *Loop) again(st *jobState) outcome {
	st.failures++
	l.cfg.Metrics.retries.Inc()
	return outcome{again: true, due: l.cfg.Now().Add(jitter(delay(l.cfg.BackoffMin, l.cfg.BackoffMax, st.failures-1)))}
}

// conflicted repairs a plan of which a part was refused: the job is planned again from the verdict's revision, which shows
// what was committed, so that just the rest is placed anew; at once after the first conflict, then after a growing wait.
func (l *Loop) conflicted(st *jobState, v cellstate.Verdict) outcome {
	if len(v.Committed) > 0 {
		st.conflicts = 0 // it got on
	}
	st.conflicts++
	st.failures = 0
	l.width.record(len(v.Conflicts), len(v.Committed)+len(v.Conflicts))
	l.window.record(len(v.Conflicts), len(v.Committed)+len(v.Conflicts))
	l.cfg.Metrics.retries.Inc()
	if st.conflicts == 1 {
		return outcome{again: true}
	}
	return outcome{again: true, due: l.cfg.Now().Add(jitter(delay(l.cfg.BackoffMin, l.cfg.BackoffMax, st.conflicts-2)))}
}
