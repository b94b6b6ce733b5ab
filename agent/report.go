package agent

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/omegacell/omegacell/cellstate"
)

// outbox is what is known of the report in the cell, and of the way there.
type outbox struct {
	stored  *cellstate.Report // as it stands in the cell, as far as known; nil until registered
	rev     int64             // revision of stored
	writing bool              // a write is under way
	idle    bool              // nothing is to be written
	at      cellstate.Instant // of the last write
	gone    cellstate.Instant // since when stored names a claim that is to be named no more; 0: it does not
	fresh   cellstate.Instant // since when stored lacks a claim that is to be started; 0: it does not
	retry   cellstate.Instant // no write before, after an error
	wait    *backoff
	shown   []cellstate.ClaimStatus // what Metrics counts
}

// flush writes the report if it differs from what stands in the cell: at once if a claim has come to its end, else no more
// often than ReportEvery, and when the difference has waited for as long as it may: see patience. It returns when it has to be
// called again.
func (a *Agent) flush(ctx context.Context, now cellstate.Instant) cellstate.Instant {
	r := &cellstate.Report{Machine: a.cfg.Machine, Epoch: a.epoch, Claims: make([]cellstate.ClaimStatus, 0, len(a.holds))}
	var ends []cellstate.ClaimID
	for id, h := range a.holds {
		r.Claims = append(r.Claims, h.Status)
		if h.Status.Phase == cellstate.PhaseEnded && a.ledger != nil {
			if c := a.ledger.Find(id); c != nil && !c.Ended {
				ends = append(ends, id)
			}
		}
	}
	slices.SortFunc(r.Claims, func(x, y cellstate.ClaimStatus) int { return x.ID.Compare(y.ID) })
	slices.SortFunc(ends, cellstate.ClaimID.Compare)
	a.cfg.Metrics.phases(a.out.shown, r.Claims)
	a.out.shown = r.Claims
	a.current.Store(r)

	o := &a.out
	if o.idle = len(ends) == 0 && o.stored != nil && slices.Equal(r.Claims, o.stored.Claims) && !o.writing; o.idle || o.stored == nil || o.writing {
		return cellstate.Forever
	}
	due := o.retry
	if len(ends) == 0 {
		due = max(due, o.at.Add(a.cfg.ReportEvery))
		if !a.closing {
			due = max(due, o.patience(r.Claims, a.cfg.ReportEvery, now))
		}
	}
	if due > now {
		return due
	}
	o.writing, o.at, o.gone, o.fresh = true, now, 0, 0
	ledger, rev := a.ledger, o.rev
	a.work(func() {
		w, err := a.write(ctx, r, rev, ledger, ends, now)
		a.post(func() { a.written(w, err) })
	})
	return cellstate.Forever
}

// forgotten is how long the report may go on naming claims that are gone from the ledger. Their schedulers have read how they
// ended, or ended them; nobody waits for this, and mostly another write comes first.
const forgotten = 30 * time.Second

// difference says what kinds of differences there are between two reports.
type difference struct {
	gone  bool // a claim is not named any more
	fresh bool // a claim's first start is to come or under way
	other bool
}

// differ compares two reports, both by ID.
func differ(was, is []cellstate.ClaimStatus) (d difference) {
	for len(was) > 0 || len(is) > 0 {
		order := -1
		if len(was) == 0 {
			order = 1
		} else if len(is) > 0 {
			order = was[0].ID.Compare(is[0].ID)
		}
		if order < 0 {
			d.gone, was = true, was[1:]
			continue
		}
		if s := &is[0]; order > 0 || was[0] != *s {
			first := s.Phase == cellstate.PhasePending || s.Phase == cellstate.PhaseStarting && s.Restarts == 0
			if first && s.Message == "" {
				d.fresh = true
			} else {
				d.other = true
			}
		}
		if is = is[1:]; order == 0 {
			was = was[1:]
		}
	}
	return d
}

