package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/memstore"
)

// What operators and schedulers wrote survives a start of the agent; what the host is replaces what it was.
func TestRegistrationKeepsWhatOthersWrote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		l := cellstate.NewLedger("m1", cellstate.Resources{CPUMilli: 1000})
		l.Cordoned = true
		l.Drain = &cellstate.Drain{Deadline: cellstate.Forever, Reason: "disk"}
		l.Claims = []cellstate.Claim{{ID: cellstate.ClaimID{Scheduler: "s", Job: "j"}, Start: cellstate.Forever - 1}}
		r.swap(cellstate.Swap{Put: []cellstate.Put{{Value: l.Sum()}, {Value: &cellstate.Machine{Name: "m1",
			Attributes: map[string]string{"os": "plan9"}, Domains: []string{"r1"}, Labels: map[string]string{"team": "a"}}}}})
		r.cfg.Attributes = map[string]string{"os": "linux"}
		r.start()
		defer r.stop()
		got := r.ledger()
		if !got.Capacity.Equal(r.cfg.Capacity) || !got.Cordoned || got.Drain == nil || len(got.Claims) != 1 {
			t.Errorf("ledger %+v", got)
		}
		if m := get[*cellstate.Machine](r, cellstate.MachineKey("m1")); m.Attributes["os"] != "linux" || m.Labels["team"] != "a" || len(m.Domains) != 1 {
			t.Errorf("machine %+v", m)
		}
		rev := got.Rev
		r.stop()
		r.start()
		if got := r.ledger(); got.Rev != rev {
			t.Error("the ledger was written again though nothing changed")
		}
	})
}

func TestStopTasks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.cfg.StopTasks = true
		r.start()
		j := r.job("hello", nil)
		a, b := claimOf(j, 0, 0), claimOf(j, 1, 0)
		b.Start = cellstate.InstantOf(time.Now().Add(time.Hour))
		r.commit(cellstate.Txn{Add: []cellstate.Claim{a, b}})
		r.wantPhase(a.ID, cellstate.PhaseRunning)
		r.driver.stubborn = true
		r.cancel()
		synctest.Wait()
		select {
		case <-r.ended:
			t.Fatal("did not wait for the task")
		default:
		}
		if get[*cellstate.Session](r, cellstate.SessionKey("m1")) != nil {
			t.Error("there is still a session: schedulers place here what was stopped")
		}
		time.Sleep(40 * time.Second) // nor does it come back, though the lease is kept
		if get[*cellstate.Session](r, cellstate.SessionKey("m1")) != nil {
			t.Error("the session came back")
		}
		r.driver.end(a.ID, TaskState{Outcome: cellstate.OutcomeStopped})
		if err := <-r.ended; err != nil {
			t.Error(err)
		}
		if l := r.ledger(); !l.Find(a.ID).Ended || !l.Find(b.ID).Ended {
			t.Error("a claim is not marked ended")
		}
		if len(r.driver.tasks) > 0 || get[*cellstate.Session](r, cellstate.SessionKey("m1")) != nil {
			t.Errorf("left: tasks %v or the session", r.driver.tasks)
		}
	})
}

// StopTasks gives up on a task that does not end, and ends also where the cell is out of reach.
func TestStopTasksIsBounded(t *testing.T) {
	for _, cut := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			r.cfg.StopTasks, r.cfg.StopTimeout = true, 30*time.Second
			r.driver.stubborn = !cut
			r.start()
			c := claimOf(r.job("hello", nil), 0, 0)
			r.commit(cellstate.Txn{Add: []cellstate.Claim{c}})
			r.wantPhase(c.ID, cellstate.PhaseRunning)
			if cut {
				r.client.SetAvailable(false)
			}
			began := time.Now()
			r.cancel()
			<-r.ended
			if d := time.Since(began); d > 45*time.Second {
				t.Errorf("took %s", d)
			}
			if left := len(r.driver.running()); (left > 0) == cut {
				t.Errorf("cut %v: %d tasks left", cut, left)
			}
		})
	}
}

func TestRestartsInTheClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.start()
		defer r.stop()
		j := r.job("svc", func(j *cellstate.Job) {
			j.Task.Restart = cellstate.RestartPolicy{When: cellstate.RestartOnFailure, Max: 2}
		})
		c := claimOf(j, 0, 0)
		r.commit(cellstate.Txn{Add: []cellstate.Claim{c}})
		for n := range uint32(2) {
			if s := r.wantPhase(c.ID, cellstate.PhaseRunning); s.Restarts != n {
				t.Errorf("%d restarts, want %d", s.Restarts, n)
			}
			r.driver.exit(c.ID, 1)
			time.Sleep(300 * time.Millisecond)
			synctest.Wait()
			if s := get[*cellstate.Report](r, cellstate.ReportKey("m1")).Find(c.ID); s.Phase != cellstate.PhaseStarting || !strings.Contains(s.Message, "exit code 1") {
				t.Errorf("in between: %+v", s)
			}
			time.Sleep(2 * time.Second)
		}
		r.wantPhase(c.ID, cellstate.PhaseRunning)
		r.driver.exit(c.ID, 1)
		if s := r.wantPhase(c.ID, cellstate.PhaseEnded); s.Restarts != 2 || s.ExitCode != 1 {
			t.Errorf("in the end: %+v", s)
		}
	})
}

// Why a claim cannot be started is said in its final status.
func TestCannotStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.start()
		defer r.stop()
		j := r.job("hello", nil)
		for i, tt := range []struct {
			change func(*cellstate.Claim)
			says   string
		}{
			{func(c *cellstate.Claim) { c.ID.Job = "nope" }, "job s/nope: is not in the cell"},
			{func(c *cellstate.Claim) { c.ID.Run = 2 }, "job s/hello: was submitted anew"},
			{func(*cellstate.Claim) {}, "not started: no such command"},
		} {
			c := claimOf(j, uint32(i), 0)
			tt.change(&c)
			r.driver.startErr = errors.New("no such command")
			r.commit(cellstate.Txn{Add: []cellstate.Claim{c}})
			if s := r.wantPhase(c.ID, cellstate.PhaseEnded); s.Outcome != cellstate.OutcomeFailed || !strings.Contains(s.Message, tt.says) {
				t.Errorf("status %+v, want %q", s, tt.says)
			}
		}
		r.job("hello", func(j *cellstate.Job) { j.Version = 2; j.Task.Driver = "docker" })
		old, other := claimOf(j, 10, 0), claimOf(j, 11, 0)
		other.JobVersion = 2
		old.JobVersion = 1
		r.commit(cellstate.Txn{Add: []cellstate.Claim{other}})
		if s := r.wantPhase(other.ID, cellstate.PhaseEnded); !strings.Contains(s.Message, "driver docker") {
			t.Errorf("status %+v", s)
		}
		fresh := NewJobs(r.store)
		if _, err := fresh.For(context.Background(), &old); !errors.Is(err, cellstate.ErrInvalid) || !strings.Contains(err.Error(), "was changed") {
			t.Errorf("an old version: %v", err)
		}
		old.JobVersion = 3
		if _, err := fresh.For(context.Background(), &old); !errors.Is(err, cellstate.ErrUnavailable) {
			t.Errorf("a version still to come: %v", err)
		}
	})
}

// A ledger that cannot be read changes nothing; one that was deleted is made anew, and what has no claim any more is stopped.
func TestBrokenLedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.start()
		defer r.stop()
		c := claimOf(r.job("hello", nil), 0, 0)
		r.commit(cellstate.Txn{Add: []cellstate.Claim{c}})
		r.wantPhase(c.ID, cellstate.PhaseRunning)
		r.store.Corrupt(cellstate.LedgerKey("m1"), errors.New("not protobuf"))
		time.Sleep(time.Minute)
		if len(r.driver.running()) != 1 {
			t.Fatal("the task was stopped because of an unreadable ledger")
		}
		r.swap(cellstate.Swap{Delete: []cellstate.Key{cellstate.LedgerKey("m1")}})
		time.Sleep(time.Minute)
		if l := r.ledger(); l == nil || len(l.Claims) != 0 {
			t.Errorf("ledger %+v, want an empty one", l)
		}
		if len(r.driver.running()) != 0 {
			t.Error("a task without a claim runs")
		}
	})
}

