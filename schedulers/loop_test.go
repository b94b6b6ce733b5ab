package schedulers_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/memstore"
	"github.com/omegacell/omegacell/cellstate/mirror"
	"github.com/omegacell/omegacell/schedulers"
	"github.com/omegacell/omegacell/schedulers/batch"
)

// cell is a cell in a synctest bubble: a store in memory, and machines whose agents the test plays.
type cell struct {
	t     *testing.T
	store *memstore.Store
}

func newCell(t *testing.T, machines int) *cell {
	c := &cell{t: t, store: memstore.New(memstore.Config{})}
	t.Cleanup(func() { time.Sleep(time.Hour) }) // the last: what was told to end, ends
	for i := range machines {
		name := fmt.Sprintf("m%d", i)
		c.put(cellstate.NewLedger(name, cellstate.Resources{CPUMilli: 1000}), &cellstate.Machine{Name: name}, &cellstate.Session{Machine: name, Epoch: 1})
	}
	return c
}

func (c *cell) put(values ...cellstate.Value) {
	c.t.Helper()
	var s cellstate.Swap
	for _, v := range values {
		s.Put = append(s.Put, cellstate.Put{Value: v})
	}
	if _, err := c.store.Swap(context.Background(), s); err != nil {
		c.t.Fatal(err)
	}
}

// start runs one copy of the scheduler "batch" until the test ends or stop is called, which waits for its end.
func (c *cell) start(store cellstate.Store, change func(*schedulers.Config)) (l *schedulers.Loop, stop func()) {
	c.t.Helper()
	now := func() cellstate.Instant { return cellstate.InstantOf(time.Now()) }
	m, err := mirror.New(mirror.Config{Store: store, Now: now})
	if err != nil {
		c.t.Fatal(err)
	}
	cfg := schedulers.Config{Name: "batch", Planner: batch.Planner{}, Store: store, Mirror: m, Now: now, Seed: 1}
	if change != nil {
		change(&cfg)
	}
	l, err = schedulers.New(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	following, unfollow := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { _ = m.Run(following) }() // ends with the context
	go func() { done <- l.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			c.t.Errorf("Run = %v after a graceful stop", err)
		}
		unfollow()
	}
	c.t.Cleanup(stop)
	return l, stop
}

func (c *cell) submit(name string, tasks uint32, cpu int64) *cellstate.Job {
	j := &cellstate.Job{
		Scheduler: "batch", Name: name, Run: 7, Version: 1, Tenant: cellstate.DefaultTenant, Precedence: 100, Tasks: tasks,
		Task: cellstate.TaskSpec{Resources: cellstate.Resources{CPUMilli: cpu}}, SubmittedAt: cellstate.InstantOf(time.Now()),
	}
	c.put(j)
	return j
}

// claims lists all claims as "job/task.attempt@machine", sorted.
func (c *cell) claims() []string {
	var out []string
	for _, l := range c.ledgers() {
		for _, cl := range l.Claims {
			out = append(out, fmt.Sprintf("%s/%d.%d@%s", cl.ID.Job, cl.ID.Task, cl.ID.Attempt, l.Machine))
		}
	}
	slices.Sort(out)
	return out
}

func (c *cell) ledgers() []*cellstate.Ledger {
	list, err := c.store.List(context.Background(), cellstate.Range{Kind: cellstate.KindLedger}, 0)
	if err != nil {
		c.t.Fatal(err)
	}
	var out []*cellstate.Ledger
	for _, r := range list.Records {
		out = append(out, r.Value.(*cellstate.Ledger))
	}
	return out
}

func (c *cell) status(job string) *cellstate.JobStatus {
	rec, err := cellstate.Get(context.Background(), c.store, cellstate.StatusKey("batch", job))
	if err != nil {
		c.t.Fatal(err)
	}
	s, _ := rec.Value.(*cellstate.JobStatus)
	return s
}

