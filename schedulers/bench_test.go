package schedulers_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/etcdstore"
	"github.com/omegacell/omegacell/cellstate/etcdstore/etcdtest"
	"github.com/omegacell/omegacell/cellstate/memstore"
	"github.com/omegacell/omegacell/cellstate/mirror"
	"github.com/omegacell/omegacell/schedulers"
	"github.com/omegacell/omegacell/schedulers/batch"
)

// load is one workload: jobs that have been submitted to a cell of machines before its schedulers start.
type load struct {
	store                 string // "mem", or "etcd" with fsync
	jobs, tasks, machines int
	schedulers            int
	fill                  int   // per cent of each machine that is taken before
	cpu                   int64 // thousandths of a core that a task asks for; default 100, of machines with 32 cores
}

func (w load) String() string {
	return fmt.Sprintf("store=%s/machines=%d/fill=%d/jobs=%d/tasks=%d/schedulers=%d", w.store, w.machines, w.fill, w.jobs, w.tasks, w.schedulers)
}

// BenchmarkLoop measures how fast loops place jobs that wait, from their start until the last is placed; CPU is that of the
// whole process, the store's and the mirror's included.
func BenchmarkLoop(b *testing.B) {
	for _, w := range []load{
		{store: "mem", jobs: 2000, tasks: 1, machines: 1000, schedulers: 1},
		{store: "mem", jobs: 10000, tasks: 1, machines: 5000, schedulers: 4},
		{store: "mem", jobs: 400, tasks: 100, machines: 5000, schedulers: 4},
		{store: "etcd", jobs: 10000, tasks: 1, machines: 5000, schedulers: 4},
		{store: "etcd", jobs: 1000, tasks: 10, machines: 5000, schedulers: 4},
		{store: "etcd", jobs: 400, tasks: 100, machines: 5000, schedulers: 4},
	} {
		b.Run(w.String(), w.run)
	}
}

// BenchmarkContention measures what collisions cost: many schedulers in a cell with room everywhere, and on few machines that
// all of them want. The rate of one scheduler there is what the latter is compared with.
func BenchmarkContention(b *testing.B) {
	for _, w := range []load{
		{store: "mem", jobs: 4000, tasks: 10, machines: 10000, schedulers: 16, fill: 60},
		{store: "etcd", jobs: 4000, tasks: 10, machines: 10000, schedulers: 16, fill: 60},
		{store: "mem", jobs: 6400, tasks: 1, machines: 50, schedulers: 1, cpu: 200},
		{store: "mem", jobs: 6400, tasks: 1, machines: 50, schedulers: 64, cpu: 200},
		{store: "etcd", jobs: 6400, tasks: 1, machines: 50, schedulers: 1, cpu: 200},
		{store: "etcd", jobs: 6400, tasks: 1, machines: 50, schedulers: 64, cpu: 200},
	} {
		b.Run(w.String(), w.run)
	}
}

// BenchmarkWaiting measures what jobs cost for which there is no room: until each has been told why it waits.
func BenchmarkWaiting(b *testing.B) {
	for _, w := range []load{
		{store: "mem", jobs: 1000, tasks: 1, machines: 5000, schedulers: 1, fill: 90, cpu: 4000},
	} {
		b.Run(w.String(), func(b *testing.B) {
			var cpu time.Duration
			for b.Loop() {
				b.StopTimer()
				store := memstore.New(memstore.Config{})
				r := w.prepare(b, store)
				told := explained{tallied: r.stores[0], all: make(chan struct{})}
				told.left.Store(int64(w.jobs))
				ctx, cancel := context.WithCancel(b.Context())
				l, err := schedulers.New(schedulers.Config{Name: "s00", Planner: batch.Planner{}, Store: &told, Mirror: r.mirror, Seed: 1})
				if err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				used := cpuTime()
				var running sync.WaitGroup
				running.Go(func() {
					if err := l.Run(ctx); err != nil {
						b.Error(err)
					}
				})
				<-told.all
				cpu += cpuTime() - used
				b.StopTimer()
				cancel()
				running.Wait()
				r.stop()
				b.StartTimer()
			}
			b.ReportMetric(cpu.Seconds()*1e6/float64(b.N*w.jobs), "cpu-µs/job")
		})
	}
}

// explained is a store that tells when as many statuses were written as there are jobs.
type explained struct {
	*tallied
	left atomic.Int64
	all  chan struct{}
}

func (s *explained) Swap(ctx context.Context, sw cellstate.Swap) (cellstate.Swapped, error) {
	out, err := s.tallied.Swap(ctx, sw)
	if out.OK && len(sw.Put) > 0 && sw.Put[0].Value.Key().Kind == cellstate.KindStatus && s.left.Add(-1) == 0 {
		close(s.all)
	}
	return out, err
}

func (w load) run(b *testing.B) {
	if w.cpu == 0 {
		w.cpu = 100
	}
	if testing.Short() && w.store == "etcd" {
		b.Skip("etcd with fsync")
	}
	open := w.opener(b)
	b.ReportAllocs()
	var sum tally
	for b.Loop() {
		b.StopTimer()
		r := w.prepare(b, open())
		b.StartTimer()
		r.place(b)
		b.StopTimer()
		sum.add(r)
		b.StartTimer()
	}
	placed := float64(b.N * w.jobs * w.tasks)
	b.ReportMetric(placed/sum.wall.Seconds(), "placements/s")
	b.ReportMetric(sum.cpu.Seconds()*1e6/placed, "cpu-µs/placement")
	b.ReportMetric(sum.conflicts/(sum.conflicts+placed), "conflict-fraction")
	b.ReportMetric(sum.wall.Seconds()/sum.median.Seconds(), "last/median") // scheduler to have placed all of its jobs
}

