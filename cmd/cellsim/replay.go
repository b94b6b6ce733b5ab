package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/mirror"
	"github.com/omegacell/omegacell/schedulers"
	"github.com/omegacell/omegacell/schedulers/batch"
)

// replay plays a trace against a real cell: each of its schedulers has a connection, a mirror and a loop of its own, as if it
// were a process; tasks are dealt over them in turn, in arrival order, as fast as it goes, and stay once they are placed.
type replay struct {
	trace      *trace
	schedulers int
	workers    int
	packing    cellstate.Packing
	seed       uint64
	log        *zap.Logger
	progress   func(placed, waiting, total int)
}

// result is what a replay printed; the field names of its JSON are documented in README.md.
type result struct {
	Machines            int            `json:"machines"`
	Jobs                int            `json:"jobs"`
	Schedulers          int            `json:"schedulers"`
	Placed              int            `json:"placed"`
	Unplaced            map[string]int `json:"unplaced"`          // by reason
	UnplacedThatFit     int            `json:"unplaced_that_fit"` // of those, tasks that the final state has room for
	GPUAllocated        float64        `json:"gpu_allocated"`     // share of all GPU capacity
	Transactions        int            `json:"transactions"`
	Conflicts           int            `json:"conflicts"`         // transactions in which something was refused
	ConflictFraction    float64        `json:"conflict_fraction"` // conflicts by transaction
	Retries             int            `json:"retries"`           // claims planned again because they were refused
	Resent              int            `json:"resent"`            // guards that failed and were repaired in the store
	PlacementsPerSecond float64        `json:"placements_per_second"`
	CommitP50           float64        `json:"commit_p50_ms"`
	CommitP99           float64        `json:"commit_p99_ms"`
	Seconds             float64        `json:"seconds"`
	Revisions           int            `json:"revisions_audited"`
	Violations          int            `json:"violations"`
	Violated            []string       `json:"violated,omitempty"` // the first of them
}

func schedulerName(i int) string { return fmt.Sprintf("replay-%02d", i) }

// run plays the trace and returns what happened. The cell must be empty.
func (r *replay) run(ctx context.Context, b *backing) (*result, error) {
	store, err := b.open(r.log)
	if err != nil {
		return nil, err
	}
	if err := r.register(ctx, store); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, gctx := errgroup.WithContext(ctx)
	m := &meter{}
	for i := range r.schedulers {
		if err := r.start(gctx, g, b, m, i); err != nil {
			return nil, err
		}
	}
	watcher, err := r.follow(gctx, g, store)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := r.submit(gctx, store); err != nil {
		cancel()
		return nil, errors.Join(err, g.Wait())
	}
	snap, err := r.await(gctx, watcher, m)
	cancel()
	if err := errors.Join(err, g.Wait()); err != nil {
		return nil, err
	}
	return r.result(snap, m, began), nil
}

// follow starts a mirror that only watches.
func (r *replay) follow(ctx context.Context, g *errgroup.Group, store cellstate.Store) (*mirror.Mirror, error) {
	m, err := mirror.New(mirror.Config{Store: store, Now: now, Log: r.log})
	if err == nil {
		g.Go(func() error {
			if err := m.Run(ctx); ctx.Err() == nil {
				return err
			}
			return nil
		})
	}
	return m, err
}

// start runs scheduler i.
func (r *replay) start(ctx context.Context, g *errgroup.Group, b *backing, m *meter, i int) error {
	store, err := b.open(r.log)
	if err != nil {
		return err
	}
	own, err := r.follow(ctx, g, store)
	if err != nil {
		return err
	}
	loop, err := schedulers.New(schedulers.Config{
		Name: schedulerName(i), Planner: batch.Planner{}, Store: metered{store, m}, Mirror: own, Workers: r.workers,
		Seed: r.seed + uint64(i), Now: now, Log: r.log,
	})
	if err != nil {
		return err
	}
	g.Go(func() error { return loop.Run(ctx) })
	return nil
}

// batchSize is how many records one write of the preparation holds.
const batchSize = 200

