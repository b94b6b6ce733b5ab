package agent

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/omegacell/omegacell/cellstate"
)

// Agent speaks for one machine. All that decides is done by one goroutine, the loop in Run, which owns every field below
// its line; what blocks is done by others, which post what came of it.
type Agent struct {
	cfg     Config
	log     *zap.Logger
	started cellstate.Instant
	shelf   *shelf
	before  mine   // the session of the agent's earlier process
	attempt uint64 // epoch of the session written last, or tried to; keepSession's own
	inbox   chan func()
	done    chan struct{} // closed when the loop has ended
	workers sync.WaitGroup
	current atomic.Pointer[cellstate.Report] // as it should be; for Logs
	known   atomic.Bool                      // there is a session; for Connected
	retired atomic.Bool                      // there is to be none any more

	// The loop's own.
	holds        map[cellstate.ClaimID]*Hold
	checks       map[cellstate.ClaimID]context.CancelFunc // running health checks
	ledger       *cellstate.Ledger                        // nil until registered
	epoch        uint64                                   // 0 until registered
	session      int64                                    // revision that wrote the session
	disconnected cellstate.Instant                        // 0 while there is a session
	out          outbox
	fail         error // ends Run
	closing      bool  // StopTasks, and Run is to end
}

// New makes an agent. Nothing happens before Run.
func New(cfg Config) (*Agent, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Agent{
		cfg: cfg, log: cfg.Log, inbox: make(chan func()), done: make(chan struct{}),
		holds: make(map[cellstate.ClaimID]*Hold), checks: make(map[cellstate.ClaimID]context.CancelFunc),
		out: outbox{wait: newBackoff(cfg.Machine + " report")},
	}, nil
}

// Run speaks for the machine until ctx ends, which is no error. It is called once. It returns [ErrTaken] when another agent
// does, and an error when the driver or the state directory cannot be used; tasks go on in both cases.
func (a *Agent) Run(ctx context.Context) error {
	a.started = cellstate.InstantOf(time.Now())
	a.disconnected = a.started
	var err error
	if a.shelf, err = openShelf(a.cfg.StateDir); err != nil {
		return err
	}
	defer func() {
		if err := a.shelf.close(); err != nil {
			a.log.Warn("state not closed", zap.Error(err))
		}
	}()
	a.before = a.shelf.session()
	if err := a.recover(ctx); err != nil {
		return err
	}
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	a.work(func() { a.keepSession(work) })
	a.loop(ctx, work)
	cancel()
	close(a.done)
	a.workers.Wait()
	a.log.Info("agent ended", zap.Int("running", a.running()))
	a.cfg.Metrics.phases(a.out.shown, nil)
	a.cfg.Metrics.epoch.DeleteLabelValues(a.cfg.Machine)
	return a.fail
}

// running counts the claims with a process. It is for the loop, and for after its end.
func (a *Agent) running() int {
	n := 0
	for _, h := range a.holds {
		if h.live() {
			n++
		}
	}
	return n
}

// Connected reports whether the agent has a session in the cell.
func (a *Agent) Connected() bool { return a.known.Load() }

// loop goes on until ctx ends, and with StopTasks until all tasks have too. What it starts lives as long as work.
func (a *Agent) loop(ctx, work context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	stop, giveUp := ctx.Done(), (<-chan time.Time)(nil)
	for a.fail == nil {
		wake := a.step(work)
		if a.closing && a.drained() {
			a.clear(work)
			return
		}
		if wake == cellstate.Forever {
			timer.Stop()
		} else {
			timer.Reset(max(0, time.Until(wake.Time())))
		}
		select {
		case f := <-a.inbox:
			f()
		case t := <-a.cfg.Driver.Events():
			a.ended(t)
		case <-timer.C:
		case <-stop:
			if !a.cfg.StopTasks {
				return
			}
			stop = nil
			a.retire(work)
			t := time.NewTimer(a.cfg.StopTimeout)
			defer t.Stop()
			giveUp = t.C
		case <-giveUp:
			a.log.Error("gave up waiting for tasks to end")
			return
		}
	}
}

// work runs f beside the loop.
func (a *Agent) work(f func()) {
	a.workers.Add(1)
	go func() {
		defer a.workers.Done()
		f()
	}()
}

// post has the loop call f, unless it has ended.
func (a *Agent) post(f func()) {
	select {
	case a.inbox <- f:
	case <-a.done:
	}
}

