package integration

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/etcdstore/etcdtest"
	"github.com/omegacell/omegacell/cellstate/wire"
	"github.com/omegacell/omegacell/schedulers"
	"github.com/omegacell/omegacell/schedulers/batch"
)

// workloadCell is the cell's name in etcd.
const workloadCell = "workload"

// arena is the cell of one run of a workload, with its schedulers.
type arena struct {
	tb      testing.TB
	w       workload
	member  *etcdtest.Member
	client  *clientv3.Client
	mirrors []*watched
	meters  []*meter // by scheduler
	gate    *gate
	stop    func() // the schedulers, if they have begun
	ends    []func()
}

// newArena starts etcd and writes the machines. A benchmark's etcd syncs to disk.
func newArena(tb testing.TB, w workload) *arena {
	tb.Helper()
	_, bench := tb.(*testing.B)
	a := &arena{tb: tb, w: w, stop: func() {}, member: etcdtest.Start(tb, func(c *embed.Config) {
		c.UnsafeNoFsync = !bench
		c.QuotaBackendBytes = 8 << 30
	})}
	a.client = a.dial()
	a.write(a.machines())
	return a
}

// dial opens a connection that the arena closes.
func (a *arena) dial() *clientv3.Client {
	a.tb.Helper()
	c := a.member.Client()
	a.ends = append(a.ends, func() { _ = c.Close() }) // nothing is under way any more
	return c
}

// close ends everything, etcd last: it would wait for those who watch.
func (a *arena) close() {
	a.stop()
	for i := len(a.ends) - 1; i >= 0; i-- {
		a.ends[i]()
	}
	a.member.Stop()
}

// machines are the cell's records, as agents and earlier schedulers left them.
func (a *arena) machines() []cellstate.Value {
	rng := rand.New(rand.NewPCG(1, 2))
	room := cellstate.Resources{CPUMilli: taskCPUMilli, MemBytes: taskMemBytes}.Times(int64(a.w.Room))
	var all []cellstate.Value
	standing := 0
	for i := range a.w.Machines {
		name, rack := rackMachine(i), fmt.Sprintf("rack-%04d", i/machinesRack)
		l := cellstate.NewLedger(name, room)
		for k := range a.w.Room {
			if !a.w.Uneven && k < int(math.Round(a.w.Filled*float64(a.w.Room))) || a.w.Uneven && rng.Float64() < a.w.Filled {
				l.Claims = append(l.Claims, cellstate.Claim{
					ID:         cellstate.ClaimID{Scheduler: "standing", Job: fmt.Sprintf("job-%06d", standing/100), Run: 1, Task: uint32(standing % 100)},
					JobVersion: 1, Precedence: cellstate.BandBatch.Lowest(), Start: now(),
					Resources: cellstate.Resources{CPUMilli: taskCPUMilli, MemBytes: taskMemBytes},
				})
				standing++
			}
		}
		attributes := map[string]string{"os": "linux", "rack": rack}
		if a.w.Hot > 0 {
			attributes["pool"] = fmt.Sprint(i / a.w.Hot)
		}
		all = append(all, l.Sum(), &cellstate.Machine{Name: name, Attributes: attributes, Domains: []string{rack}},
			&cellstate.Session{Machine: name, Epoch: 1, Drivers: []string{"emulated"}, StartedAt: now()})
	}
	return all
}

// write puts records, many in one request.
func (a *arena) write(values []cellstate.Value) {
	a.tb.Helper()
	const most = 500
	var ops []clientv3.Op
	for i, v := range values {
		b, err := wire.Marshal(v)
		if err != nil {
			a.tb.Fatal(err)
		}
		ops = append(ops, clientv3.OpPut(wire.KeyString(workloadCell, v.Key()), string(b)))
		if len(ops) == most || i == len(values)-1 {
			if _, err := a.client.Txn(a.tb.Context()).Then(ops...).Commit(); err != nil {
				a.tb.Fatal(err)
			}
			ops = nil
		}
	}
}

