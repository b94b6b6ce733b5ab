package integration

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/etcdstore/etcdtest"
	"github.com/omegacell/omegacell/schedulers"
	"github.com/omegacell/omegacell/schedulers/batch"
)

// TestRacingSchedulers has two scheduler processes want half as much again as there is. What fits is placed, to the last slot; the rest
// waits, and says why.
func TestRacingSchedulers(t *testing.T) {
	const (
		machines = 10
		slots    = 4 * machines // tasks of one core
		jobs     = 10           // of each scheduler
		size     = 3            // tasks
	)
	c := newCell(t)
	c.startMember()
	c.startAgent("m", "--emulated", fmt.Sprint(machines))
	racers := map[string]*process{}
	for _, name := range []string{"red", "blue"} {
		racers[name] = c.startScheduler("batchsched", "--name", name)
	}
	c.until("both schedulers are there", func(s cellstate.Snapshot) bool {
		_, red := s.Scheduler("red")
		_, blue := s.Scheduler("blue")
		return red && blue
	})
	yaml := ""
	for i := range jobs {
		for name := range racers {
			yaml += fmt.Sprintf(`
---
name: job%d
scheduler: %s
tasks: %d
task:
  driver: emulated
  command: [sleep, infinity]
  resources: {cpu: 1, memory: 16Mi}
`, i, name, size)
		}
	}
	c.run(yaml)
	s := c.until("every slot is taken and every other task waits with a reason", func(s cellstate.Snapshot) bool {
		waiting := uint32(0)
		for _, st := range s.Jobs("") {
			if st != nil && st.Explanation != nil {
				waiting += st.Explanation.Unplaced
			}
		}
		return liveClaims(s) == slots && waiting == 2*jobs*size-slots
	})
	for j, st := range s.Jobs("") {
		if st == nil || st.Explanation == nil {
			continue
		}
		wantExplained(t, s, j, st.Explanation)
	}
	for name, p := range racers {
		t.Logf("%s: %s transactions, %s conflicts", name, p.metric(fmt.Sprintf("omegacell_scheduler_transactions_total{scheduler=%q}", name)),
			p.metric(fmt.Sprintf("omegacell_scheduler_conflicting_transactions_total{reason=\"full\",scheduler=%q}", name)))
	}
	c.checkInvariants()

	// What is given back goes to who waits.
	c.ctl("stop", "red/job0", "--wait")
	c.until("the room of the stopped job is taken", func(s cellstate.Snapshot) bool {
		for range s.Claims("red", "job0") {
			return false
		}
		return liveClaims(s) == slots
	})
	c.checkInvariants()
}

// wantExplained holds that a waiting job says so, and that the machines it looked at are all accounted for.
func wantExplained(t testing.TB, s cellstate.Snapshot, j *cellstate.Job, x *cellstate.Explanation) {
	t.Helper()
	sum := uint32(0)
	for _, r := range x.Rules {
		sum += r.Count
	}
	if !x.Parked || x.Unplaced == 0 || x.Unplaced > j.Tasks || x.Unblock == "" || sum != x.Looked-x.Eligible || int(x.Looked) != s.Len() {
		t.Errorf("job %s/%s waits: %+v", j.Scheduler, j.Name, *x)
	}
}

func liveClaims(s cellstate.Snapshot) int {
	n := 0
	for i := range s.Len() {
		if m := s.At(i); m != nil {
			n += m.Ledger.Live()
		}
	}
	return n
}