// end plays an agent that saw a task of a machine end.
func (c *cell) end(machine string, exit int32) {
	rec, err := cellstate.Get(context.Background(), c.store, cellstate.LedgerKey(machine))
	if err != nil {
		c.t.Fatal(err)
	}
	l := rec.Value.(*cellstate.Ledger)
	now := cellstate.InstantOf(time.Now())
	report := &cellstate.Report{Machine: machine, Epoch: 1}
	var ids []cellstate.ClaimID
	for _, cl := range l.Claims {
		ids = append(ids, cl.ID)
		report.Claims = append(report.Claims, cellstate.ClaimStatus{
			ID: cl.ID, Phase: cellstate.PhaseEnded, Outcome: cellstate.OutcomeExited, ExitCode: exit, StartedAt: now, EndedAt: now,
		})
	}
	c.put(report, l.MarkEnded(ids, now))
}

// settle lets everything happen that happens within a second.
func settle() {
	time.Sleep(time.Second)
	synctest.Wait()
}

func TestLoopRunsAJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCell(t, 2)
		_, stop := c.start(c.store, nil)
		c.submit("hello", 2, 1000)
		settle()
		if got := c.claims(); !slices.Equal(got, []string{"hello/0.0@m0", "hello/1.0@m1"}) && !slices.Equal(got, []string{"hello/0.0@m1", "hello/1.0@m0"}) {
			t.Fatalf("claims %v, want one task on each machine", got)
		}
		c.end("m0", 0)
		c.end("m1", 0)
		settle()
		if s := c.status("hello"); s == nil || s.Phase != cellstate.JobSucceeded {
			t.Errorf("status %+v, want succeeded", s)
		}
		if got := c.claims(); len(got) != 0 {
			t.Errorf("claims %v are left of a job that has ended", got)
		}
		stop()
		leader, err := cellstate.Get(context.Background(), c.store, cellstate.LeaderKey("batch", 0))
		if err != nil || leader.Rev != 0 {
			t.Errorf("leader %+v, %v after a graceful stop, want none", leader.Value, err)
		}
	})
}

func TestLoopRetriesAFailedTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCell(t, 1)
		c.start(c.store, nil)
		j := c.submit("flaky", 1, 1000)
		n := *j
		n.Retries = 1
		c.put(&n)
		settle()
		c.end("m0", 3)
		time.Sleep(5 * time.Second) // past the wait before the retry
		settle()
		if got := c.claims(); !slices.Equal(got, []string{"flaky/0.1@m0"}) {
			t.Fatalf("claims %v, want the second attempt", got)
		}
		c.end("m0", 3)
		settle()
		s := c.status("flaky")
		if s.Phase != cellstate.JobFailed || s.Message == "" {
			t.Errorf("status %s %q after the last retry failed, want failed with a message", s.Phase, s.Message)
		}
	})
}

// TestLoopParksAndWakes: a job without room waits with an explanation, takes no part in the queue, and goes on as soon as
// room appears.
func TestLoopParksAndWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCell(t, 1)
		c.start(c.store, func(cfg *schedulers.Config) { cfg.Recheck = 1000 * time.Hour })
		c.submit("first", 1, 1000)
		settle()
		c.submit("second", 1, 600)
		settle()
		s := c.status("second")
		if s == nil || s.Explanation == nil || !s.Explanation.Parked || s.Explanation.Looked != 1 {
			t.Fatalf("status of a job without room: %+v, want parked with an explanation of one machine", s)
		}
		c.end("m0", 0)
		settle()
		if got := c.claims(); !slices.Equal(got, []string{"second/0.0@m0"}) {
			t.Errorf("claims %v after room appeared, want the parked job's", got)
		}
		settle()
		if s := c.status("second"); s.Explanation != nil {
			t.Errorf("explanation %+v is left of a job that was placed", s.Explanation)
		}
	})
}

// unsure is a store that carries commits out and then says that the outcome is unknown, as often as told.
type unsure struct {
	cellstate.Store
	times int
}

func (u *unsure) Commit(ctx context.Context, t *cellstate.Txn) (cellstate.Verdict, error) {
	v, err := u.Store.Commit(ctx, t)
	if err == nil && u.times > 0 {
		u.times--
		return cellstate.Verdict{}, &cellstate.OpError{Op: "commit", On: t.ID, Err: cellstate.ErrUnknown}
	}
	return v, err
}