// An agent that was out of reach while history was compacted reads the ledger again.
func TestCompactedWhileOutOfReach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.start()
		defer r.stop()
		r.client.SetAvailable(false)
		c := claimOf(r.job("hello", nil), 0, 0)
		r.commit(cellstate.Txn{Add: []cellstate.Claim{c}})
		r.job("other", nil)
		r.store.Compact(1 << 40)
		time.Sleep(time.Minute)
		r.client.SetAvailable(true)
		time.Sleep(30 * time.Second)
		r.wantPhase(c.ID, cellstate.PhaseRunning)
	})
}

// racer is a store that lets a scheduler write the ledger just before each of the first few ends is written.
type racer struct {
	*memstore.Store
	rig   *rig
	races atomic.Int32
}

func (r *racer) Swap(ctx context.Context, s cellstate.Swap) (cellstate.Swapped, error) {
	if len(s.Guards) == 2 && s.Guards[1].Key.Kind == cellstate.KindLedger && r.races.Add(1) <= 5 {
		l := r.rig.ledger().Clone()
		l.Cordoned = !l.Cordoned
		r.rig.swap(cellstate.Swap{Put: []cellstate.Put{{Value: l.Sum()}}})
	}
	return r.Store.Swap(ctx, s)
}

func TestEndLosesRaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		x := &racer{Store: r.store.Client(), rig: r}
		r.cfg.Store = x
		a, err := New(r.cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		r.cancel, r.ended = cancel, make(chan error, 1)
		r.run(ctx, a)
		defer r.stop()
		synctest.Wait()
		x.races.Store(0)
		c := claimOf(r.job("hello", nil), 0, 0)
		r.commit(cellstate.Txn{Add: []cellstate.Claim{c}})
		r.wantPhase(c.ID, cellstate.PhaseRunning)
		r.driver.exit(c.ID, 0)
		r.wantPhase(c.ID, cellstate.PhaseEnded)
		if l := r.ledger(); !l.Find(c.ID).Ended || !l.Cordoned {
			t.Errorf("ended %v, cordoned %v: somebody's write was lost", l.Find(c.ID).Ended, l.Cordoned)
		}
		if n := x.races.Load(); n != 6 {
			t.Errorf("%d writes, want 5 lost ones and the last", n)
		}
	})
}

// Reports of progress are bounded in rate; an end is not held back by it.
func TestReportRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.cfg.Capacity.CPUMilli = 1 << 30
		r.start()
		defer r.stop()
		writes := 0
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		go func() {
			for range r.store.Watch(ctx, cellstate.ReportKey("m1").Only(), 0) {
				writes++
			}
		}()
		j := r.job("many", func(j *cellstate.Job) { j.Tasks = 200 })
		for i := range uint32(200) {
			r.commit(cellstate.Txn{Add: []cellstate.Claim{claimOf(j, i, 0)}})
			time.Sleep(10 * time.Millisecond)
		}
		synctest.Wait()
		if writes < 5 || writes > 14 { // 2 s, one each 200 ms, the first empty batch and an edge on each side
			t.Errorf("%d writes of the report in 2s, want about 10", writes)
		}
		for i := range uint32(2) { // the second one right after the first
			id := claimOf(j, i, 0).ID
			r.driver.exit(id, 0)
			synctest.Wait()
			if !r.ledger().Find(id).Ended {
				t.Errorf("the end of %s is held back", id)
			}
		}
	})
}

