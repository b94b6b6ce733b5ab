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

	Workers    int            // jobs planned at a time; default 1. More help a planner that thinks for long
	InFlight   int            // jobs whose plans are being carried out at a time at most; fewer of many tasks, and under contention; default 256
	Rule       cellstate.Rule // what counts as a conflict; default FitRule
	Attempts   int            // commits with conflicts in a row before a job is parked; default 8
	BackoffMin time.Duration  // wait after the first conflict; default 5ms
	BackoffMax time.Duration  // the wait doubles up to this; default 1s
	MaxAge     time.Duration  // nothing is planned on a mirror that has not heard from the cell for longer; default 10s, none where negative
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
	fill(&c.Workers, 1)
	fill(&c.InFlight, 256)
	fill(&c.Rule, cellstate.FitRule)
	fill(&c.Attempts, 8)
	fill(&c.BackoffMin, 5*time.Millisecond)
	fill(&c.BackoffMax, time.Second)
	fill(&c.MaxAge, 10*time.Second)
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
// Planning is a matter of microseconds, and a commit waits for a disk: so the loop does not wait. It plans one job after the
// other, each on the newest snapshot with everything drawn in that it has in flight, and hands the plans to the store side by
// side. A job is not planned while something of its own is in flight.
//
// A job whose tasks cannot all be placed is parked: it leaves the queue until its own record or claims change, room appears
// on a machine that could take one of its tasks, or Recheck has passed. So is a job that lost Attempts commits in a row, or
// whose plan could not be carried out at all. When room appears, of jobs that ask for the same the one submitted first tries,
// and each that finds a place lets the next one try.
type Loop struct {
	cfg     Config
	agenda  *agenda
	flights *flights
	width   widths
	shards  atomic.Pointer[shards] // nil until Run has registered the scheduler
	window  *window                // a place for each job in a worker's hands or in flight, and more for large ones
	blind   atomic.Bool            // the mirror is too old to plan on
}

// New returns a Loop that does nothing until Run.
func New(cfg Config) (*Loop, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Loop{
		cfg: cfg, agenda: newAgenda(&cfg), flights: newFlights(cfg.Rule, cfg.Limits), window: newWindow(cfg.InFlight),
	}, nil
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
	for range l.cfg.Workers {
		working.Go(func() { l.work(ctx, &working) })
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

// work plans jobs one after the other until ctx is done. What is left to do for a job after that runs beside it, in carrying.
func (l *Loop) work(ctx context.Context, carrying *sync.WaitGroup) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if !l.window.enter(ctx) { // before a job is taken, so that it is planned on what is known when there is room for it
			return
		}
		name, st, ok := l.next(ctx, timer)
		if !ok {
			l.window.leave(1)
			return
		}
		began := time.Now()
		o, rest := l.begin(ctx, name, st)
		took := time.Since(began)
		l.cfg.Metrics.busy.Add(took.Seconds())
		// Of a job that takes long to plan, changes are gathered, so that they do not take all of a worker's time: with 100,000
		// tasks that end one by one the work would grow with their square.
		st.notBefore = 0
		if took >= time.Millisecond {
			st.notBefore = l.cfg.Now().Add(took)
		}
		if rest == nil {
			l.finish(name, st, o, 1)
			continue
		}
		slots := l.fill(st.flight)
		carrying.Go(func() { l.finish(name, st, rest(ctx), slots) })
	}
}

// claimsOfSlot is how many claims in flight take as much as a job does. With ten claims to a job, more than some five hundred
// in flight from one loop cost more, in transactions of its own and of others that meet on a machine, than they save in waiting.
const claimsOfSlot = 2

// fill takes further slots for a flight of many claims, as far as there are any: the next job waits. It returns how many the job
// has in all.
func (l *Loop) fill(f *flight) int {
	slots := 1
	if f == nil {
		return slots
	}
	for want := len(f.claims) / claimsOfSlot; slots < want && l.window.tryEnter(); slots++ {
	}
	return slots
}

// finish gives a job back to the agenda, and its slots.
func (l *Loop) finish(name string, st *jobState, o outcome, slots int) {
	queued, parked := l.agenda.done(name, st, o, l.cfg.Now())
	l.cfg.Metrics.queued.Set(float64(queued))
	l.cfg.Metrics.parked.Set(float64(parked))
	l.window.leave(slots)
}

// next waits for a job that is due, and for a mirror to plan it on; ok is false when ctx is done first.
func (l *Loop) next(ctx context.Context, timer *time.Timer) (name string, st *jobState, ok bool) {
	for ctx.Err() == nil {
		wait := max(time.Millisecond, l.cfg.MaxAge/10)
		if !l.stale() {
			if name, st, wait = l.agenda.take(l.cfg.Now()); st != nil {
				return name, st, true
			}
		}
		timer.Reset(wait)
		select {
		case <-l.agenda.wake:
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	return "", nil, false
}

// stale reports whether the mirror has not heard from the cell for too long. What it shows may be long gone, and then every plan
// made on it would conflict.
func (l *Loop) stale() bool {
	asOf := l.cfg.Mirror.Snapshot().AsOf()
	age := l.cfg.Now().Sub(asOf)
	old := asOf != 0 && l.cfg.MaxAge > 0 && age > l.cfg.MaxAge
	if l.blind.CompareAndSwap(!old, old) {
		if old {
			l.cfg.Metrics.blind.Set(1)
			l.cfg.Log.Warn("the mirror has not heard from the cell: nothing is planned until it does", zap.Duration("age", age))
		} else {
			l.cfg.Metrics.blind.Set(0)
			l.cfg.Log.Info("the mirror hears from the cell again")
		}
	}
	return old
}
