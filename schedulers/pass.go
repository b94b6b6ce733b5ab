package schedulers

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/omegacell/omegacell/cellstate"
)

// patience bounds one write, also while the loop stops: the outcome of what was sent should be known.
const patience = 10 * time.Second

// pass plans one job once and carries the plan out.
func (l *Loop) pass(ctx context.Context, name string, st *jobState) outcome {
	began := time.Now()
	defer func() { l.cfg.Metrics.busy.Add(time.Since(began).Seconds()) }()

	// The fence before the snapshot: one that was taken before this leadership began would not show what others did.
	fence, ours := l.shards.Load().fence(name)
	if !ours {
		return outcome{} // planned again when its shard is won
	}
	if err := l.catchUp(ctx, st, fence); err != nil {
		return l.failed(name, st, err)
	}
	if bad, err := l.unreadable(ctx, name); err != nil {
		return l.failed(name, st, err)
	} else if bad {
		l.cfg.Log.Error("job left alone: its record or its status cannot be read", zap.String("job", name))
		return outcome{again: true, due: l.cfg.Now().Add(l.cfg.Recheck)}
	}
	snap, err := l.cfg.Mirror.Wait(ctx, max(st.minRev, fence.CreateRev))
	if err != nil {
		return outcome{} // ctx is done: the loop stops
	}
	l.cfg.Metrics.stale.Observe(time.Since(began).Seconds())
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	w := &write{loop: l, ctx: ctx, state: st, snap: snap, fence: fence, now: l.cfg.Now()}
	job, status, ok := snap.Job(l.cfg.Name, name)
	if !ok {
		w.job = &cellstate.Job{Scheduler: l.cfg.Name, Name: name}
		return w.clearOrphans()
	}
	w.job, w.stored = job, status
	return w.pass()
}

// pass plans the job and carries the plan out: the status first, then the claims.
func (w *write) pass() outcome {
	l, st := w.loop, w.state
	job := Job{Job: w.job, Now: w.now, Width: l.width.now(), Limits: l.cfg.Limits, Status: freshStatus(w.job)}
	if w.stored != nil && w.stored.Run == w.job.Run {
		job.Status = *w.stored
	}
	if job.Status.Phase.Final() && job.Status.Version == w.job.Version {
		return w.finished(&job)
	}
	if st.plans == 0 && w.firstLook() {
		l.cfg.Metrics.wait.Observe(w.now.Sub(w.job.SubmittedAt).Seconds())
	}
	plan := l.plan(w.snap, job, st.plans)
	st.plans++
	w.addForeign(&plan)
	l.hold(w.snap, &job, &plan, st)

	if !w.status(&job, &plan) {
		return l.again(st)
	}
	refused := st.refused != ""
	st.refused = "" // the status says it now
	verdict, err := w.commit(&plan)
	if refused && errors.Is(err, cellstate.ErrInvalid) { // what is wrong is not what was taken out: nothing more can be done
		st.behind = true
		return w.next(&job, &plan)
	}
	if err != nil {
		return l.failed(w.job.Name, st, err)
	}
	if len(verdict.Conflicts) > 0 {
		return l.conflicted(st, verdict)
	}
	st.conflicts, st.failures = 0, 0
	l.width.record(0, len(plan.Add))
	return w.next(&job, &plan)
}

// next is when to plan the job again after all of a plan was done that can be.
func (w *write) next(job *Job, p *Plan) outcome {
	cfg := &w.loop.cfg
	var o outcome
	if p.Explanation != nil {
		p.LookAgain(w.now.Add(cfg.Recheck))
		o.need = needOf(job)
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
	return nil
}

// unreadable reports whether the job's record or status is in the cell and cannot be read. A mirror that never saw a readable
// version shows none; taking that for a deleted job would end its tasks, or for a new one run them again.
func (l *Loop) unreadable(ctx context.Context, name string) (bool, error) {
	m, ok := l.cfg.Mirror.(interface{ Quarantined() map[string]error })
	if !ok {
		return false, nil
	}
	suspect := false
	for key := range m.Quarantined() {
		suspect = suspect || strings.Contains(key, name)
	}
	if !suspect {
		return false, nil
	}
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
	l.cfg.Metrics.retries.Inc()
	if st.conflicts == 1 {
		return outcome{again: true}
	}
	return outcome{again: true, due: l.cfg.Now().Add(jitter(delay(l.cfg.BackoffMin, l.cfg.BackoffMax, st.conflicts-2)))}
}