// step decides, does what was decided, and reports. It returns when to do so again at the latest.
func (a *Agent) step(ctx context.Context) cellstate.Instant {
	start := time.Now()
	now := cellstate.InstantOf(start)
	if a.ledger != nil {
		for i := range a.ledger.Claims {
			if c := &a.ledger.Claims[i]; a.holds[c.ID] == nil {
				a.holds[c.ID] = &Hold{Status: cellstate.ClaimStatus{ID: c.ID, Phase: cellstate.PhasePending}}
			}
		}
	}
	actions, wake := Reconcile(Situation{Ledger: a.ledger, Holds: a.holds, Disconnected: a.disconnected, Closing: a.closing}, now)
	a.cfg.Metrics.reconciles.Observe(time.Since(start).Seconds())
	for _, act := range actions {
		a.do(ctx, act, now)
	}
	return min(wake, a.flush(ctx, now))
}

// do carries out one action, or starts what does.
func (a *Agent) do(ctx context.Context, act Action, now cellstate.Instant) {
	h := a.holds[act.ID]
	switch act.Do {
	case DoFetch:
		h.Asked = true
		c := *a.ledger.Find(act.ID)
		a.work(func() { a.fetch(ctx, &c) })
	case DoStart:
		h.Busy, h.Status.Phase, h.Status.Message = true, cellstate.PhaseStarting, ""
		h.Status.Health, h.Status.Restarts = cellstate.HealthUnknown, act.Restart
		a.start(ctx, h, act.Restart)
	case DoStop:
		a.uncheck(act.ID)
		if h.Stopped, h.Restop = true, false; act.Why != "" {
			h.Status.Message = act.Why
		}
		h.Status.Phase = cellstate.PhaseStopping
		a.log.Info("stopping task", zap.Stringer("claim", act.ID), zap.String("why", h.Status.Message))
		a.call(ctx, act.ID, "stop", a.cfg.Driver.Stop, func(h *Hold, err error) { h.Restop = err != nil })
	case DoEnd:
		a.end(h, &act.End)
	case DoForget, DoDrop:
		a.forget(ctx, act.ID, h, act.Do == DoDrop)
	}
}

// call makes one call of the driver beside the loop, and puts off the next one if it fails.
func (a *Agent) call(ctx context.Context, id cellstate.ClaimID, what string, f func(context.Context, cellstate.ClaimID) error, then func(*Hold, error)) {
	a.work(func() {
		err := f(context.WithoutCancel(ctx), id)
		a.post(func() {
			h := a.holds[id]
			if h == nil {
				return
			}
			if then(h, err); err != nil {
				h.RetryAt = cellstate.InstantOf(time.Now().Add(callAgain))
				a.log.Warn(what+" failed", zap.Stringer("claim", id), zap.Error(err))
			}
		})
	})
}

// callAgain is the wait before a call of the driver, or a read of a job, that failed is repeated.
const callAgain = time.Second

// forget has the driver clear away what is left of an ended task; with drop the agent forgets the claim too.
func (a *Agent) forget(ctx context.Context, id cellstate.ClaimID, h *Hold, drop bool) {
	if !h.Kept {
		a.drop(id, drop)
		return
	}
	h.Asked = true
	a.call(ctx, id, "forget", a.cfg.Driver.Forget, func(h *Hold, err error) {
		h.Asked = false
		if err == nil {
			h.Kept = false
			a.drop(id, drop)
		}
	})
}

func (a *Agent) drop(id cellstate.ClaimID, whole bool) {
	if err := a.shelf.drop(id); err != nil {
		a.log.Warn("order not removed", zap.Stringer("claim", id), zap.Error(err))
	}
	if whole {
		delete(a.holds, id)
	}
}

// fetch reads a claim's job and makes its order.
func (a *Agent) fetch(ctx context.Context, c *cellstate.Claim) {
	reading, cancel := context.WithTimeout(ctx, a.cfg.Timeout)
	defer cancel()
	job, err := a.cfg.Jobs.For(reading, c)
	var order *Order
	if err == nil {
		order = NewOrder(c, job)
		err = a.refuse(order)
	}
	a.post(func() {
		h := a.holds[c.ID]
		switch {
		case h == nil:
			return
		case err == nil:
			h.Order = order
			a.check(ctx, h)
		case isInvalid(err):
			h.Failed = clip(err.Error())
		default:
			h.RetryAt = cellstate.InstantOf(time.Now().Add(callAgain))
			a.log.Warn("job not read", zap.Stringer("claim", c.ID), zap.Error(err))
		}
		h.Asked = false
	})
}