// follow starts the schedulers' mirrors.
func (a *arena) follow() {
	a.tb.Helper()
	stores := make([]cellstate.Store, max(1, a.w.Stores))
	for i := range stores {
		stores[i] = openStore(a.tb, a.dial(), workloadCell)
	}
	for i := range a.w.Schedulers {
		m := &meter{Store: stores[i%len(stores)]}
		a.meters = append(a.meters, m)
		seen, stop := watchMirror(a.tb, m, racer(i))
		a.mirrors, a.ends = append(a.mirrors, seen), append(a.ends, stop)
	}
}

// begin starts the loops, which find all jobs there, and lets them plan when each of them leads.
func (a *arena) begin() {
	a.tb.Helper()
	a.gate = newGate(batch.Planner{})
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	var loops []*schedulers.Loop
	for i, m := range a.mirrors {
		loop, err := schedulers.New(schedulers.Config{
			Name: racer(i), Planner: a.gate, Store: a.meters[i], Mirror: m.Mirror, Workers: a.w.Workers, Seed: uint64(i + 1),
		})
		if err != nil {
			a.tb.Fatal(err)
		}
		loops = append(loops, loop)
		all.Go(func() {
			if err := loop.Run(ctx); err != nil {
				a.tb.Errorf("scheduler %s: %v", racer(i), err)
			}
		})
	}
	a.stop = sync.OnceFunc(func() {
		cancel()
		a.gate.open() // for those who wait there, should it never have come to that
		all.Wait()
	})
	eventually(a.tb, "every scheduler leads", func() bool {
		return !slices.ContainsFunc(loops, func(l *schedulers.Loop) bool { return l.Leading() == 0 })
	})
	a.gate.open()
}

// wait returns when the first mirror shows so many claims of the workload in all, and how long that took since the schedulers
// might plan, with the CPU time of the process meanwhile: schedulers, mirrors and etcd.
func (a *arena) wait(claims int) (took, cpu time.Duration) {
	a.tb.Helper()
	select {
	case end := <-a.mirrors[0].reach(claims):
		return end.at.Sub(a.gate.at.at), end.cpu - a.gate.at.cpu
	case <-time.After(20 * patience):
		a.tb.Fatalf("only %d of %d claims are placed", a.mirrors[0].now(), claims)
		return 0, 0
	}
}

// audit has cellctl check every revision.
func (a *arena) audit(claims int) {
	a.tb.Helper()
	c := &cell{t: a.tb, tag: workloadCell, endpoint: a.member.Endpoint}
	var r struct {
		Ledgers, Claims, Violations int
		Found                       []struct{ Invariant, Key, Text string }
	}
	out, stderr, code := c.tryCtl("check", "invariants", "-w", "json")
	decode(a.tb, out, &r)
	if code != 0 || r.Violations > 0 || r.Claims < claims || r.Ledgers < a.w.Machines {
		a.tb.Errorf("the audit says %+v, %s; want no violation in at least %d claims", r, stderr, claims)
	}
}

// placeWorkload has schedulers place all jobs of a workload.
func placeWorkload(tb testing.TB, w workload, audit bool) figures {
	tb.Helper()
	f := placeOnce(tb, w, audit, func(int) string {
		if w.Hot > 0 {
			return "0"
		}
		return ""
	})
	if w.Hot > 0 {
		apart := placeOnce(tb, w, false, func(job int) string { return fmt.Sprint(job % w.Schedulers) })
		f["goodput-ratio"] = f["placements/s"] / apart["placements/s"]
	}
	return f
}

// placeOnce has schedulers place all jobs, each in the pool that is said.
func placeOnce(tb testing.TB, w workload, audit bool, pool func(job int) string) figures {
	tb.Helper()
	a := newArena(tb, w)
	defer a.close()
	var jobs []cellstate.Value
	for i := range w.Jobs {
		jobs = append(jobs, w.job(i, pool(i)))
	}
	a.write(jobs)
	a.follow()
	a.ready()
	a.begin()
	took, cpu := a.wait(w.claims())
	f := a.figures(took, cpu)
	memory(tb, f)
	if w.Pace > 0 {
		a.paced(f, took)
	}
	a.stop()
	if audit {
		a.audit(w.claims())
	}
	return f
}

