package agent

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/memstore"
)

// rig is one machine in a synctest bubble: a cell in memory, a driver without processes, and agents that come and go.
type rig struct {
	t      *testing.T
	store  *memstore.Store // the schedulers'
	client *memstore.Store // the agent's
	driver *fake
	cfg    Config
	agent  *Agent
	cancel context.CancelFunc
	ended  chan error
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, store: memstore.New(memstore.Config{}), driver: newFake()}
	r.cfg = Config{Cell: "test", Machine: "m1", Driver: r.driver, Capacity: cellstate.Resources{CPUMilli: 4000, MemBytes: 4 << 30},
		Log: zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel))}
	return r
}

// start starts an agent with a client of its own and waits until nothing moves any more.
func (r *rig) start() {
	r.client = r.store.Client()
	r.cfg.Store = r.client
	a, err := New(r.cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.agent, r.cancel, r.ended = a, cancel, make(chan error, 1)
	r.run(ctx, a)
	synctest.Wait()
}

// run runs an agent; what comes of it goes to ended.
func (r *rig) run(ctx context.Context, a *Agent) {
	ended := r.ended
	go func() { ended <- a.Run(ctx) }()
}

// stop ends the agent gracefully.
func (r *rig) stop() {
	r.t.Helper()
	r.cancel()
	if err := <-r.ended; err != nil {
		r.t.Errorf("Run = %v", err)
	}
}

// crash ends the agent as kill -9 would: it can say nothing more to the cell.
func (r *rig) crash() {
	r.client.SetAvailable(false)
	r.cancel()
	if err := <-r.ended; err != nil {
		r.t.Errorf("Run = %v", err)
	}
}

func (r *rig) job(name string, change func(*cellstate.Job)) *cellstate.Job {
	j := &cellstate.Job{Scheduler: "s", Name: name, Run: 1, Version: 1, Tenant: "default", Precedence: 100, Tasks: 3,
		Task: cellstate.TaskSpec{Command: []string{"true"}, Resources: cellstate.Resources{CPUMilli: 1000}}}
	if change != nil {
		change(j)
	}
	r.swap(cellstate.Swap{Put: []cellstate.Put{{Value: j}}})
	return j
}

func (r *rig) swap(s cellstate.Swap) {
	r.t.Helper()
	if res, err := r.store.Swap(context.Background(), s); err != nil || !res.OK {
		r.t.Fatalf("swap: %v %v", res, err)
	}
}

func claimOf(j *cellstate.Job, task, attempt uint32) cellstate.Claim {
	return cellstate.Claim{ID: cellstate.ClaimID{Scheduler: j.Scheduler, Job: j.Name, Run: j.Run, Task: task, Attempt: attempt}, Machine: "m1",
		JobVersion: j.Version, Precedence: j.Precedence, Resources: j.Task.Resources, Start: cellstate.InstantOf(time.Now())}
}

// commit commits a transaction and waits until nothing moves any more.
func (r *rig) commit(t cellstate.Txn) {
	r.t.Helper()
	t.ID, t.Scheduler, t.Mode, t.Rule = "t", "s", cellstate.Incremental, cellstate.FitRule
	v, err := r.store.Commit(context.Background(), &t)
	if err != nil || len(v.Conflicts) > 0 {
		r.t.Fatalf("commit: %v %v", v.Conflicts, err)
	}
	synctest.Wait()
}

func (r *rig) ledger() *cellstate.Ledger {
	return get[*cellstate.Ledger](r, cellstate.LedgerKey("m1"))
}

func get[V cellstate.Value](r *rig, k cellstate.Key) V {
	rec, err := cellstate.Get(context.Background(), r.store, k)
	if err != nil {
		r.t.Fatal(err)
	}
	v, _ := rec.Value.(V)
	return v
}

// status returns what the report in the cell says of a claim, once the agent has had time to write it.
func (r *rig) status(id cellstate.ClaimID) cellstate.ClaimStatus {
	time.Sleep(time.Second) // of the bubble's clock: more than ReportEvery
	synctest.Wait()
	if s := get[*cellstate.Report](r, cellstate.ReportKey("m1")).Find(id); s != nil {
		return *s
	}
	return cellstate.ClaimStatus{}
}

func (r *rig) wantPhase(id cellstate.ClaimID, p cellstate.Phase) cellstate.ClaimStatus {
	r.t.Helper()
	s := r.status(id)
	if s.Phase != p {
		r.t.Errorf("%s is %s (%s %q), want %s", id, s.Phase, s.Outcome, s.Message, p)
	}
	return s
}

func TestAgentLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.start()
		defer r.stop()
		s := get[*cellstate.Session](r, cellstate.SessionKey("m1"))
		if s == nil || s.Epoch != 1 || len(s.Drivers) != 1 {
			t.Fatalf("session %+v", s)
		}
		j := r.job("hello", nil)
		c := claimOf(j, 0, 0)
		r.commit(cellstate.Txn{Add: []cellstate.Claim{c}})
		r.wantPhase(c.ID, cellstate.PhaseRunning)
		env := r.driver.started[c.ID].Env
		for k, want := range map[string]string{"OMEGACELL_CELL": "test", "OMEGACELL_TASKS": "3", "OMEGACELL_CLAIM": "s/hello@1/0.0", "OMEGACELL_MACHINE": "m1"} {
			if env[k] != want {
				t.Errorf("%s = %q, want %q", k, env[k], want)
			}
		}
		r.driver.exit(c.ID, 7)
		synctest.Wait() // an end goes at once
		if l := r.ledger(); !l.Find(c.ID).Ended {
			t.Error("claim not marked ended")
		}
		st := get[*cellstate.Report](r, cellstate.ReportKey("m1")).Find(c.ID)
		if st.Phase != cellstate.PhaseEnded || st.Outcome != cellstate.OutcomeExited || st.ExitCode != 7 {
			t.Errorf("status %+v", st)
		}
		if r.driver.forgotten != 1 {
			t.Errorf("forgotten %d, want 1", r.driver.forgotten)
		}
		r.commit(cellstate.Txn{Remove: []cellstate.ClaimRef{{Machine: "m1", ID: c.ID}}})
		time.Sleep(forgotten)
		if st := r.status(c.ID); st.Phase != 0 {
			t.Errorf("still reported: %+v", st)
		}
	})
}