// TestLoopSettlesUnknownOutcomes guards I4: one request yields at most one claim.
func TestLoopSettlesUnknownOutcomes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCell(t, 8)
		c.start(&unsure{Store: c.store, times: 3}, func(cfg *schedulers.Config) { cfg.Workers = 1 })
		c.submit("once", 4, 1000)
		time.Sleep(10 * time.Second)
		settle()
		if got := c.claims(); len(got) != 4 {
			t.Errorf("claims %v, want each of 4 tasks once", got)
		}
	})
}

// thief is a store in which, before the n-th commit, somebody else takes all that the transaction is about to claim.
type thief struct {
	cellstate.Store
	cell  *cell
	times int
}

func (s *thief) Commit(ctx context.Context, t *cellstate.Txn) (cellstate.Verdict, error) {
	if s.times > 0 && len(t.Add) > 0 {
		s.times--
		m := t.Add[0].Machine
		other := cellstate.Claim{
			ID: cellstate.ClaimID{Scheduler: "other", Job: "thief", Task: uint32(s.times)}, Machine: m, Precedence: 100,
			Resources: cellstate.Resources{CPUMilli: 1000}, Start: 1,
		}
		if _, err := s.Store.Commit(ctx, &cellstate.Txn{
			ID: "theft", Scheduler: "other", Mode: cellstate.Incremental, Rule: cellstate.FitRule, Add: []cellstate.Claim{other},
		}); err != nil {
			s.cell.t.Error(err)
		}
	}
	return s.Store.Commit(ctx, t)
}

// TestLoopRepairsConflicts: what lost a race is placed elsewhere, what was committed stays where it is.
func TestLoopRepairsConflicts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCell(t, 8)
		c.start(&thief{Store: c.store, cell: c, times: 3}, nil)
		c.submit("job", 4, 1000)
		settle()
		mine := 0
		for _, s := range c.claims() {
			if s[:3] == "job" {
				mine++
			}
		}
		if mine != 4 || len(c.claims()) != 7 {
			t.Errorf("claims %v, want 4 of ours beside 3 stolen machines", c.claims())
		}
	})
}

// TestLoopStandbyTakesOver guards that a second copy does nothing while the first leads, and everything once it is cut off.
func TestLoopStandbyTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCell(t, 4)
		one, two := c.store.Client(), c.store.Client()
		first, _ := c.start(one, nil)
		settle()
		second, _ := c.start(two, nil)
		c.submit("a", 1, 1000)
		settle()
		if first.Leading() != 1 || second.Leading() != 0 {
			t.Fatalf("leading: %d and %d, want 1 and 0", first.Leading(), second.Leading())
		}
		one.SetAvailable(false)
		c.submit("b", 1, 1000)
		time.Sleep(30 * time.Second)
		settle()
		if second.Leading() != 1 || len(c.claims()) != 2 {
			t.Errorf("the standby leads %d shards; claims %v, want both jobs'", second.Leading(), c.claims())
		}
		one.SetAvailable(true)
		settle()
		if first.Leading() != 0 {
			t.Error("the deposed copy thinks that it leads")
		}
		time.Sleep(30 * time.Second)
		settle()
		if len(c.claims()) != 2 {
			t.Errorf("claims %v, want each job once", c.claims())
		}
	})
}

// TestLoopShares: two active copies lead two of four shards each and place each job once; when one goes, the other takes all.
func TestLoopShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCell(t, 20)
		both := func(cfg *schedulers.Config) { cfg.Shards, cfg.Copies = 4, 2 }
		first, stop := c.start(c.store.Client(), both)
		second, _ := c.start(c.store.Client(), both)
		settle()
		if first.Leading() != 2 || second.Leading() != 2 {
			t.Fatalf("leading: %d and %d shards, want 2 each", first.Leading(), second.Leading())
		}
		for i := range 10 {
			c.submit(fmt.Sprintf("job%d", i), 1, 1000)
		}
		settle()
		if got := c.claims(); len(got) != 10 {
			t.Errorf("%d claims %v, want 10", len(got), got)
		}
		stop()
		for i := range 10 {
			c.submit(fmt.Sprintf("more%d", i), 1, 1000)
		}
		time.Sleep(time.Minute)
		settle()
		if second.Leading() != 4 || len(c.claims()) != 20 {
			t.Errorf("the copy that is left leads %d shards; %d claims, want 4 and 20", second.Leading(), len(c.claims()))
		}
	})
}