// ready waits until every mirror shows all that was written.
func (a *arena) ready() {
	a.tb.Helper()
	resp, err := a.client.Get(a.tb.Context(), "nothing")
	if err != nil {
		a.tb.Fatal(err)
	}
	for _, m := range a.mirrors {
		if _, err := m.Wait(a.tb.Context(), resp.Header.Revision); err != nil {
			a.tb.Fatal(err)
		}
	}
}

// figures sums up what the meters saw.
func (a *arena) figures(took, cpu time.Duration) figures {
	var all tally
	var done []time.Duration // by scheduler, when its last claim was committed
	var steps []step
	for i, m := range a.meters {
		t := m.read()
		all.add(&t)
		if len(t.steps) > 0 {
			done = append(done, t.steps[len(t.steps)-1].at.Sub(a.gate.at.at))
		}
		for _, s := range t.steps {
			s.scheduler = i
			steps = append(steps, s)
		}
	}
	slices.Sort(done)
	claims := float64(a.w.claims())
	f := figures{
		"placements/s":      claims / took.Seconds(),
		"cpu-us/claim":      float64(cpu.Microseconds()) / claims,
		"conflict-fraction": float64(all.conflicted) / float64(a.w.Jobs),
		"refused-fraction":  float64(all.refused) / claims,
		"resent-fraction":   float64(all.resent) / claims,
		"slowest-share":     slowestShare(steps, a.w.Schedulers),
		"last/median":       done[len(done)-1].Seconds() / done[len(done)/2].Seconds(),
		"plan-us/task":      float64(a.gate.took().Nanoseconds()) / 1e3 / (claims + float64(all.refused)),
	}
	f["commit-p50-ms"], f["commit-p99-ms"] = percentiles(all.took)
	return f
}

// slowestShare is what the scheduler with the fewest claims had when half of all claims were placed, against the mean.
func slowestShare(steps []step, n int) float64 {
	slices.SortFunc(steps, func(a, b step) int { return a.at.Compare(b.at) })
	total := 0
	for _, s := range steps {
		total += s.claims
	}
	had := make([]int, n)
	sum := 0
	for _, s := range steps {
		had[s.scheduler] += s.claims
		if sum += s.claims; sum >= total/2 {
			break
		}
	}
	return float64(slices.Min(had)) / (float64(sum) / float64(n))
}

// paced submits as many jobs again at a share of the rate that was reached, and measures how long commits take to be seen by
// another scheduler.
func (a *arena) paced(f figures, took time.Duration) {
	a.tb.Helper()
	for _, m := range a.meters {
		m.reset()
	}
	gap := time.Duration(float64(took) / a.w.Pace / float64(a.w.Jobs))
	store := openStore(a.tb, a.client, workloadCell)
	tick := time.NewTicker(gap)
	defer tick.Stop()
	for i := range a.w.Jobs {
		<-tick.C
		j := a.w.job(a.w.Jobs+i, "")
		put(a.tb, store, []cellstate.Value{j})
	}
	select {
	case <-a.mirrors[0].reach(2 * a.w.claims()):
	case <-time.After(patience):
		a.tb.Fatalf("only %d of %d claims are placed", a.mirrors[0].now(), 2*a.w.claims())
	}
	var late []time.Duration
	var all tally
	for i, m := range a.meters {
		t := m.read()
		all.add(&t)
		other := a.mirrors[(i+1)%len(a.mirrors)]
		for _, s := range t.steps {
			if _, err := other.Wait(a.tb.Context(), s.rev); err != nil {
				a.tb.Fatal(err)
			}
			late = append(late, max(0, other.sawAt(s.rev).Sub(s.at)))
		}
	}
	f["visible-p50-ms"], f["visible-p99-ms"] = percentiles(late)
	f["commit-p50-ms"], f["commit-p99-ms"] = percentiles(all.took)
}