// kill -9 of the agent: its tasks go on and are adopted, those that ended meanwhile with their exit code; the epoch rises.
func TestAgentCrashAndAdoption(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.cfg.StateDir = t.TempDir()
		r.start()
		j := r.job("hello", nil)
		a, b := claimOf(j, 0, 0), claimOf(j, 1, 0)
		r.commit(cellstate.Txn{Add: []cellstate.Claim{a, b}})
		pid := r.wantPhase(a.ID, cellstate.PhaseRunning).PID
		r.crash()
		r.driver.exit(b.ID, 3)
		r.start() // its own state says that the session, still there, was its own: no waiting
		defer r.stop()
		if s := get[*cellstate.Session](r, cellstate.SessionKey("m1")); s == nil || s.Epoch != 2 {
			t.Fatalf("session %+v, want epoch 2", s)
		}
		if st := r.wantPhase(a.ID, cellstate.PhaseRunning); st.PID != pid {
			t.Errorf("adopted with PID %d, want %d", st.PID, pid)
		}
		if st := r.wantPhase(b.ID, cellstate.PhaseEnded); st.ExitCode != 3 {
			t.Errorf("exit code %d, want 3", st.ExitCode)
		}
		if r.driver.starts != 2 {
			t.Errorf("%d starts, want 2", r.driver.starts)
		}
		time.Sleep(time.Minute) // the old lease has run out; the new session stands
		if s := get[*cellstate.Session](r, cellstate.SessionKey("m1")); s == nil {
			t.Error("session went with the predecessor's lease")
		}
	})
}

func TestSecondAgentIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.start()
		defer r.stop()
		time.Sleep(time.Second)
		cfg := r.cfg
		cfg.Store, cfg.Driver = r.store.Client(), newFake()
		b, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		err = b.Run(context.Background())
		if !errors.Is(err, ErrTaken) || !strings.Contains(err.Error(), "m1") {
			t.Errorf("Run = %v, want ErrTaken", err)
		}
	})
}

// The session of a crashed predecessor whose state is lost is waited out.
func TestAgentWaitsOutOldSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.start()
		r.crash()
		r.start()
		defer r.stop()
		if s := get[*cellstate.Session](r, cellstate.SessionKey("m1")); s.Epoch != 1 {
			t.Fatalf("epoch %d: took over a session that may be alive", s.Epoch)
		}
		time.Sleep(12 * time.Second)
		synctest.Wait()
		if s := get[*cellstate.Session](r, cellstate.SessionKey("m1")); s == nil || s.Epoch != 2 {
			t.Errorf("session %+v, want epoch 2", s)
		}
	})
}

