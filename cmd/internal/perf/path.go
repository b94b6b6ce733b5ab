package perf

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/schedulers/place"
)

// scheduler is one scheduler of the whole path. It has a mirror of its own.
type scheduler struct {
	cfg    *Config
	name   string
	store  cellstate.Store
	mirror cellstate.Mirror

	mu    sync.Mutex // guards the rest, which is that of one round
	width int
	tally
}

// tally is what one scheduler saw in one round.
type tally struct {
	transactions int
	conflicted   int // of those, with at least one claim refused
	refused      int // claims
	resent       int
	newest       int64 // revision of a commit
	plan         []time.Duration
	commit       []time.Duration
	lag          []time.Duration // from the commit's answer until the scheduler's own mirror showed it
}

// wholePath has the schedulers place all jobs of a round, and measures that.
func (r *run) wholePath(ctx context.Context, n uint32, out *round) error {
	for _, s := range r.schedulers {
		s.tally, s.width = tally{}, 0
	}
	var err error
	if out.from, err = r.cell.revision(ctx); err != nil {
		return err
	}
	watch, err := r.startWatch(ctx)
	if err != nil {
		return err
	}
	var next atomic.Int64
	g, inner := errgroup.WithContext(ctx)
	for i, s := range r.schedulers {
		for w := range r.cfg.Workers {
			rng := rand.New(rand.NewPCG(r.cfg.Seed, uint64(n)<<32|uint64(i)<<8|uint64(w)))
			g.Go(func() error { return s.work(inner, n, &next, rng) })
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if err := r.stopWatch(ctx, watch, out); err != nil {
		return err
	}
	for _, s := range r.schedulers {
		out.take(&s.tally)
	}
	return nil
}

// work places jobs until none is left.
func (s *scheduler) work(ctx context.Context, n uint32, next *atomic.Int64, rng *rand.Rand) error {
	for {
		i := next.Add(1) - 1
		if i >= int64(s.cfg.jobs()) {
			return nil
		}
		if err := s.place(ctx, s.job(n, int(i)), rng); err != nil {
			return err
		}
	}
}

func (s *scheduler) job(n uint32, i int) *cellstate.Job {
	j := &cellstate.Job{
		Scheduler: s.name, Name: fmt.Sprintf("job-%06d", i), Run: n, Version: 1, Tenant: cellstate.DefaultTenant,
		Precedence: cellstate.BandBatch.Lowest(), Tasks: uint32(s.cfg.Tasks), Packing: s.cfg.Packing,
		Task: cellstate.TaskSpec{Resources: cellstate.Resources{CPUMilli: taskCPUMilli, MemBytes: taskMemBytes}},
	}
	if s.cfg.Mode == cellstate.AllOrNothing {
		j.GangMin = j.Tasks
	}
	return j
}

var errNoRoom = errors.New("the planner finds no room, and there is some")

// place plans and commits until every task of the job has its claim.
func (s *scheduler) place(ctx context.Context, j *cellstate.Job, rng *rand.Rand) error {
	todo := make([]place.Slot, j.Tasks)
	for i := range todo {
		todo[i].Task = uint32(i)
	}
	for attempt := 0; len(todo) > 0; attempt++ {
		snap := s.mirror.Snapshot()
		began := time.Now()
		p := place.Place(snap, place.Request{Job: j, Tasks: todo, Start: now(), Min: int(j.GangMin), Width: s.widthNow()}, rng)
		if len(p.Unplaced) > 0 {
			return fmt.Errorf("job %s: %w: %d of %d tasks", j.Name, errNoRoom, len(p.Unplaced), len(todo))
		}
		planned := time.Now()
		v, err := s.store.Commit(ctx, &cellstate.Txn{
			ID: fmt.Sprintf("%s.%d", j.Name, attempt), Scheduler: s.name, Mode: s.cfg.Mode, Rule: s.cfg.Rule,
			Basis: snap, BasisRev: snap.Rev(), Add: p.Claims,
		})
		if err != nil {
			return err
		}
		committed := time.Now()
		if _, err := s.mirror.Wait(ctx, v.Rev); err != nil {
			return err
		}
		s.count(&v, planned.Sub(began), committed.Sub(planned), time.Since(committed))
		todo = todo[:0]
		for _, c := range v.Conflicts {
			todo = append(todo, place.Slot{Task: c.ID.Task, Attempt: c.ID.Attempt})
		}
	}
	return nil
}

func (s *scheduler) widthNow() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.width
}

func (s *scheduler) count(v *cellstate.Verdict, plan, commit, lag time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.transactions++
	if len(v.Conflicts) > 0 {
		s.conflicted++
	}
	s.refused += len(v.Conflicts)
	s.resent += v.Resent
	s.newest = max(s.newest, v.Rev)
	s.plan, s.commit, s.lag = append(s.plan, plan), append(s.commit, commit), append(s.lag, lag)
	s.width = place.NextWidth(s.width, len(v.Conflicts), len(v.Conflicts)+len(v.Committed))
}
