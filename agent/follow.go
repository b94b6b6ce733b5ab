package agent

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/omegacell/omegacell/cellstate"
)

// connected takes in a registration: the first one brings the ledger and the last report, later ones just a new session.
func (a *Agent) connected(ctx context.Context, reg registration) {
	a.disconnected, a.session = 0, reg.rev
	if a.retired.Load() { // it was on its way
		a.retire(ctx)
	} else {
		a.known.Store(true)
	}
	a.cfg.Metrics.epoch.WithLabelValues(a.cfg.Machine).Set(float64(reg.epoch))
	if a.epoch != 0 {
		a.log.Info("session made anew", zap.Uint64("epoch", reg.epoch))
		return
	}
	a.epoch = reg.epoch
	a.out.stored, a.out.rev = reg.report, reg.rev
	merge(a.holds, reg.report, cellstate.InstantOf(time.Now()))
	a.seeLedger(reg.ledger)
	for _, h := range a.holds {
		a.check(ctx, h)
	}
	a.work(func() { a.follow(ctx, reg.rev+1) })
	a.log.Info("registered", zap.Uint64("epoch", reg.epoch), zap.Int("claims", len(reg.ledger.Claims)))
}

// seeLedger takes in a ledger if it is newer than the one known.
func (a *Agent) seeLedger(l *cellstate.Ledger) {
	if a.ledger == nil || l.Rev > a.ledger.Rev {
		a.ledger = l
	}
}

// follow follows the ledger from a revision on, until ctx ends.
func (a *Agent) follow(ctx context.Context, from int64) {
	wait := newBackoff(a.cfg.Machine + " ledger")
	for ctx.Err() == nil {
		var err error
		for batch, werr := range a.cfg.Watch(ctx, a.cfg.Machine, from) {
			if err = werr; err != nil {
				break
			}
			wait.reset()
			from = batch.Rev + 1
			for _, e := range batch.Events {
				a.post(func() { a.ledgerChanged(ctx, e.Record) })
			}
		}
		if errors.Is(err, cellstate.ErrCompacted) {
			var l cellstate.Listing
			if l, err = a.cfg.Store.List(ctx, cellstate.LedgerKey(a.cfg.Machine).Only(), 0); err == nil {
				from = l.Rev + 1
				rec := cellstate.Record{Key: cellstate.LedgerKey(a.cfg.Machine), Rev: l.Rev}
				if len(l.Records) > 0 {
					rec = l.Records[0]
				}
				a.post(func() { a.ledgerChanged(ctx, rec) })
				continue
			}
		}
		if ctx.Err() == nil {
			a.log.Warn("ledger out of reach", zap.Error(err))
			wait.sleep(ctx)
		}
	}
}

// ledgerChanged takes in what stands at the ledger's key. One that cannot be read changes nothing: the tasks go on as last
// agreed. One that was deleted is made anew and empty: what has no claim has no right to run.
func (a *Agent) ledgerChanged(ctx context.Context, rec cellstate.Record) {
	switch l, ok := rec.Value.(*cellstate.Ledger); {
	case ok:
		a.seeLedger(l)
	case rec.Err != nil:
		a.cfg.Metrics.unreadable.Inc()
		a.log.Error("ledger cannot be read; tasks go on as last agreed", zap.Int64("rev", rec.Rev), zap.Error(rec.Err))
	case a.ledger == nil || rec.Rev > a.ledger.Rev:
		a.log.Error("ledger was deleted; making an empty one", zap.Int64("rev", rec.Rev))
		a.work(func() { a.makeLedger(ctx) })
	}
}

// makeLedger puts an empty ledger where there is none. The watch brings it.
func (a *Agent) makeLedger(ctx context.Context) {
	wait := newBackoff(a.cfg.Machine + " new ledger")
	for ctx.Err() == nil {
		_, err := a.cfg.Store.Swap(ctx, cellstate.Swap{
			Guards: []cellstate.Guard{{Key: cellstate.LedgerKey(a.cfg.Machine)}},
			Put:    []cellstate.Put{{Value: cellstate.NewLedger(a.cfg.Machine, a.cfg.Capacity)}},
		})
		if err == nil {
			return
		}
		a.log.Warn("ledger not made", zap.Error(err))
		wait.sleep(ctx)
	}
}
