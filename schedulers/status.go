package schedulers

import (
	"reflect"
	"time"

	"go.uber.org/zap"

	"github.com/omegacell/omegacell/cellstate"
)

// explainEvery bounds how often a status is written again only because one explanation in it takes the place of another.
const explainEvery = 2 * time.Second

// news returns what the plan makes of the job's status, and whether that says something new.
func (w *write) news(job *Job, p *Plan) (next cellstate.JobStatus, news bool) {
	next = p.Status
	next.Scheduler, next.Job, next.Run, next.Version = job.Scheduler, job.Name, job.Run, job.Version
	next.Explanation = p.Explanation
	switch {
	case w.stored == nil && sameStatus(&next, &job.Status):
		return next, false // nothing to say yet
	case w.stored != nil && sameStatus(&next, w.stored):
		return next, false
	case w.stored != nil && w.stored.Explanation != nil && next.Explanation != nil && onlyExplanation(&next, w.stored):
		if soonest := w.stored.UpdatedAt.Add(explainEvery); w.now < soonest {
			p.LookAgain(soonest)
			return next, false
		}
	}
	return next, true
}

// status writes a status, guarded by the one it was planned on and by our leadership. It returns false where somebody else
// wrote meanwhile or the write failed.
//
// A job that becomes final gives its quota back in the same write, so it is given back once (I7).
func (w *write) status(job *Job, next cellstate.JobStatus) bool {
	next.UpdatedAt = w.now
	next.Rev = 0
	swap := cellstate.Swap{
		Guards: []cellstate.Guard{{Key: next.Key()}, {Key: job.Key(), Rev: job.Rev}, {Key: w.fence.Key, Rev: w.fence.CreateRev}},
		Put:    []cellstate.Put{{Value: &next}},
	}
	if w.stored != nil {
		swap.Guards[0].Rev = w.stored.Rev
	}
	if next.Phase.Final() {
		w.release(job, &swap)
	}
	got, err := w.loop.cfg.Store.Swap(w.ctx, swap)
	if err != nil {
		w.loop.cfg.Log.Warn("status not written", zap.String("job", job.Name), zap.Error(err))
		return false
	}
	w.state.minRev = max(w.state.minRev, got.Rev)
	if got.OK {
		w.tell(&next)
	}
	return got.OK
}

// tell logs what an operator wants to hear of a status that was written: that a job has ended, or begins or ceases to wait.
func (w *write) tell(s *cellstate.JobStatus) {
	log, waited := w.loop.cfg.Log, w.stored != nil && w.stored.Explanation != nil
	job := zap.String("job", s.Job)
	switch {
	case s.Phase.Final():
		log.Info("job ended", job, zap.Stringer("phase", s.Phase), zap.String("message", s.Message))
	case s.Explanation != nil && !waited:
		log.Info("job waits", job, zap.Uint32("tasks", s.Explanation.Unplaced), zap.String("unblock", s.Explanation.Unblock))
	case s.Explanation == nil && waited:
		log.Info("job waits no more", job)
	}
}

// release makes the write give back what was admitted for the job. A tenant without a record is guarded too: whoever gives it
// a quota meanwhile counts the job among those that are not final.
func (w *write) release(job *Job, swap *cellstate.Swap) {
	name := job.Tenant
	if name == "" {
		name = cellstate.DefaultTenant
	}
	t, ok := w.snap.Tenant(name)
	if !ok {
		swap.Guards = append(swap.Guards, cellstate.Guard{Key: cellstate.TenantKey(name)})
		return
	}
	swap.Guards = append(swap.Guards, cellstate.Guard{Key: t.Key(), Rev: t.Rev})
	if released := t.Release(job.Precedence, job.Demand()); released != t {
		swap.Put = append(swap.Put, cellstate.Put{Value: released})
	}
}

// sameStatus reports whether two statuses say the same to who reads the ledgers too.
func sameStatus(a, b *cellstate.JobStatus) bool {
	return onlyExplanation(a, b) && sameExplanation(a.Explanation, b.Explanation)
}

// onlyExplanation reports whether two statuses differ in nothing but the explanation and what can be read off the ledgers.
func onlyExplanation(a, b *cellstate.JobStatus) bool {
	x, y := *a, *b
	for _, s := range []*cellstate.JobStatus{&x, &y} {
		s.Rev, s.Running, s.Placed, s.UpdatedAt, s.Explanation = 0, 0, 0, 0, nil
		if s.Phase == cellstate.JobRunning {
			s.Phase = cellstate.JobPending
		}
		if len(s.Done) == 0 {
			s.Done = nil
		}
		if len(s.Tasks) == 0 {
			s.Tasks = nil
		}
	}
	return reflect.DeepEqual(x, y)
}

func sameExplanation(a, b *cellstate.Explanation) bool {
	if a == nil || b == nil {
		return a == b
	}
	x, y := *a, *b
	for _, e := range []*cellstate.Explanation{&x, &y} {
		e.At, e.Rev, e.Attempts = 0, 0, 0
	}
	return reflect.DeepEqual(x, y)
}