// A task costs two writes of the report, one when it runs and one when it ends. What is gone from the ledger leaves the report
// with the next of them. A claim that has to wait is reported all the same.
func TestTwoWritesForATask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.start()
		defer r.stop()
		j := r.job("short", nil)
		rev := func() int64 {
			time.Sleep(time.Second)
			synctest.Wait()
			rec, err := cellstate.Get(context.Background(), r.store, cellstate.ReportKey("m1"))
			if err != nil {
				t.Fatal(err)
			}
			return rec.Rev
		}
		writes := 0
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		go func() {
			for b, err := range r.store.Watch(ctx, cellstate.ReportKey("m1").Only(), rev()+1) {
				if err == nil {
					writes += len(b.Events)
				}
			}
		}()
		time.Sleep(time.Hour)
		for n := range uint32(3) {
			c := claimOf(j, n, 0)
			r.commit(cellstate.Txn{Add: []cellstate.Claim{c}})
			synctest.Wait()
			if st := get[*cellstate.Report](r, cellstate.ReportKey("m1")).Find(c.ID); st.Phase != cellstate.PhaseRunning {
				t.Errorf("task %d: reported %s, want it running at once", n, st.Phase)
			}
			rev()
			r.driver.exit(c.ID, 0)
			rev()
			r.commit(cellstate.Txn{Remove: []cellstate.ClaimRef{{Machine: "m1", ID: c.ID}}})
			rev()
			if want := 2 * int(n+1); writes != want {
				t.Errorf("%d writes for %d tasks, want %d", writes, n+1, want)
			}
			if got := get[*cellstate.Report](r, cellstate.ReportKey("m1")).Claims; len(got) != 1 || got[0].ID != c.ID {
				t.Errorf("task %d: the report names %v", n, got)
			}
		}
		late := claimOf(j, 3, 0)
		late.Start = cellstate.InstantOf(time.Now().Add(time.Hour))
		r.commit(cellstate.Txn{Add: []cellstate.Claim{late}})
		if st := r.status(late.ID); st.Phase != cellstate.PhasePending {
			t.Errorf("a claim that begins later is reported %s", st.Phase)
		}
	})
}

func TestHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		var code atomic.Int32
		var execErr atomic.Bool
		r.driver.exec = func() (int, error) {
			if execErr.Load() {
				return 0, errors.New("timed out")
			}
			return int(code.Load()), nil
		}
		code.Store(1)
		r.start()
		defer r.stop()
		j := r.job("svc", func(j *cellstate.Job) {
			j.Task.Health = &cellstate.HealthCheck{Command: []string{"check"}, Interval: 10 * time.Second, Failures: 2}
		})
		c := claimOf(j, 0, 0)
		r.commit(cellstate.Txn{Add: []cellstate.Claim{c}})
		want := func(after time.Duration, h cellstate.Health) {
			t.Helper()
			time.Sleep(after)
			s := r.status(c.ID) // a second later
			if s.Health != h {
				t.Errorf("%s, want %s", s.Health, h)
			}
			if told := strings.HasPrefix(s.Message, "health check: "); told != (h == cellstate.Unhealthy) {
				t.Errorf("%s: %q, want what is wrong as long as something is", h, s.Message)
			}
		}
		want(0, cellstate.HealthUnknown) // one failure
		want(10*time.Second, cellstate.Unhealthy)
		code.Store(0)
		want(10*time.Second, cellstate.Healthy)
		execErr.Store(true)
		want(8*time.Second, cellstate.Healthy) // one failure
		want(10*time.Second, cellstate.Unhealthy)
		r.driver.exit(c.ID, 0)
		if s := r.wantPhase(c.ID, cellstate.PhaseEnded); s.Health != cellstate.HealthUnknown {
			t.Errorf("healthy after the end: %s", s.Health)
		}
	})
}

