package perf

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/etcdstore"
	"github.com/omegacell/omegacell/cellstate/mirror"
)

// Config says what to measure. Dial is required; a zero in any other field means the default its comment states.
type Config struct {
	// Dial returns a connection of its own, which the run closes.
	Dial func(context.Context) (*clientv3.Client, error)
	// StoreCPU returns the CPU time that etcd has used, where it runs in another process; nil where it runs in this one.
	StoreCPU func(context.Context) (time.Duration, error)

	Cell       string // what the names of the scratch cells begin with; default "main"
	Machines   int    // default 10000
	PerMachine int    // claims that a machine has room for; default 1, or 10 where Packing is Pack
	Tasks      int    // of each job; default 100
	Fill       int    // per cent of the room that a round takes; default 60
	Packing    cellstate.Packing
	Mode       cellstate.Mode // default Incremental
	Rule       cellstate.Rule // default FitRule
	Schedulers int            // default 4
	Workers    int            // jobs that each scheduler has under way; default 2
	Stores     int            // stores that the schedulers share, as processes do; default 1
	Clients    int            // of the raw half; default 4
	Puts       int            // of each raw transaction; default 100
	Rounds     int            // that count; one more goes before to warm up; default 8
	Duration   time.Duration  // no round begins after it; default 1m
	Seed       uint64         // of all choices
}

// Most of what may be asked for. What a run writes stays in etcd's history until that is compacted.
const (
	maxMachines = 200_000
	maxClaims   = 4_000_000 // of one round
)

func (c Config) withDefaults() (Config, error) {
	for _, f := range []struct {
		name        string
		field       *int
		value, most int
	}{
		{"machines", &c.Machines, 10_000, maxMachines}, {"claims a machine", &c.PerMachine, 1, 1024},
		{"tasks of a job", &c.Tasks, 100, 100_000}, {"per cent filled", &c.Fill, 60, 100}, {"schedulers", &c.Schedulers, 4, 256},
		{"workers", &c.Workers, 2, 64}, {"stores", &c.Stores, 1, 256}, {"clients", &c.Clients, 4, 256},
		{"puts of a transaction", &c.Puts, 100, 4096}, {"rounds", &c.Rounds, 8, 1000},
	} {
		if *f.field == 0 {
			*f.field = f.value
			if f.name == "claims a machine" && c.Packing == cellstate.Pack {
				*f.field = 10
			}
		}
		if *f.field < 1 || *f.field > f.most {
			return c, fmt.Errorf("%d %s: it is 1 to %d: %w", *f.field, f.name, f.most, cellstate.ErrInvalid)
		}
	}
	if c.Cell == "" {
		c.Cell = "main"
	}
	if c.Packing == 0 {
		c.Packing = cellstate.SpreadLoad
	}
	if c.Mode == 0 {
		c.Mode = cellstate.Incremental
	}
	if c.Rule == 0 {
		c.Rule = cellstate.FitRule
	}
	if c.Duration == 0 {
		c.Duration = time.Minute
	}
	switch n := c.claims(); {
	case c.Dial == nil:
		return c, fmt.Errorf("no way to dial etcd: %w", cellstate.ErrInvalid)
	case n == 0:
		return c, fmt.Errorf("a job of %d tasks is more than %d%% of %d machines with room for %d claims each: %w",
			c.Tasks, c.Fill, c.Machines, c.PerMachine, cellstate.ErrInvalid)
	case n > maxClaims:
		return c, fmt.Errorf("%d claims in a round, more than %d: %w", n, maxClaims, cellstate.ErrInvalid)
	case c.Stores > c.Schedulers:
		return c, fmt.Errorf("%d stores for %d schedulers: %w", c.Stores, c.Schedulers, cellstate.ErrInvalid)
	}
	return c, nil
}

// jobs is the number of jobs of one round.
func (c *Config) jobs() int { return c.Machines * c.PerMachine * c.Fill / 100 / c.Tasks }

// claims is the number of claims of one round.
func (c *Config) claims() int { return c.jobs() * c.Tasks }

// run is one Run under way.
type run struct {
	cfg        Config
	cell       scratch // of the whole path
	raw        scratch
	schedulers []*scheduler
	clients    []*clientv3.Client // of the raw half
	result     Result
}

