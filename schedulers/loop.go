package schedulers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/omegacell/omegacell/cellstate"
)

// Config configures a Loop. Name, Planner, Store and Mirror are required; a zero in any other field means the default its
// comment states.
type Config struct {
	Name    string // of the scheduler, as jobs spell it
	Planner Planner
	Store   cellstate.Store
	Mirror  cellstate.Mirror

	Workers    int            // jobs planned and committed at a time; default 4
	Rule       cellstate.Rule // what counts as a conflict; default FitRule
	Attempts   int            // commits with conflicts in a row before a job is parked; default 8
	BackoffMin time.Duration  // wait after the first conflict; default 5ms
	BackoffMax time.Duration  // the wait doubles up to this; default 1s
	Recheck    time.Duration  // a parked job is planned again after this even if nothing changed; default 1m
	Retention  time.Duration  // a finished job is deleted after this; default 24h, never where negative
	Shards     uint32         // parts that jobs are hashed over, of a scheduler not registered yet; default 1
	Copies     uint32         // processes that share the shards; default 1, each a standby for all
	LeaseTTL   time.Duration  // after which a standby takes over from a dead leader; default 10s
	Holder     string         // names this process in leader keys; default "?"
	Limits     cellstate.Limits
	Seed       uint64 // of all choices; with the same seed, snapshot and job a plan is the same
	Now        func() cellstate.Instant
	Log        *zap.Logger
	Metrics    *Metrics // nil: its own, unregistered
}

func (c Config) withDefaults() (Config, error) {
	if err := cellstate.CheckName(c.Name); err != nil {
		return c, fmt.Errorf("schedulers: %w", err)
	}
	if c.Name == cellstate.Operator {
		return c, fmt.Errorf("schedulers: the name %q is the operators' own: %w", c.Name, cellstate.ErrInvalid)
	}
	if c.Planner == nil || c.Store == nil || c.Mirror == nil {
		return c, fmt.Errorf("schedulers: %s needs a planner, a store and a mirror: %w", c.Name, cellstate.ErrInvalid)
	}
	fill(&c.Workers, 4)
	fill(&c.Rule, cellstate.FitRule)
	fill(&c.Attempts, 8)
	fill(&c.BackoffMin, 5*time.Millisecond)
	fill(&c.BackoffMax, time.Second)
	fill(&c.Recheck, time.Minute)
	fill(&c.Retention, 24*time.Hour)
	fill(&c.Shards, 1)
	fill(&c.Copies, 1)
	fill(&c.LeaseTTL, 10*time.Second)
	fill(&c.Holder, "?")
	c.Limits = c.Limits.WithDefaults()
	if c.Now == nil {
		c.Now = func() cellstate.Instant { return cellstate.InstantOf(time.Now()) }
	}
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	if c.Metrics == nil {
		c.Metrics = NewMetrics(prometheus.NewRegistry(), c.Name)
	}
	return c, nil
}

func fill[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Loop runs one copy of a scheduler: it follows the cell, and whenever something about a job of its shards changes, plans the
// job and commits the plan.
//
// A job whose tasks cannot all be placed is parked: it leaves the queue until its own record or claims change, room appears
// on a machine that could take one of its tasks, or Recheck has passed. So is a job that lost Attempts commits in a row, or
// whose plan could not be carried out at all.
type Loop struct {
	cfg    Config
	agenda *agenda
	width  widths
	shards atomic.Pointer[shards] // nil until Run has registered the scheduler
}

// New returns a Loop that does nothing until Run.
func New(cfg Config) (*Loop, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Loop{cfg: cfg, agenda: newAgenda(&cfg)}, nil
}

// Run works until ctx is done; then it lets the commits under way finish, gives its shards up and returns nil. The mirror must
// be running.
func (l *Loop) Run(ctx context.Context) error {
	if _, err := l.cfg.Mirror.Wait(ctx, 1); err != nil {
		return ctxDone(ctx, err)
	}
	count, err := l.register(ctx)
	if err != nil {
		return ctxDone(ctx, err)
	}
	l.shards.Store(newShards(l, count))
	stop := l.cfg.Mirror.Observe(l.observe)
	defer stop()

	// Leadership outlasts the work: what is under way at the end would be refused without it.
	leading, resign := context.WithCancel(context.WithoutCancel(ctx))
	var leader, working sync.WaitGroup
	leader.Go(func() { l.shards.Load().run(leading) })
	work := make(chan taken)
	working.Go(func() { l.dispatch(ctx, work) })
	for range l.cfg.Workers {
		working.Go(func() { l.worker(ctx, work) })
	}
	working.Wait()
	resign()
	leader.Wait()
	return nil
}

// Leading counts the shards that this process leads.
func (l *Loop) Leading() int {
	if s := l.shards.Load(); s != nil {
		return s.leading()
	}
	return 0
}

// ctxDone makes an error that only says that ctx is done into none.
func ctxDone(ctx context.Context, err error) error {
	if ctx.Err() != nil && (errors.Is(err, ctx.Err()) || errors.Is(err, cellstate.ErrUnknown) || errors.Is(err, cellstate.ErrUnavailable)) {
		return nil
	}
	return err
}

// register makes the scheduler's record if there is none and returns its number of shards.
func (l *Loop) register(ctx context.Context) (uint32, error) {
	for backoff := (backoff{min: l.cfg.BackoffMin, max: l.cfg.BackoffMax}); ; {
		rec, err := cellstate.Get(ctx, l.cfg.Store, cellstate.SchedulerKey(l.cfg.Name))
		if err == nil && rec.Err != nil {
			return 0, fmt.Errorf("scheduler %s: its record cannot be read: %w", l.cfg.Name, rec.Err)
		}
		if err == nil && rec.Value != nil {
			return max(1, rec.Value.(*cellstate.Scheduler).Shards), nil
		}
		if err == nil {
			s := &cellstate.Scheduler{Name: l.cfg.Name, MaxPrecedence: cellstate.MaxPrecedence, Shards: l.cfg.Shards}
			_, err = l.cfg.Store.Swap(ctx, cellstate.Swap{
				Guards: []cellstate.Guard{{Key: s.Key()}}, Put: []cellstate.Put{{Value: s}},
			})
		}
		if err != nil {
			if errors.Is(err, cellstate.ErrInvalid) {
				return 0, err
			}
			l.cfg.Log.Warn("cannot register", zap.Error(err))
			if !backoff.wait(ctx) {
				return 0, ctx.Err()
			}
		}
	}
}

// taken is a job on its way from the agenda to a worker.
type taken struct {
	name  string
	state *jobState
}

// dispatch hands jobs that are due to the workers.
func (l *Loop) dispatch(ctx context.Context, work chan<- taken) {
	defer close(work)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		name, st, wait := l.agenda.take(l.cfg.Now())
		if st != nil {
			select {
			case work <- taken{name, st}:
			case <-ctx.Done():
				return
			}
			continue
		}
		timer.Reset(wait)
		select {
		case <-l.agenda.wake:
		case <-timer.C:
		case <-ctx.Done():
			return
		}
	}
}

// worker plans jobs until the dispatcher stops, and finishes the job it has.
func (l *Loop) worker(ctx context.Context, work <-chan taken) {
	for job := range work {
		o := l.pass(ctx, job.name, job.state)
		l.agenda.done(job.name, job.state, o, l.cfg.Now())
		queued, parked := l.agenda.size()
		l.cfg.Metrics.queued.Set(float64(queued))
		l.cfg.Metrics.parked.Set(float64(parked))
	}
}
