package etcdstore_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/etcdstore"
	"github.com/omegacell/omegacell/cellstate/etcdstore/etcdtest"
	"github.com/omegacell/omegacell/cellstate/mirror"
	"github.com/omegacell/omegacell/cellstate/wire"
)

// path is one shape of load on the whole path: snapshot, commit, etcd, watch, every mirror.
type path struct {
	stores   int // clients of the cell with an etcd connection of their own: processes
	mirrors  int // of each store; 0: all look at one of the first store
	workers  int // of each store, who commit one transaction after the other
	machines int
	tasks    int  // claims of one transaction
	each     int  // of them on one machine
	direct   bool // the member is in the same process, without a network between; raw puts have one
}

func (p path) name() string {
	kind := "network"
	if p.direct {
		kind = "direct"
	}
	return fmt.Sprintf("%s/tasks=%d/each=%d/machines=%d/stores=%d/mirrors=%d/workers=%d", kind, p.tasks, p.each, p.machines, p.stores, p.mirrors, p.workers)
}

// fsync has a member work as it does in earnest.
func fsync(c *embed.Config) { c.UnsafeNoFsync, c.QuotaBackendBytes = false, 8<<30 }

// BenchmarkPath commits claims, each replacing an earlier one, and lets every mirror catch up; between that, in the same run,
// it puts the same keys and bytes in transactions of 100, which is what etcd takes at most. ratio is claims/s over puts/s.
func BenchmarkPath(b *testing.B) {
	for _, p := range []path{
		{stores: 1, mirrors: 4, workers: 4, machines: 10000, tasks: 100, each: 1},
		{stores: 4, mirrors: 1, workers: 1, machines: 10000, tasks: 100, each: 1},
		{stores: 1, mirrors: 1, workers: 4, machines: 10000, tasks: 100, each: 1},
		{stores: 1, mirrors: 4, workers: 4, machines: 10000, tasks: 100, each: 1, direct: true},
		{stores: 1, mirrors: 4, workers: 4, machines: 10000, tasks: 100, each: 10},
		{stores: 1, mirrors: 4, workers: 256, machines: 5000, tasks: 1, each: 1},
		{stores: 1, mirrors: 4, workers: 256, machines: 5000, tasks: 1, each: 1, direct: true},
		{stores: 4, mirrors: 1, workers: 64, machines: 5000, tasks: 1, each: 1},
		{stores: 1, mirrors: 1, workers: 64, machines: 5000, tasks: 1, each: 1},
		{stores: 1, mirrors: 1, workers: 64, machines: 50, tasks: 1, each: 1},
		{stores: 64, workers: 1, machines: 5000, tasks: 1, each: 1},
		{stores: 64, workers: 1, machines: 50, tasks: 1, each: 1},
	} {
		b.Run(p.name(), func(b *testing.B) { newPathRun(b, p).run(b) })
	}
}

type pathRun struct {
	path
	raw     []*clientv3.Client
	stores  []*etcdstore.Store
	mirrors []*mirror.Mirror
	workers []*pathWorker
	bytes   []string // a ledger's, by machine

	rawSpent, spent spent
	rawPuts, claims int
	resent          int
}

// spent is what a phase took.
type spent struct{ wall, cpu time.Duration }