// Run measures until all rounds are done or the duration is over, and deletes what it wrote, also when ctx ends before.
func Run(ctx context.Context, cfg Config) (_ Result, err error) {
	cfg, err = cfg.withDefaults()
	if err != nil {
		return Result{}, err
	}
	client, err := cfg.Dial(ctx)
	if err != nil {
		return Result{}, err
	}
	defer client.Close()
	name := fmt.Sprintf("%s-perf-%08x", cfg.Cell, rand.Uint32())
	r := &run{cfg: cfg, cell: scratch{client, name + "-a"}, raw: scratch{client, name + "-b"}, result: newResult(&cfg)}
	defer func() { err = errors.Join(err, r.cell.remove(ctx), r.raw.remove(ctx)) }()
	if full, err := r.cell.full(ctx); err != nil || full != "" {
		return Result{}, cmp.Or(err, errors.New(full))
	}
	if err := r.cell.build(ctx, &cfg); err != nil {
		return Result{}, err
	}
	inner, cancel := context.WithCancel(ctx)
	g, inner := errgroup.WithContext(inner)
	defer func() {
		cancel()
		_ = g.Wait() // mirrors end by being stopped; one that failed before has ended the rounds
	}()
	defer r.hangUp()
	if err := r.connect(inner, g); err != nil {
		return Result{}, err
	}
	if err := r.rounds(inner); err != nil {
		return Result{}, err
	}
	r.result.sum()
	return r.result, nil
}

// connect makes the schedulers, with their stores and mirrors, and the clients of the raw half.
func (r *run) connect(ctx context.Context, g *errgroup.Group) error {
	stores := make([]*etcdstore.Store, r.cfg.Stores)
	for i := range stores {
		c, err := r.dial(ctx)
		if err != nil {
			return err
		}
		if stores[i], err = etcdstore.New(etcdstore.Config{Client: c, Cell: r.cell.name}); err != nil {
			return err
		}
	}
	for i := range r.cfg.Schedulers {
		store := stores[i%len(stores)]
		m, err := mirror.New(mirror.Config{Store: store, Now: now, Schedulers: []string{schedulerName(i)}})
		if err != nil {
			return err
		}
		g.Go(func() error { return m.Run(ctx) })
		r.schedulers = append(r.schedulers, &scheduler{cfg: &r.cfg, name: schedulerName(i), store: store, mirror: m})
	}
	for range r.cfg.Clients {
		if _, err := r.dial(ctx); err != nil {
			return err
		}
	}
	return nil
}

// dial opens one more connection; the last ones are those of the raw half.
func (r *run) dial(ctx context.Context) (*clientv3.Client, error) {
	c, err := r.cfg.Dial(ctx)
	if err == nil {
		r.clients = append(r.clients, c)
	}
	return c, err
}

func (r *run) hangUp() {
	for _, c := range r.clients {
		_ = c.Close() // nothing is under way any more
	}
}

// rounds runs both halves in turns. The first round only warms up.
func (r *run) rounds(ctx context.Context) error {
	end := time.Now().Add(r.cfg.Duration)
	for n := range r.cfg.Rounds + 1 {
		if n > 1 && time.Now().After(end) {
			r.result.note("stopped after %d of %d rounds: the duration was over", n-1, r.cfg.Rounds)
			return nil
		}
		full, err := r.cell.full(ctx)
		if err != nil {
			return err
		}
		if full != "" {
			if n < 2 {
				return errors.New(full)
			}
			r.result.note("stopped after %d of %d rounds: %s", n-1, r.cfg.Rounds, full)
			return nil
		}
		round, err := r.round(ctx, uint32(n+1))
		if err != nil {
			return fmt.Errorf("round %d: %w", n, err)
		}
		if n > 0 {
			r.result.add(round)
		}
	}
	return nil
}

// round runs the whole path and then the raw half.
func (r *run) round(ctx context.Context, n uint32) (round, error) {
	var out round
	if err := r.ready(ctx); err != nil {
		return out, err
	}
	runtime.GC() // each half begins with a clean heap
	if err := r.wholePath(ctx, n, &out); err != nil {
		return out, fmt.Errorf("whole path: %w", err)
	}
	puts, err := r.cell.history(ctx, out.from, out.to)
	if err != nil {
		return out, err
	}
	if err := r.cell.check(ctx, r.cfg.claims()); err != nil {
		return out, err
	}
	transactions := r.raw.transactions(puts, r.cfg.Puts)
	runtime.GC()
	if err := r.rawHalf(ctx, transactions, &out); err != nil {
		return out, fmt.Errorf("raw: %w", err)
	}
	return out, r.cell.empty(ctx, &r.cfg)
}

// ready waits until every mirror shows the cell as it is.
func (r *run) ready(ctx context.Context) error {
	rev, err := r.cell.revision(ctx)
	if err != nil {
		return err
	}
	for _, s := range r.schedulers {
		if _, err := s.mirror.Wait(ctx, rev); err != nil {
			return err
		}
	}
	return nil
}

func now() cellstate.Instant { return cellstate.InstantOf(time.Now()) }

func schedulerName(i int) string { return fmt.Sprintf("perf-%03d", i) }