// Many agents in one process: one watch, one lease.
func TestManyAgentsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 300
		r := newRig(t)
		client := r.store.Client()
		ctx, cancel := context.WithCancel(context.Background())
		ledgers := NewSharedLedgers(client, nil)
		followed := make(chan struct{})
		go func() { defer close(followed); ledgers.Run(ctx) }()
		lease := NewSharedLease(client)
		ends := make(chan error, n)
		var leave context.CancelFunc
		var drivers []*fake
		for i := range n {
			d := newFake()
			drivers = append(drivers, d)
			a, err := New(Config{Store: client, Driver: d, Machine: fmt.Sprintf("m%d", i), Capacity: r.cfg.Capacity, Watch: ledgers.Watch, Lease: lease.Lease})
			if err != nil {
				t.Fatal(err)
			}
			own := ctx
			if i == 0 {
				own, leave = context.WithCancel(ctx)
			}
			go func() { ends <- a.Run(own) }()
		}
		synctest.Wait()
		l, err := r.store.List(ctx, cellstate.Range{Kind: cellstate.KindSession}, 0)
		if err != nil || len(l.Records) != n {
			t.Fatalf("%d sessions, want %d: %v", len(l.Records), n, err)
		}
		for _, rec := range l.Records {
			if rec.Lease != l.Records[0].Lease {
				t.Fatal("more than one lease")
			}
		}
		j := r.job("hello", nil)
		c := claimOf(j, 0, 0)
		c.Machine = "m7"
		r.commit(cellstate.Txn{Add: []cellstate.Claim{c}})
		if len(drivers[7].running()) != 1 {
			t.Error("the claim of m7 was not started")
		}
		r.store.Compact(1 << 40)
		client.SetAvailable(false)
		c = claimOf(j, 1, 0)
		c.Machine = "m8"
		r.commit(cellstate.Txn{Add: []cellstate.Claim{c}})
		r.store.Compact(1 << 40)
		time.Sleep(20 * time.Second)
		client.SetAvailable(true)
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if len(drivers[8].running()) != 1 {
			t.Error("the claim of m8, made while all were out of reach, was not started")
		}
		leave() // the lease goes on, its session does not
		if err := <-ends; err != nil {
			t.Error(err)
		}
		for i, want := range []bool{false, true} {
			if is := get[*cellstate.Session](r, cellstate.SessionKey(fmt.Sprintf("m%d", i))) != nil; is != want {
				t.Errorf("session of m%d: %v, want %v", i, is, want)
			}
		}
		cancel()
		for range n - 1 {
			if err := <-ends; err != nil {
				t.Error(err)
			}
		}
		<-followed
		if l, err := r.store.List(context.Background(), cellstate.Range{Kind: cellstate.KindSession}, 0); err != nil || len(l.Records) != 0 {
			t.Errorf("%d sessions left: %v", len(l.Records), err)
		}
	})
}

// An agent whose machine was taken over while it was out of reach ends, and leaves the tasks alone; also where the one that took
// over has ended since.
func TestSuperseded(t *testing.T) {
	for _, stays := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) { testSuperseded(t, stays) })
	}
}

func testSuperseded(t *testing.T, stays bool) {
	r := newRig(t)
	r.start()
	c := claimOf(r.job("hello", nil), 0, 0)
	r.commit(cellstate.Txn{Add: []cellstate.Claim{c}})
	r.wantPhase(c.ID, cellstate.PhaseRunning)
	first, ended := r.client, r.ended
	first.SetAvailable(false)
	time.Sleep(time.Minute)
	r.start()
	if stays {
		defer r.stop()
	} else {
		r.stop()
	}
	first.SetAvailable(true)
	if err := <-ended; !errors.Is(err, ErrTaken) {
		t.Errorf("Run = %v, want ErrTaken", err)
	}
	if len(r.driver.running()) != 1 {
		t.Error("the task was stopped")
	}
}

// The end of a task that lasts no time may be heard of before its start.
func TestEndOvertakesStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.driver.instant = true
		r.start()
		defer r.stop()
		c := claimOf(r.job("true", nil), 0, 0)
		r.commit(cellstate.Txn{Add: []cellstate.Claim{c}})
		if s := r.wantPhase(c.ID, cellstate.PhaseEnded); s.Outcome != cellstate.OutcomeExited || s.StartedAt == 0 {
			t.Errorf("status %+v", s)
		}
	})
}