func write(ctx context.Context, store cellstate.Store, values []cellstate.Value) error {
	for len(values) > 0 {
		n := min(batchSize, len(values))
		var s cellstate.Swap
		for _, v := range values[:n] {
			s.Put = append(s.Put, cellstate.Put{Value: v})
		}
		if _, err := store.Swap(ctx, s); err != nil {
			return err
		}
		values = values[n:]
	}
	return nil
}

// register writes the trace's machines, as their agents would.
func (r *replay) register(ctx context.Context, store cellstate.Store) error {
	var values []cellstate.Value
	for _, m := range r.trace.machines {
		attributes := map[string]string{"os": "linux"}
		if m.model != "" {
			attributes["gpu.model"] = m.model
		}
		values = append(values, cellstate.NewLedger(m.name, m.capacity), &cellstate.Machine{Name: m.name, Attributes: attributes},
			&cellstate.Session{Machine: m.name, Epoch: 1, Drivers: []string{"emulated"}, StartedAt: now()})
	}
	return write(ctx, store, values)
}

// submit writes the trace's tasks as jobs of one task, dealt over the schedulers in turn.
func (r *replay) submit(ctx context.Context, store cellstate.Store) error {
	var values []cellstate.Value
	for i, t := range r.trace.tasks {
		j := &cellstate.Job{
			Scheduler: schedulerName(i % r.schedulers), Name: t.name, Run: 1, Version: 1, Tenant: cellstate.DefaultTenant,
			Precedence: t.precedence, Tasks: 1, Packing: r.packing, SubmittedAt: now(),
			Task: cellstate.TaskSpec{Driver: "emulated", Resources: t.resources},
		}
		if len(t.models) > 0 {
			j.Constraints = []cellstate.Constraint{{Attribute: "gpu.model", Op: cellstate.OpIn, Values: t.models}}
		}
		values = append(values, j)
	}
	return write(ctx, store, values)
}

// await returns the snapshot in which every task is placed, or waits with an explanation that is newer than the last
// placement: nothing will change any more.
func (r *replay) await(ctx context.Context, m *mirror.Mirror, counts *meter) (cellstate.Snapshot, error) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		snap := m.Snapshot()
		waiting := 0
		for j, s := range snap.Jobs("") {
			if s != nil && s.Explanation != nil && !claimed(snap, j) {
				waiting++
			}
		}
		placed := counts.placedNow()
		if r.progress != nil {
			r.progress(placed, waiting, len(r.trace.tasks))
		}
		if placed+waiting >= len(r.trace.tasks) {
			return snap, nil
		}
	}
}

func claimed(snap cellstate.Snapshot, j *cellstate.Job) bool {
	for range snap.Claims(j.Scheduler, j.Name) {
		return true
	}
	return false
}

// result sums up. Every task without a claim is tried once more against the final state: nothing that fits may be left.
func (r *replay) result(snap cellstate.Snapshot, m *meter, began time.Time) *result {
	out := &result{
		Machines: len(r.trace.machines), Jobs: len(r.trace.tasks), Schedulers: r.schedulers, Placed: m.placed,
		Unplaced: make(map[string]int), Transactions: m.transactions, Conflicts: m.conflicted, Retries: m.refused, Resent: m.resent,
		CommitP50: percentile(m.took, 0.5), CommitP99: percentile(m.took, 0.99), Seconds: m.last.Sub(began).Seconds(),
	}
	if m.transactions > 0 {
		out.ConflictFraction = float64(m.conflicted) / float64(m.transactions)
	}
	if out.Seconds > 0 {
		out.PlacementsPerSecond = float64(m.placed) / out.Seconds
	}
	var used, all int64
	for i := range snap.Len() {
		if v := snap.At(i); v != nil {
			u := v.Ledger.Used()
			used, all = used+u.GPUMilli, all+v.Ledger.Capacity.GPUMilli
		}
	}
	if all > 0 {
		out.GPUAllocated = float64(used) / float64(all)
	}
	for j := range snap.Jobs("") {
		if claimed(snap, j) {
			continue
		}
		why, fits := whyUnplaced(snap, j)
		out.Unplaced[why]++
		if fits {
			out.UnplacedThatFit++
		}
	}
	return out
}

func now() cellstate.Instant { return cellstate.InstantOf(time.Now()) }
