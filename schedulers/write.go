package schedulers

import (
	"context"
	"errors"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/omegacell/omegacell/cellstate"
)

// write carries out what was decided about one job on one snapshot. The revision of everything it writes is noted, so that the
// job's next plan is made on a snapshot that shows it.
type write struct {
	loop   *Loop
	ctx    context.Context
	state  *jobState
	snap   cellstate.Snapshot // what it was decided on
	job    *cellstate.Job
	stored *cellstate.JobStatus   // as in the snapshot; nil: none
	why    *cellstate.Explanation // the planner's
	fence  cellstate.Fence
	now    cellstate.Instant
}

// commit sends what the plan adds, evicts and removes. Of a gang's plan, what makes no room for it goes first, by itself:
// whether the gang fits must not decide about that.
func (w *write) commit(p *Plan) (cellstate.Verdict, error) {
	if p.Mode == cellstate.AllOrNothing && len(p.Add) > 0 {
		var rest cellstate.Txn
		rest.Remove = p.Remove
		var room []cellstate.Evict
		for _, e := range p.Evict {
			if makesRoom(e) {
				room = append(room, e)
			} else {
				rest.Evict = append(rest.Evict, e)
			}
		}
		rest.Mode = cellstate.Incremental
		if v, err := w.send(&rest); err != nil || len(v.Conflicts) > 0 {
			return v, err
		}
		return w.send(&cellstate.Txn{Mode: cellstate.AllOrNothing, Add: p.Add, Evict: room})
	}
	return w.send(&cellstate.Txn{Mode: cellstate.Incremental, Add: p.Add, Evict: p.Evict, Remove: p.Remove})
}

// makesRoom reports whether an eviction is only of use together with a new claim.
func makesRoom(e cellstate.Evict) bool { return e.Eviction.By != (cellstate.ClaimID{}) }

// send sends one transaction, if there is anything in it.
func (w *write) send(t *cellstate.Txn) (cellstate.Verdict, error) {
	if len(t.Add)+len(t.Evict)+len(t.Remove) == 0 {
		return cellstate.Verdict{}, nil
	}
	cfg := &w.loop.cfg
	t.ID = cfg.Name + "/" + w.job.Name + "#" + strconv.FormatInt(w.snap.Rev(), 10)
	t.Scheduler, t.Rule = cfg.Name, cfg.Rule
	t.Basis, t.BasisRev = stored(w.snap), w.snap.Rev()
	t.Fence = &w.fence
	began := time.Now()
	v, err := cfg.Store.Commit(w.ctx, t)
	if errors.Is(err, cellstate.ErrUnknown) {
		w.state.unknown = t
	}
	if err == nil {
		w.state.minRev = max(w.state.minRev, v.Rev)
		cfg.Metrics.verdict(v, time.Since(began))
		cfg.Log.Debug("committed", zap.String("job", w.job.Name), zap.Int("added", len(t.Add)), zap.Int("evicted", len(t.Evict)),
			zap.Int("removed", len(t.Remove)), zap.Int("conflicts", len(v.Conflicts)), zap.Int64("rev", v.Rev))
	}
	return v, err
}

// addForeign makes the plan clear away what an earlier run of the job's name left.
func (w *write) addForeign(p *Plan) {
	for c := range w.snap.Claims(w.job.Scheduler, w.job.Name) {
		if c.Claim.ID.Run != w.job.Run {
			w.clear(p, c, "the job was submitted anew")
		}
	}
}

// clear ends a claim that nothing asks for any more, or removes it if it has ended or its machine is away.
func (w *write) clear(p *Plan, c cellstate.ClaimView, why string) {
	switch {
	case c.Claim.Ended || c.Machine.LostAt != 0:
		p.Remove = append(p.Remove, Ref(c))
	default:
		p.Stop(c, w.now, why)
	}
}

// clearAll clears away all claims of the job. It reports whether there were none; those that were asked to go before are there
// until they have.
func (w *write) clearAll(why string) (o outcome, none bool) {
	p := Plan{Mode: cellstate.Incremental}
	none = true
	for c := range w.snap.Claims(w.job.Scheduler, w.job.Name) {
		none = false
		w.clear(&p, c, why)
	}
	if none {
		return outcome{}, true
	}
	v, err := w.commit(&p)
	switch {
	case err != nil:
		return w.loop.failed(w.job.Name, w.state, err), false
	case len(v.Conflicts) > 0:
		return w.loop.again(w.state), false
	}
	w.state.failures = 0
	return outcome{}, false // again when the last of them goes
}

// clearOrphans clears away the claims of a job that is not there any more.
func (w *write) clearOrphans() outcome {
	o, _ := w.clearAll("the job was deleted")
	return o
}

// finished clears away what is left of a job that has ended, and deletes its records when they were kept long enough.
func (w *write) finished(job *Job) outcome {
	o, none := w.clearAll("the job has ended")
	if !none || w.loop.cfg.Retention < 0 {
		return o
	}
	if due := job.Status.UpdatedAt.Add(w.loop.cfg.Retention); due > w.now {
		return outcome{again: true, due: due}
	}
	_, err := w.loop.cfg.Store.Swap(w.ctx, cellstate.Swap{
		Guards: []cellstate.Guard{{Key: job.Key(), Rev: job.Rev}, {Key: job.Status.Key(), Rev: job.Status.Rev}},
		Delete: []cellstate.Key{job.Key(), job.Status.Key()},
	})
	if err != nil {
		w.loop.cfg.Log.Warn("old job not deleted", zap.String("job", job.Name), zap.Error(err))
		return outcome{again: true, due: w.now.Add(w.loop.cfg.Recheck)}
	}
	return outcome{} // deleted, or changed by somebody else, which makes it due
}
