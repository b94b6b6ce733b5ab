package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/omegacell/omegacell/cellstate"
)

// ErrTaken says that another agent speaks for the machine. Run returns it at once when that one took over, and when it
// starts after waiting as long as the session of a crashed predecessor may live.
var ErrTaken = errors.New("another agent speaks for this machine")

// registration is what the cell holds of the machine once its agent is known there.
type registration struct {
	epoch  uint64
	rev    int64 // as of which all the rest is true
	ledger *cellstate.Ledger
	report *cellstate.Report
}

// keepSession holds a session for as long as ctx lasts: a lease, the registration under it, and again when the lease is lost.
func (a *Agent) keepSession(ctx context.Context) {
	wait := newBackoff(a.cfg.Machine)
	var epoch uint64
	var since time.Time // first seen that another agent's session stands in the way
	var other mine
	for ctx.Err() == nil && !a.retired.Load() {
		reg, lease, err := a.connect(ctx, epoch)
		if taken := new(takenError); errors.As(err, &taken) {
			if since.IsZero() {
				since, other = time.Now(), taken.by
				a.log.Info("waiting for the session of another agent to run out", zap.Error(err))
			}
			if epoch != 0 || other != taken.by || time.Since(since) >= a.cfg.TTL+a.cfg.TTL/5 {
				a.post(func() { a.fail = err })
				return
			}
			rest(ctx, a.cfg.TTL/10)
			continue
		}
		if err != nil {
			if ctx.Err() == nil {
				a.log.Warn("cell out of reach", zap.Error(err))
			}
			wait.sleep(ctx)
			continue
		}
		wait.reset()
		since = time.Time{}
		epoch = reg.epoch
		a.cfg.Metrics.sessions.WithLabelValues("made").Inc()
		a.post(func() { a.connected(ctx, reg) })
		why := a.holdSession(ctx, lease, reg.rev, wait)
		if ctx.Err() != nil {
			a.leave(context.WithoutCancel(ctx), lease, reg.rev)
			return
		}
		a.cfg.Metrics.sessions.WithLabelValues("lost").Inc()
		a.post(func() {
			a.disconnected = cellstate.InstantOf(time.Now())
			a.known.Store(false)
		})
		a.log.Warn("session lost", zap.String("why", why))
	}
}

// holdSession returns when the session is lost, and why, or when ctx is over. The lease tells when it has run out; that somebody
// deleted the session, or put another in its place, shows only by looking: once in one to three TTLs, or more seldom where many
// agents share the lease, which together look about 50 times in a TTL.
func (a *Agent) holdSession(ctx context.Context, lease cellstate.Lease, rev int64, wait *backoff) string {
	every := a.cfg.TTL
	if s, ok := lease.(*share); ok {
		every *= time.Duration(1 + s.sharers()/100)
	}
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-lease.Done():
			return "its lease ran out"
		case <-time.After(every + time.Duration(wait.rng.Int64N(int64(2*every)))):
			reading, cancel := context.WithTimeout(ctx, a.cfg.Timeout)
			rec, err := cellstate.Get(reading, a.cfg.Store, cellstate.SessionKey(a.cfg.Machine))
			cancel()
			if err == nil && rec.Rev != rev && !a.retired.Load() {
				a.giveUp(ctx, lease)
				return "somebody deleted or replaced it"
			}
		}
	}
	return ""
}

// leave gives up session and lease. The session says that the agent lives, so it goes when the agent goes, also where tasks go
// on: their jobs say how long that is accepted (DisconnectPolicy).
func (a *Agent) leave(ctx context.Context, lease cellstate.Lease, rev int64) {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.Timeout)
	defer cancel()
	if err := errors.Join(a.deleteSession(ctx, rev), lease.Close(ctx)); err != nil {
		a.log.Warn("session not closed: it runs out", zap.Error(err))
	}
}