// A session that somebody deleted is made again, by the same agent under the same epoch; its tasks go on.
func TestDeletedSessionComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.start()
		defer r.stop()
		c := claimOf(r.job("hello", nil), 0, 0)
		r.commit(cellstate.Txn{Add: []cellstate.Claim{c}})
		pid := r.wantPhase(c.ID, cellstate.PhaseRunning).PID
		key := cellstate.SessionKey("m1")
		if res, err := r.store.Swap(t.Context(), cellstate.Swap{Delete: []cellstate.Key{key}}); err != nil || !res.OK {
			t.Fatalf("delete: %v %v", res, err)
		}
		time.Sleep(31 * time.Second) // three TTLs
		synctest.Wait()
		if s := get[*cellstate.Session](r, key); s == nil || s.Epoch != 1 {
			t.Fatalf("session %+v, want one of epoch 1", s)
		}
		if !r.agent.Connected() {
			t.Error("not connected")
		}
		time.Sleep(time.Minute) // it has a lease that is kept
		if s := get[*cellstate.Session](r, key); s == nil {
			t.Error("the new session ran out")
		}
		if st := r.wantPhase(c.ID, cellstate.PhaseRunning); st.PID != pid || r.driver.starts != 1 {
			t.Errorf("PID %d after %d starts, want the same task", st.PID, r.driver.starts)
		}
	})
}

func TestLeaseLostAndBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.start()
		defer r.stop()
		j := r.job("cut", func(j *cellstate.Job) { j.Disconnect.StopAfter = time.Minute })
		k := r.job("stay", nil)
		a, b := claimOf(j, 0, 0), claimOf(k, 0, 0)
		r.commit(cellstate.Txn{Add: []cellstate.Claim{a, b}})
		r.wantPhase(a.ID, cellstate.PhaseRunning)
		r.client.SetAvailable(false)
		time.Sleep(10*time.Second + 59*time.Second) // lease, then all but a second of StopAfter
		synctest.Wait()
		if n := len(r.driver.running()); n != 2 {
			t.Fatalf("%d tasks run, want 2: cut off for less than StopAfter", n)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if run := r.driver.running(); len(run) != 1 || run[0] != b.ID {
			t.Fatalf("%v run, want only %s", run, b.ID)
		}
		r.client.SetAvailable(true)
		time.Sleep(20 * time.Second)
		if s := get[*cellstate.Session](r, cellstate.SessionKey("m1")); s == nil || s.Epoch != 1 {
			t.Errorf("session %+v, want epoch 1: the same agent", s)
		}
		if st := r.wantPhase(a.ID, cellstate.PhaseEnded); st.Outcome != cellstate.OutcomeStopped || !strings.Contains(st.Message, "out of touch") {
			t.Errorf("status %+v", st)
		}
	})
}

// An agent that starts while the cell is out of reach adopts its tasks, and honours what their jobs say about it.
func TestStartsOutOfReach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.cfg.StateDir = t.TempDir()
		r.start()
		j := r.job("cut", func(j *cellstate.Job) { j.Disconnect.StopAfter = time.Minute })
		k := r.job("stay", nil)
		a, b := claimOf(j, 0, 0), claimOf(k, 0, 0)
		r.commit(cellstate.Txn{Add: []cellstate.Claim{a, b}})
		r.crash()
		r.start()
		r.client.SetAvailable(false) // what it had said by now is lost on it
		r.crash()
		r.cfg.Store = r.client // cut off
		ag, err := New(r.cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		r.cancel, r.ended = cancel, make(chan error, 1)
		r.run(ctx, ag)
		defer r.stop()
		time.Sleep(59 * time.Second)
		synctest.Wait()
		if n := len(r.driver.running()); n != 2 {
			t.Fatalf("%d tasks run, want 2", n)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if run := r.driver.running(); len(run) != 1 || run[0] != b.ID {
			t.Fatalf("%v run, want only %s", run, b.ID)
		}
		r.client.SetAvailable(true)
		time.Sleep(20 * time.Second)
		r.wantPhase(a.ID, cellstate.PhaseEnded)
		r.wantPhase(b.ID, cellstate.PhaseRunning)
	})
}