// patience returns when the report has to be written for its difference from what is stored, if nothing else comes before. A
// first start waits until it is over, for as long as there would be no second report anyway: so most tasks cost two writes,
// one when they run and one when they end.
func (o *outbox) patience(is []cellstate.ClaimStatus, every time.Duration, now cellstate.Instant) cellstate.Instant {
	d := differ(o.stored.Claims, is)
	due := cellstate.Forever
	wait := func(kind bool, since *cellstate.Instant, most time.Duration) {
		if !kind {
			*since = 0
			return
		}
		if *since == 0 {
			*since = now
		}
		due = min(due, since.Add(most))
	}
	wait(d.gone, &o.gone, forgotten)
	wait(d.fresh, &o.fresh, every)
	if d.other {
		due = 0
	}
	return due
}

// written is what came of a write: what stands in the cell now. A nil field was not learnt.
type written struct {
	ok     bool
	report *cellstate.Report
	rev    int64 // of report
	ledger *cellstate.Ledger
}

// write writes the report and, in the same transaction, marks claims ended in the ledger (I5): whoever sees one sees the
// other. A lost race is no error; it brings what stands there now.
func (a *Agent) write(ctx context.Context, r *cellstate.Report, rev int64, l *cellstate.Ledger, ends []cellstate.ClaimID, now cellstate.Instant) (written, error) {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.Timeout)
	defer cancel()
	s := cellstate.Swap{Guards: []cellstate.Guard{{Key: r.Key(), Rev: rev}}, Put: []cellstate.Put{{Value: r}}}
	marked := l
	if len(ends) > 0 {
		marked = l.MarkEnded(ends, now)
		s.Guards = append(s.Guards, cellstate.Guard{Key: l.Key(), Rev: l.Rev})
		s.Put = append(s.Put, cellstate.Put{Value: marked})
	}
	res, err := a.cfg.Store.Swap(ctx, s)
	if errors.Is(err, cellstate.ErrUnknown) {
		return a.look(ctx)
	}
	if err != nil {
		return written{}, err
	}
	if !res.OK {
		return standingNow(res.Now), nil
	}
	w := written{ok: true, report: r, rev: res.Rev}
	if len(ends) > 0 {
		w.ledger = cellstate.WithRev(marked, res.Rev).(*cellstate.Ledger)
	}
	return w, nil
}

// look settles a write of unknown outcome: the cell itself tells.
func (a *Agent) look(ctx context.Context) (written, error) {
	var now []cellstate.Record
	for _, k := range []cellstate.Key{cellstate.ReportKey(a.cfg.Machine), cellstate.LedgerKey(a.cfg.Machine)} {
		rec, err := cellstate.Get(ctx, a.cfg.Store, k)
		if err != nil {
			return written{}, err
		}
		now = append(now, rec)
	}
	return standingNow(now), nil
}

// standingNow reads a report and, behind it, perhaps a ledger. One that is not there or cannot be read is empty.
func standingNow(recs []cellstate.Record) written {
	w := written{rev: recs[0].Rev}
	if w.report, _ = recs[0].Value.(*cellstate.Report); w.report == nil {
		w.report = new(cellstate.Report)
	}
	if len(recs) > 1 {
		w.ledger, _ = recs[1].Value.(*cellstate.Ledger)
	}
	return w
}

// written takes in what came of a write.
func (a *Agent) written(w written, err error) {
	o := &a.out
	o.writing = false
	switch {
	case err != nil:
		a.cfg.Metrics.writes.WithLabelValues("error").Inc()
		o.retry = cellstate.InstantOf(time.Now().Add(o.wait.duration()))
		a.log.Warn("report not written", zap.Error(err))
		return
	case w.ok:
		a.cfg.Metrics.writes.WithLabelValues("ok").Inc()
		o.retry = 0
		o.wait.reset()
	default:
		a.cfg.Metrics.writes.WithLabelValues("raced").Inc()
	}
	if w.report.Epoch > a.epoch {
		a.fail = &takenError{machine: a.cfg.Machine, by: mine{Epoch: w.report.Epoch}}
		return
	}
	o.stored, o.rev = w.report, w.rev
	if w.ledger != nil {
		a.seeLedger(w.ledger)
	}
}