// opener returns what makes a store of a new cell.
func (w load) opener(b *testing.B) func() cellstate.Store {
	if w.store == "mem" {
		return func() cellstate.Store { return memstore.New(memstore.Config{}) }
	}
	client := etcdtest.Start(b, func(c *embed.Config) { c.UnsafeNoFsync = false }).Client()
	cells := 0
	return func() cellstate.Store {
		cells++
		s, err := etcdstore.New(etcdstore.Config{Client: client, Cell: fmt.Sprintf("cell%d", cells)})
		if err != nil {
			b.Fatal(err)
		}
		return s
	}
}

// tally adds up what runs took.
type tally struct {
	wall, cpu time.Duration
	median    time.Duration // until half of the schedulers had placed all of their jobs
	conflicts float64
}

func (t *tally) add(r *trial) {
	t.wall += r.wall
	t.cpu += r.cpu
	t.median += r.median
	for _, s := range r.stores {
		t.conflicts += float64(s.conflicts.Load())
	}
}

// trial is one cell with loops that are about to start.
type trial struct {
	load
	mirror    *mirror.Mirror
	stores    []*tallied
	loops     []*schedulers.Loop
	stop      func()
	wall, cpu time.Duration
	median    time.Duration
}

// tallied is a store that counts what is committed, and tells when that is all.
type tallied struct {
	cellstate.Store
	left      atomic.Int64
	conflicts atomic.Int64
	all       chan struct{}
}

func (s *tallied) Commit(ctx context.Context, t *cellstate.Txn) (cellstate.Verdict, error) {
	v, err := s.Store.Commit(ctx, t)
	s.conflicts.Add(int64(len(v.Conflicts)))
	if n := int64(len(v.Committed)); n > 0 && s.left.Add(-n) == 0 {
		close(s.all)
	}
	return v, err
}

func (w load) prepare(b *testing.B, store cellstate.Store) *trial {
	now := func() cellstate.Instant { return cellstate.InstantOf(time.Now()) }
	var values []cellstate.Value
	for i := range w.machines {
		name := fmt.Sprintf("m%05d", i)
		l := cellstate.NewLedger(name, cellstate.Resources{CPUMilli: 32_000, MemBytes: 128 << 30})
		for k := range w.fill / 10 { // ten claims fill a machine
			l.Claims = append(l.Claims, cellstate.Claim{
				ID:         cellstate.ClaimID{Scheduler: "filler", Job: fmt.Sprintf("filler%d", k), Task: uint32(i)},
				Precedence: 100, Resources: cellstate.Resources{CPUMilli: 3200, MemBytes: 12 << 30}, Start: 1,
			})
		}
		values = append(values, l.Sum(), &cellstate.Machine{Name: name, Attributes: map[string]string{"rack": fmt.Sprintf("r%d", i/40)}},
			&cellstate.Session{Machine: name, Epoch: 1})
	}
	for i := range w.jobs {
		values = append(values, &cellstate.Job{
			Scheduler: fmt.Sprintf("s%02d", i%w.schedulers), Name: fmt.Sprintf("job%06d", i), Run: uint32(i), Version: 1,
			Tenant: cellstate.DefaultTenant, Precedence: 100, Tasks: uint32(w.tasks), SubmittedAt: now(),
			Task: cellstate.TaskSpec{Command: []string{"true"}, Resources: cellstate.Resources{CPUMilli: w.cpu, MemBytes: w.cpu << 20}},
		})
	}
	for len(values) > 0 {
		n := min(1000, len(values))
		var s cellstate.Swap
		for _, v := range values[:n] {
			s.Put = append(s.Put, cellstate.Put{Value: v})
		}
		if _, err := store.Swap(b.Context(), s); err != nil {
			b.Fatal(err)
		}
		values = values[n:]
	}
	m, err := mirror.New(mirror.Config{Store: store, Now: now})
	if err != nil {
		b.Fatal(err)
	}
	r := &trial{load: w, mirror: m}
	ctx, cancel := context.WithCancel(context.Background())
	var following sync.WaitGroup
	following.Go(func() { _ = m.Run(ctx) }) // ends with the context
	r.stop = func() { cancel(); following.Wait() }
	if _, err := m.Wait(b.Context(), 2); err != nil {
		b.Fatal(err)
	}
	for i := range w.schedulers {
		s := &tallied{Store: store, all: make(chan struct{})}
		s.left.Store(int64((w.jobs + w.schedulers - 1 - i) / w.schedulers * w.tasks))
		l, err := schedulers.New(schedulers.Config{
			Name: fmt.Sprintf("s%02d", i), Planner: batch.Planner{}, Store: s, Mirror: m, Seed: uint64(i + 1),
		})
		if err != nil {
			b.Fatal(err)
		}
		r.stores, r.loops = append(r.stores, s), append(r.loops, l)
	}
	return r
}

// place runs the loops until all is placed, and notes what that took.
func (r *trial) place(b *testing.B) {
	defer r.stop()
	ctx, cancel := context.WithCancel(b.Context())
	began, used := time.Now(), cpuTime()
	var loops, waiting sync.WaitGroup
	for _, l := range r.loops {
		loops.Go(func() {
			if err := l.Run(ctx); err != nil {
				b.Error(err)
			}
		})
	}
	ends := make([]time.Duration, len(r.stores))
	for i, s := range r.stores {
		waiting.Go(func() {
			<-s.all
			ends[i] = time.Since(began)
		})
	}
	waiting.Wait()
	slices.Sort(ends)
	r.median = ends[len(ends)/2]
	r.wall, r.cpu = time.Since(began), cpuTime()-used
	cancel()
	loops.Wait()
}

// cpuTime is what the process has used so far, in user and system mode.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