// deleteSession deletes the session that rev wrote, and no other; by itself, since its lease may be shared.
func (a *Agent) deleteSession(ctx context.Context, rev int64) error {
	key := cellstate.SessionKey(a.cfg.Machine)
	_, err := a.cfg.Store.Swap(ctx, cellstate.Swap{Guards: []cellstate.Guard{{Key: key, Rev: rev}}, Delete: []cellstate.Key{key}})
	return err
}

// retire takes the session away for good, and has the loop stop all tasks once that is done: their schedulers, told of a
// task's end, would else place it here again, as often as it takes until the last one has ended.
func (a *Agent) retire(ctx context.Context) {
	a.retired.Store(true)
	a.known.Store(false)
	if a.disconnected != 0 {
		a.closing = true
		return
	}
	rev := a.session
	a.work(func() {
		ctx, cancel := context.WithTimeout(ctx, a.cfg.Timeout)
		defer cancel()
		if err := a.deleteSession(ctx, rev); err != nil {
			a.log.Warn("session not deleted before the tasks are stopped", zap.Error(err))
		}
		a.post(func() { a.closing = true })
	})
}

func (a *Agent) connect(ctx context.Context, epoch uint64) (registration, cellstate.Lease, error) {
	lease, err := a.cfg.Lease(ctx, a.cfg.TTL)
	if err != nil {
		return registration{}, nil, err
	}
	reg, err := a.register(ctx, lease.ID(), epoch)
	if s, ok := lease.(*share); ok {
		s.registered()
	}
	if err != nil {
		a.giveUp(ctx, lease)
		return registration{}, nil, err
	}
	return reg, lease, nil
}

// giveUp closes a lease that is of no use. One that is not closed runs out.
func (a *Agent) giveUp(ctx context.Context, lease cellstate.Lease) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.cfg.Timeout)
	defer cancel()
	if err := lease.Close(ctx); err != nil {
		a.log.Debug("lease not closed", zap.Error(err))
	}
}

// rest waits, or until ctx ends.
func rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

type takenError struct {
	machine string
	by      mine
	address string
}

func (e *takenError) Error() string {
	return fmt.Sprintf("machine %s: %v: epoch %d, since %s, at %q", e.machine, ErrTaken, e.by.Epoch, e.by.StartedAt, e.address)
}

func (e *takenError) Unwrap() error { return ErrTaken }

// standing is what stands in the cell about the machine.
type standing struct{ machine, ledger, report, session cellstate.Record }

// lookUp reads it, all at one revision, by a swap that cannot be: no record has a revision below 0.
func (a *Agent) lookUp(ctx context.Context) (standing, error) {
	var never cellstate.Swap
	for _, k := range []cellstate.Key{
		cellstate.MachineKey(a.cfg.Machine), cellstate.LedgerKey(a.cfg.Machine), cellstate.ReportKey(a.cfg.Machine), cellstate.SessionKey(a.cfg.Machine),
	} {
		never.Guards = append(never.Guards, cellstate.Guard{Key: k, Rev: -1})
	}
	res, err := a.cfg.Store.Swap(ctx, never)
	if err != nil {
		return standing{}, err
	}
	s := standing{machine: res.Now[0], ledger: res.Now[1], report: res.Now[2], session: res.Now[3]}
	if s.ledger.Err != nil {
		a.cfg.Metrics.unreadable.Inc()
		return s, fmt.Errorf("%s cannot be read, and only its schedulers know what is in it: %w", s.ledger.Key, s.ledger.Err)
	}
	return s, nil
}

// register writes the session, and at the agent's start (epoch 0) also machine, ledger and report, in one transaction.
func (a *Agent) register(ctx context.Context, lease int64, epoch uint64) (registration, error) {
	for range 100 {
		ctx, cancel := context.WithTimeout(ctx, a.cfg.Timeout)
		reg, ok, err := a.tryRegister(ctx, lease, epoch)
		cancel()
		if ok || err != nil {
			return reg, err
		}
	}
	return registration{}, &cellstate.OpError{Op: "register", On: a.cfg.Machine, Err: fmt.Errorf("lost 100 races: %w", cellstate.ErrUnavailable)}
}