// TestRace20k has two schedulers aim 20,000 claims at 80 % of the same 200 machines, each with a connection and a mirror of its own.
func TestRace20k(t *testing.T) {
	const (
		machines = 200
		slots    = 125 // of each machine
		jobs     = 100 // of each scheduler
		size     = 100 // tasks
		claims   = 2 * jobs * size
	)
	member := etcdtest.Start(t)
	setup := openStore(t, member.Client(), "race")
	var values []cellstate.Value
	for i := range machines {
		name := fmt.Sprintf("m%03d", i)
		values = append(values, cellstate.NewLedger(name, cellstate.Resources{CPUMilli: slots * 1000, MemBytes: slots << 20}),
			&cellstate.Machine{Name: name}, &cellstate.Session{Machine: name, Epoch: 1, StartedAt: now()})
	}
	put(t, setup, values)
	watcher := startMirror(t, setup)
	placed := countClaims(t, watcher, claims)
	meter := &counter{}
	for i, name := range []string{"red", "blue"} {
		store := counted{openStore(t, member.Client(), "race"), meter}
		runLoop(t, schedulers.Config{Name: name, Planner: batch.Planner{}, Store: store, Mirror: startMirror(t, store), Seed: uint64(i + 1)})
	}
	values = nil
	for i := range jobs {
		for _, name := range []string{"red", "blue"} {
			values = append(values, &cellstate.Job{
				Scheduler: name, Name: fmt.Sprintf("job%03d", i), Run: 1, Version: 1, Tenant: cellstate.DefaultTenant,
				Precedence: cellstate.BandBatch.Lowest(), Tasks: size, SubmittedAt: now(),
				Task: cellstate.TaskSpec{Driver: "emulated", Resources: cellstate.Resources{CPUMilli: 1000, MemBytes: 1 << 20}},
			})
		}
	}
	began := time.Now()
	put(t, setup, values)
	select {
	case <-placed:
	case <-time.After(patience):
		t.Fatalf("only %d of %d claims are placed", liveClaims(watcher.Snapshot()), claims)
	}
	took := time.Since(began)
	n := meter.now()
	t.Logf("%d claims in %.2fs (%.0f/s): %d transactions, %d conflicts (fraction %.4f), %d of %d claims refused, %d parts resent", claims,
		took.Seconds(), claims/took.Seconds(), n.transactions, n.conflicts, float64(n.conflicts)/float64(n.transactions), n.refused, claims+n.refused, n.resent)
	if n.resent+n.conflicts == 0 {
		t.Error("the schedulers never met: this no longer tests anything")
	}
	c := &cell{t: t, tag: "race", endpoint: member.Endpoint}
	var r struct{ Ledgers, Claims, Violations int }
	c.ctlJSON(&r, "check", "invariants")
	if r.Violations > 0 || r.Claims != claims || r.Ledgers < machines {
		t.Errorf("the audit says %+v, want no violation in %d claims", r, claims)
	}
}

// put writes records without conditions.
func put(t testing.TB, s cellstate.Store, values []cellstate.Value) {
	t.Helper()
	var swap cellstate.Swap
	for _, v := range values {
		swap.Put = append(swap.Put, cellstate.Put{Value: v})
	}
	if _, err := s.Swap(t.Context(), swap); err != nil {
		t.Fatal(err)
	}
}

// runLoop runs a scheduler until the test ends.
func runLoop(t testing.TB, cfg schedulers.Config) {
	t.Helper()
	loop, err := schedulers.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background()) // not the test's, which is over before its clean-up
	ended := make(chan error, 1)
	go func() { ended <- loop.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("scheduler %s: %v", cfg.Name, err)
		}
	})
}

// countClaims tells when the cell has so many live claims.
func countClaims(t testing.TB, m cellstate.Mirror, want int) <-chan struct{} {
	t.Helper()
	reached := make(chan struct{})
	live := 0
	count := func(v cellstate.Value) int {
		if l, ok := v.(*cellstate.Ledger); ok {
			return l.Live()
		}
		return 0
	}
	stop := m.Observe(func(_ cellstate.Snapshot, changes []cellstate.Change) {
		before := live
		for _, c := range changes {
			live += count(c.New) - count(c.Old)
		}
		if before < want && live >= want {
			close(reached)
		}
	})
	t.Cleanup(stop)
	return reached
}

// counter counts the transactions that add claims.
type counter struct {
	mu sync.Mutex
	n  counts
}

type counts struct{ transactions, conflicts, refused, resent int }

func (c *counter) now() counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

// counted is a store whose commits are counted.
type counted struct {
	cellstate.Store
	counter *counter
}

func (s counted) Commit(ctx context.Context, t *cellstate.Txn) (cellstate.Verdict, error) {
	v, err := s.Store.Commit(ctx, t)
	if err == nil && len(t.Add) > 0 {
		s.counter.mu.Lock()
		defer s.counter.mu.Unlock()
		n := &s.counter.n
		n.transactions++
		n.refused += len(v.Conflicts)
		n.resent += v.Resent
		if len(v.Conflicts) > 0 {
			n.conflicts++
		}
	}
	return v, err
}