// What is heard late of an earlier incarnation says nothing about the present one.
func TestLateEndOfEarlierIncarnation(t *testing.T) {
	r := newRig(t)
	r.cfg.Store = r.store
	a, err := New(r.cfg)
	if err != nil {
		t.Fatal(err)
	}
	id := cellstate.ClaimID{Scheduler: "s", Job: "j"}
	h := adopt(TaskState{ID: id, Restart: 1, Phase: cellstate.PhaseRunning})
	a.holds[id] = h
	a.ended(TaskState{ID: id, Restart: 0, Phase: cellstate.PhaseEnded})
	if h.Status.Phase != cellstate.PhaseRunning {
		t.Errorf("%s, want running", h.Status.Phase)
	}
	a.ended(TaskState{ID: id, Restart: 1, Phase: cellstate.PhaseEnded})
	if h.Status.Phase == cellstate.PhaseRunning {
		t.Error("its own end was not taken in")
	}
}

// A shared lease lasts until its last user gave it up.
// lagging is a store on whose answers one has to wait, and which loses the answer to the first write.
type lagging struct {
	cellstate.Store
	lose         bool
	asking, most atomic.Int32
}

func (s *lagging) Swap(ctx context.Context, w cellstate.Swap) (cellstate.Swapped, error) {
	s.most.Store(max(s.most.Load(), s.asking.Add(1)))
	defer s.asking.Add(-1)
	time.Sleep(10 * time.Millisecond)
	res, err := s.Store.Swap(ctx, w)
	if len(w.Put) > 0 && s.lose {
		s.lose = false
		return cellstate.Swapped{}, cellstate.ErrUnknown
	}
	return res, err
}

// A registration that took effect although nothing was heard of it is the agent's own, not another's: under a shared lease the
// session would never run out.
func TestRegistrationOfUnknownOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.client = r.store.Client()
		r.cfg.Store = &lagging{Store: r.client, lose: true}
		lease := NewSharedLease(r.client)
		other, err := lease.Lease(t.Context(), 10*time.Second) // the rest of the process
		if err != nil {
			t.Fatal(err)
		}
		r.cfg.Lease = lease.Lease
		a, err := New(r.cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		r.cancel, r.ended = cancel, make(chan error, 1)
		r.run(ctx, a)
		time.Sleep(time.Second)
		if !a.Connected() {
			t.Error("it is not registered")
		}
		r.stop()
		if err := other.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Agents of one process register a few at a time, however many they are.
func TestRegisterInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 4 * registering
		r := newRig(t)
		store := &lagging{Store: r.store.Client()}
		lease := NewSharedLease(store)
		ctx, cancel := context.WithCancel(t.Context())
		ends := make(chan error, n)
		var agents []*Agent
		for i := range n {
			a, err := New(Config{Store: store, Driver: newFake(), Machine: fmt.Sprintf("m%d", i), Capacity: r.cfg.Capacity, Lease: lease.Lease})
			if err != nil {
				t.Fatal(err)
			}
			agents = append(agents, a)
			go func() { ends <- a.Run(ctx) }()
		}
		time.Sleep(time.Second)
		for i, a := range agents {
			if !a.Connected() {
				t.Fatalf("agent %d is not registered", i)
			}
		}
		if most := store.most.Load(); most != registering {
			t.Errorf("%d requests at the same time, want %d", most, registering)
		}
		cancel()
		for range n {
			if err := <-ends; err != nil {
				t.Error(err)
			}
		}
	})
}

func TestSharedLease(t *testing.T) {
	s := NewSharedLease(memstore.New(memstore.Config{}))
	var all []cellstate.Lease
	for range 3 {
		l, err := s.Lease(t.Context(), time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, l)
	}
	for i, l := range all {
		for range 2 { // twice is once
			if err := l.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		select {
		case <-l.Done():
			if i < 2 {
				t.Fatalf("over after %d of 3", i+1)
			}
		default:
			if i == 2 {
				t.Fatal("not over after all of 3")
			}
		}
	}
	if l, err := s.Lease(t.Context(), time.Minute); err != nil || l.ID() == all[0].ID() {
		t.Errorf("not a new one afterwards: %v", err)
	}
}