func (s *spent) measure(f func()) {
	start, cpu := time.Now(), cpuTime()
	f()
	s.wall += time.Since(start)
	s.cpu += cpuTime() - cpu
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

const (
	pathStanding = 6    // claims on each machine that stay
	pathRawTxn   = 100  // puts in one raw transaction
	pathChunk    = 4000 // claims, or puts, of one phase
)

func newPathRun(b *testing.B, p path) *pathRun {
	b.Helper()
	m := etcdtest.Start(b, fsync)
	r := &pathRun{path: p}
	for range 4 {
		r.raw = append(r.raw, m.Client())
	}
	ctx, cancel := context.WithCancel(context.Background())
	rng := rand.New(rand.NewPCG(1, 2))
	var running sync.WaitGroup
	b.Cleanup(func() { cancel(); running.Wait() })
	for range p.stores {
		cfg := etcdstore.Config{}
		if p.direct {
			cfg.Client, cfg.KV = m.InProcess()
		} else {
			cfg.Client = m.Client()
		}
		r.stores = append(r.stores, open(b, cfg))
	}
	r.fill(b)
	for i, s := range r.stores {
		mine := r.mirrors
		if p.mirrors > 0 {
			mine = nil
		}
		n := p.mirrors
		if n == 0 && i == 0 {
			n = 1
		}
		for range n {
			mi, err := mirror.New(mirror.Config{Store: s, Now: func() cellstate.Instant { return 1 }})
			if err != nil {
				b.Fatal(err)
			}
			running.Go(func() { _ = mi.Run(ctx) })
			mine = append(mine, mi)
			r.mirrors = append(r.mirrors, mi)
		}
		for j := range p.workers {
			w := &pathWorker{run: r, store: s, name: fmt.Sprintf("s%d-%d", i, j), mirror: mine[j%len(mine)]}
			for k := range w.windows {
				w.windows[k].first = rng.IntN(p.machines)
			}
			r.workers = append(r.workers, w)
		}
	}
	return r
}

func (r *pathRun) fill(b *testing.B) {
	s := r.stores[0]
	for at := 0; at < r.machines; at += 500 {
		var sw cellstate.Swap
		for i := at; i < min(at+500, r.machines); i++ {
			l := cellstate.NewLedger(machine(i), cellstate.Resources{CPUMilli: 1 << 30, MemBytes: 1 << 40})
			for j := range pathStanding {
				c := claim(i*pathStanding+j, machine(i), 100)
				c.ID.Scheduler, c.ID.Job, c.Resources.MemBytes = "standing", "a-job-of-some-name", 1<<30
				l = l.With(c)
			}
			v, err := wire.Marshal(l)
			if err != nil {
				b.Fatal(err)
			}
			r.bytes = append(r.bytes, string(v))
			sw.Put = append(sw.Put, cellstate.Put{Value: l})
		}
		if _, err := s.Swap(b.Context(), sw); err != nil {
			b.Fatal(err)
		}
	}
}

func (r *pathRun) run(b *testing.B) {
	for b.Loop() {
		r.rawSpent.measure(func() { r.putRaw(b) })
		r.spent.measure(func() { r.commitAll(b) })
	}
	rate := func(n int, d time.Duration) float64 { return float64(n) / d.Seconds() }
	b.ReportMetric(rate(r.rawPuts, r.rawSpent.wall), "raw-puts/s")
	b.ReportMetric(rate(r.claims, r.spent.wall), "claims/s")
	b.ReportMetric(rate(r.claims, r.spent.wall)/rate(r.rawPuts, r.rawSpent.wall), "ratio")
	b.ReportMetric(float64(r.rawSpent.cpu.Microseconds())/float64(r.rawPuts), "cpu-us/put")
	b.ReportMetric(float64(r.spent.cpu.Microseconds())/float64(r.claims), "cpu-us/claim")
	b.ReportMetric(float64(r.resent)/float64(r.claims), "resent/claim")
	b.ReportMetric(float64(r.spent.cpu)/float64(r.claims)/float64(r.rawSpent.cpu)*float64(r.rawPuts), "cpu-ratio")
	contended := 0
	for _, w := range r.workers {
		contended += w.contended
	}
	b.ReportMetric(float64(contended)/float64(r.claims), "contended/claim")
	b.ReportMetric(0, "ns/op")
}

func (r *pathRun) putRaw(b *testing.B) {
	var wg sync.WaitGroup
	each := pathChunk / len(r.raw)
	for i, c := range r.raw {
		wg.Go(func() {
			for at := 0; at < each; at += pathRawTxn {
				ops := make([]clientv3.Op, pathRawTxn)
				for j := range ops {
					n := (i*each + at + j + r.rawPuts*7) % 10000
					ops[j] = clientv3.OpPut(wire.KeyString("raw", cellstate.LedgerKey(machine(n))), r.bytes[n%len(r.bytes)])
				}
				if _, err := c.Txn(b.Context()).Then(ops...).Commit(); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	r.rawPuts += each * len(r.raw)
}

func (r *pathRun) commitAll(b *testing.B) {
	var wg sync.WaitGroup
	rounds := max(pathChunk/len(r.workers)/r.tasks, 1)
	var mu sync.Mutex
	var last int64
	for _, w := range r.workers {
		wg.Go(func() {
			resent := 0
			var rev int64
			for range rounds {
				v := w.commit(b)
				resent += v.Resent
				rev = max(rev, v.Rev)
			}
			mu.Lock()
			defer mu.Unlock()
			r.resent += resent
			last = max(last, rev)
		})
	}
	wg.Wait()
	for _, m := range r.mirrors {
		if _, err := m.Wait(b.Context(), last); err != nil {
			b.Error(err)
		}
	}
	r.claims += rounds * len(r.workers) * r.tasks
}

// pathWorker commits as a scheduler's loop does: on the newest snapshot, which shows at least its own last commit. It visits
// windows of machines in turn, where each new claim takes the place of its last one.
type pathWorker struct {
	run     *pathRun
	store   *etcdstore.Store
	mirror  *mirror.Mirror
	name    string
	windows [8]pathWindow
	visit   int
	task    uint32
	rev     int64

	contended int // claims that lost every race
}

type pathWindow struct {
	first  int // machine
	placed []cellstate.ClaimRef
}

func (w *pathWorker) commit(b *testing.B) cellstate.Verdict {
	snap, err := w.mirror.Wait(b.Context(), w.rev)
	if err != nil {
		b.Error(err)
	}
	win := &w.windows[w.visit%len(w.windows)]
	w.visit++
	x := &cellstate.Txn{ID: w.name, Scheduler: w.name, Mode: cellstate.Incremental, Rule: cellstate.FitRule,
		Basis: snap, BasisRev: snap.Rev(), Remove: win.placed}
	win.placed = nil
	for i := range w.run.tasks {
		w.task++
		c := cellstate.Claim{
			ID:      cellstate.ClaimID{Scheduler: w.name, Job: "a-job-of-some-name", Run: 7, Task: w.task},
			Machine: machine((win.first + i/w.run.each) % w.run.machines), Resources: cellstate.Resources{CPUMilli: 100, MemBytes: 1 << 30},
		}
		x.Add = append(x.Add, c)
		win.placed = append(win.placed, cellstate.ClaimRef{Machine: c.Machine, ID: c.ID})
	}
	v, err := w.store.Commit(b.Context(), x)
	if err != nil || slices.ContainsFunc(v.Conflicts, func(c cellstate.Conflict) bool { return c.Reason != cellstate.ReasonContended }) {
		b.Errorf("Commit: %v, %v", v.Conflicts, err)
	}
	for _, c := range v.Conflicts { // what was not to be replaced is there still, and what was to come is not
		w.contended++
		if i := slices.IndexFunc(x.Remove, func(r cellstate.ClaimRef) bool { return r.ID == c.ID }); i >= 0 {
			win.placed = append(win.placed, x.Remove[i])
		} else {
			win.placed = slices.DeleteFunc(win.placed, func(r cellstate.ClaimRef) bool { return r.ID == c.ID })
		}
	}
	w.rev = v.Rev
	return v
}