func (a *Agent) tryRegister(ctx context.Context, lease int64, epoch uint64) (registration, bool, error) {
	have, err := a.lookUp(ctx)
	if err != nil {
		return registration{}, false, err
	}
	if s, _ := have.session.Value.(*cellstate.Session); s != nil {
		by := mine{s.Epoch, s.StartedAt}
		if by != (mine{a.attempt, a.started}) && by != a.before {
			return registration{}, false, &takenError{a.cfg.Machine, by, s.Address}
		}
	}
	report, _ := have.report.Value.(*cellstate.Report)
	if report == nil {
		report = &cellstate.Report{Machine: a.cfg.Machine}
	}
	if epoch != 0 && report.Epoch > epoch {
		return registration{}, false, &takenError{machine: a.cfg.Machine, by: mine{Epoch: report.Epoch}}
	}
	reg := registration{epoch: epoch}
	swap := cellstate.Swap{Guards: []cellstate.Guard{{Key: have.session.Key, Rev: have.session.Rev}}}
	put := func(rec cellstate.Record, v cellstate.Value) {
		swap.Guards = append(swap.Guards, cellstate.Guard{Key: rec.Key, Rev: rec.Rev})
		swap.Put = append(swap.Put, cellstate.Put{Value: v})
	}
	if epoch == 0 {
		reg.epoch = max(report.Epoch, a.before.Epoch) + 1
		reg.report = &cellstate.Report{Machine: a.cfg.Machine, Epoch: reg.epoch, Claims: report.Claims}
		put(have.report, reg.report)
		if m, changed := a.describe(have.machine); changed {
			put(have.machine, m)
		}
		ledger, _ := have.ledger.Value.(*cellstate.Ledger)
		switch {
		case ledger == nil:
			reg.ledger = cellstate.NewLedger(a.cfg.Machine, a.cfg.Capacity)
			put(have.ledger, reg.ledger)
		case !ledger.Capacity.Equal(a.cfg.Capacity):
			reg.ledger = ledger.Clone()
			reg.ledger.Capacity = a.cfg.Capacity
			reg.ledger.Sum()
			put(have.ledger, reg.ledger)
		default: // guarded, so that the watch can begin right after this transaction
			reg.ledger = ledger
			swap.Guards = append(swap.Guards, cellstate.Guard{Key: have.ledger.Key, Rev: have.ledger.Rev})
		}
		if err := a.shelf.setSession(mine{reg.epoch, a.started}); err != nil {
			return registration{}, false, err
		}
	}
	a.attempt = reg.epoch // it may be in effect, whatever is heard of it
	swap.Put = append(swap.Put, cellstate.Put{Lease: lease, Value: &cellstate.Session{
		Machine: a.cfg.Machine, Epoch: reg.epoch, Address: a.cfg.Address, Version: a.cfg.Version,
		Drivers: []string{a.cfg.Driver.Name()}, StartedAt: a.started,
	}})
	res, err := a.cfg.Store.Swap(ctx, swap)
	if err != nil || !res.OK {
		return registration{}, false, err
	}
	reg.rev = res.Rev
	if epoch == 0 && have.ledger.Rev != 0 && reg.ledger == have.ledger.Value {
		reg.ledger = cellstate.WithRev(reg.ledger, have.ledger.Rev).(*cellstate.Ledger)
	} else if epoch == 0 {
		reg.ledger = cellstate.WithRev(reg.ledger, res.Rev).(*cellstate.Ledger)
	}
	return reg, true, nil
}

// describe returns the machine's record as it should be, and whether it differs from what stands there.
func (a *Agent) describe(have cellstate.Record) (*cellstate.Machine, bool) {
	m := &cellstate.Machine{Name: a.cfg.Machine, Attributes: a.cfg.Attributes, Domains: a.cfg.Domains}
	old, _ := have.Value.(*cellstate.Machine)
	if old == nil {
		return m, true
	}
	m.Labels = old.Labels
	if len(m.Domains) == 0 {
		m.Domains = old.Domains
	}
	return m, !maps.Equal(m.Attributes, old.Attributes) || !slices.Equal(m.Domains, old.Domains)
}