// TestLoopReleasesQuota guards I7 from the other side: a job gives back what was admitted for it once, when it ends.
func TestLoopReleasesQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCell(t, 1)
		c.start(c.store, nil)
		c.put(&cellstate.Tenant{Name: cellstate.DefaultTenant, Bands: []cellstate.BandQuota{{
			Band: cellstate.BandBatch, Limit: cellstate.Resources{CPUMilli: 5000}, Admitted: cellstate.Resources{CPUMilli: 1500},
		}}})
		c.submit("a", 1, 1000)
		settle()
		c.end("m0", 0)
		settle()
		rec, err := cellstate.Get(context.Background(), c.store, cellstate.TenantKey(cellstate.DefaultTenant))
		if err != nil {
			t.Fatal(err)
		}
		if got := rec.Value.(*cellstate.Tenant).Bands[0].Admitted.CPUMilli; got != 500 {
			t.Errorf("admitted %dm after the job ended, want the other 500m", got)
		}
	})
}

// quotaMeanwhile is a store in which an operator gives a tenant its first quota just before a job's final status is written:
// what the job asks for is counted then.
type quotaMeanwhile struct {
	cellstate.Store
	cell *cell
	done bool
}

func (s *quotaMeanwhile) Swap(ctx context.Context, w cellstate.Swap) (cellstate.Swapped, error) {
	for _, p := range w.Put {
		if st, ok := p.Value.(*cellstate.JobStatus); ok && st.Phase.Final() && !s.done {
			s.done = true
			s.cell.put(&cellstate.Tenant{Name: cellstate.DefaultTenant, Bands: []cellstate.BandQuota{{
				Band: cellstate.BandBatch, Limit: cellstate.Resources{CPUMilli: 5000}, Admitted: cellstate.Resources{CPUMilli: 1000},
			}}})
		}
	}
	return s.Store.Swap(ctx, w)
}

// TestLoopReleasesQuotaSetMeanwhile: a quota that comes while a job ends does not keep what the job asked for (I7).
func TestLoopReleasesQuotaSetMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCell(t, 1)
		c.start(&quotaMeanwhile{Store: c.store, cell: c}, nil)
		c.submit("a", 1, 1000)
		settle()
		c.end("m0", 0)
		settle()
		rec, err := cellstate.Get(context.Background(), c.store, cellstate.TenantKey(cellstate.DefaultTenant))
		if err != nil || rec.Value == nil {
			t.Fatalf("no tenant: %v", err)
		}
		if got := rec.Value.(*cellstate.Tenant).Bands[0].Admitted.CPUMilli; got != 0 {
			t.Errorf("admitted %dm after the only job ended, want none", got)
		}
	})
}

// TestLoopClearsOrphans: claims of a job that was deleted, or of an earlier run of its name, are ended and removed.
func TestLoopClearsOrphans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCell(t, 2)
		j := c.submit("gone", 2, 1000)
		c.start(c.store, nil)
		settle()
		if _, err := c.store.Swap(context.Background(), cellstate.Swap{Delete: []cellstate.Key{j.Key()}}); err != nil {
			t.Fatal(err)
		}
		settle()
		for _, l := range c.ledgers() {
			for _, cl := range l.Claims {
				if cl.Evict == nil {
					t.Errorf("%s of a deleted job is not asked to end", cl.ID)
				}
			}
		}
		c.end("m0", 0)
		c.end("m1", 0)
		settle()
		if got := c.claims(); len(got) != 0 {
			t.Errorf("claims %v are left of a deleted job", got)
		}
	})
}

// TestLoopDeletesOldJobs: records of a finished job go when they were kept for the retention.
func TestLoopDeletesOldJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCell(t, 1)
		c.start(c.store, func(cfg *schedulers.Config) { cfg.Retention = time.Hour })
		c.submit("a", 1, 1000)
		settle()
		c.end("m0", 0)
		time.Sleep(time.Hour - 5*time.Second)
		settle()
		if c.status("a") == nil {
			t.Fatal("deleted before its time")
		}
		time.Sleep(10 * time.Second)
		settle()
		if c.status("a") != nil {
			t.Error("still there after the retention")
		}
	})
}
