package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/omegacell/omegacell/cellstate"
)

// history is the machine's report and ledger in every revision, checked as they come.
type history struct {
	mu     sync.Mutex
	report *cellstate.Report
	ledger *cellstate.Ledger
	err    error
	counts map[string]int // what happened, so that a run in which nothing did can be told
}

// see takes in one revision and checks what has to be true between it and the one before.
func (h *history) see(b cellstate.Batch) {
	h.mu.Lock()
	defer h.mu.Unlock()
	was := h.report
	for _, e := range b.Events {
		switch v := e.Record.Value.(type) {
		case *cellstate.Report:
			h.report = v
		case *cellstate.Ledger:
			h.ledger = v
		}
	}
	if h.report == nil || h.ledger == nil {
		return
	}
	bad := func(format string, args ...any) {
		if h.err == nil {
			h.err = fmt.Errorf("rev %d: "+format, append([]any{b.Rev}, args...)...)
		}
	}
	for i := range h.report.Claims {
		now := &h.report.Claims[i]
		if c := h.ledger.Find(now.ID); c != nil && c.Ended != (now.Phase == cellstate.PhaseEnded) {
			bad("%s: ended in the ledger %v, phase %s", now.ID, c.Ended, now.Phase)
		}
		old := was.Find(now.ID)
		if old == nil || old == now {
			continue
		}
		restarted := now.Restarts > old.Restarts || old.Phase == cellstate.PhaseRunning && now.Phase == cellstate.PhaseStarting
		switch {
		case old.Phase == cellstate.PhaseEnded && *old != *now:
			bad("I5: %s was final: %+v, now %+v", now.ID, *old, *now)
		case now.Phase < old.Phase && !restarted, now.Restarts < old.Restarts:
			bad("I5: %s went back from %s %d to %s %d", now.ID, old.Phase, old.Restarts, now.Phase, now.Restarts)
		case now.Phase == cellstate.PhaseEnded && old.Phase != now.Phase:
			h.counts[now.Outcome.String()]++
		case restarted:
			h.counts["restart"]++
		}
	}
	for i := range h.ledger.Claims {
		c := &h.ledger.Claims[i]
		if st := h.report.Find(c.ID); c.Ended && (st == nil || st.Phase != cellstate.PhaseEnded) {
			bad("%s is ended in the ledger, not in the report", c.ID)
		}
	}
}

func (h *history) count(what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.counts[what]++
}

// now returns the newest report and ledger, and what was broken until then.
func (h *history) now() (*cellstate.Report, *cellstate.Ledger, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.report, h.ledger, h.err
}

// sim is a rig with a world that does things to it.
type sim struct {
	*rig
	rng  *rand.Rand
	hist *history
	jobs []*cellstate.Job
	next []uint32 // task of the next claim, by job
	gone bool     // the agent is down
	cut  bool     // the agent is cut off
}

// A scheduler that adds, evicts and removes claims, tasks that end, an agent that crashes and is cut off: after every event
// the host is not over-committed (I1), no task runs twice (I3), no status has gone back (I5); in the end nothing is left (I11).
func TestSimulation(t *testing.T) {
	counts := make(map[string]int)
	for seed := uint64(1); seed <= 40; seed++ {
		synctest.Test(t, func(t *testing.T) { simulate(t, seed, counts) })
	}
	for _, what := range []string{"restart", "exited", "stopped", "failed", "signaled", "crash", "cut", "waited for room"} {
		if counts[what] == 0 {
			t.Errorf("never happened: %s", what)
		}
	}
	t.Logf("%v", counts)
}

func simulate(t *testing.T, seed uint64, counts map[string]int) {
	s := &sim{rig: newRig(t), rng: rand.New(rand.NewPCG(seed, 1)), hist: &history{counts: counts}}
	s.cfg.StateDir, s.cfg.Log = t.TempDir(), zap.NewNop()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		for b, err := range s.store.Watch(ctx, cellstate.Range{}, 1) {
			if err == nil {
				s.hist.see(b)
			}
		}
	}()
	for i, restart := range []cellstate.RestartPolicy{{}, {When: cellstate.RestartOnFailure, Max: 1}, {When: cellstate.RestartAlways, BackoffMax: 2 * time.Second}} {
		s.jobs = append(s.jobs, s.job(fmt.Sprintf("j%d", i), func(j *cellstate.Job) {
			j.Task.Restart = restart
			if i == 1 {
				j.Disconnect.StopAfter = 15 * time.Second
			}
		}))
	}
	s.next = make([]uint32, len(s.jobs))
	s.start()
	for step := range 80 {
		what := s.event()
		synctest.Wait()
		if err := s.broken(); err != nil {
			t.Fatalf("seed %d, step %d, after %s: %v", seed, step, what, err)
		}
	}
	s.windUp(seed)
}

// event lets one thing happen and says what.
func (s *sim) event() string {
	l := s.ledger()
	pick := func() *cellstate.Claim {
		if l == nil || len(l.Claims) == 0 {
			return nil
		}
		return &l.Claims[s.rng.IntN(len(l.Claims))]
	}
	now := cellstate.InstantOf(time.Now())
	after := func(sec int) cellstate.Instant {
		return now.Add(time.Duration(s.rng.IntN(sec*1000)+1) * time.Millisecond)
	}
	switch n := s.rng.IntN(100); {
	case n < 25:
		k := s.rng.IntN(len(s.jobs))
		c := claimOf(s.jobs[k], s.next[k], 0)
		s.next[k]++
		if s.rng.IntN(3) == 0 {
			c.Start = after(20)
		}
		if s.rng.IntN(3) == 0 {
			c.End = c.Start.Add(time.Duration(s.rng.IntN(20000)+1) * time.Millisecond)
		}
		s.send(cellstate.Txn{Add: []cellstate.Claim{c}})
		return "add"
	case n < 35:
		if c := pick(); c != nil {
			s.send(cellstate.Txn{Evict: []cellstate.Evict{{ClaimRef: cellstate.ClaimRef{Machine: "m1", ID: c.ID}, Eviction: cellstate.Eviction{Deadline: after(5), Reason: "x"}}}})
		}
		return "evict"
	case n < 50:
		if c := pick(); c != nil {
			s.send(cellstate.Txn{Remove: []cellstate.ClaimRef{{Machine: "m1", ID: c.ID}}})
		}
		return "remove"
	case n < 65:
		if run := s.driver.running(); len(run) > 0 {
			t := TaskState{Outcome: cellstate.OutcomeExited, ExitCode: int32(s.rng.IntN(2))}
			if s.rng.IntN(4) == 0 {
				t = TaskState{Outcome: cellstate.OutcomeSignaled, Signal: 9}
			}
			s.driver.end(sortedFirst(run), t)
		}
		return "task ends"
	case n < 70:
		s.driver.mu.Lock()
		s.driver.stubborn = !s.driver.stubborn // a task stopped now ends only later
		s.driver.mu.Unlock()
		return "stubborn"
	case n < 74:
		s.driver.mu.Lock()
		s.driver.startErr = errors.New("no such command")
		s.driver.mu.Unlock()
		return "start error"
	case n < 76:
		s.driver.mu.Lock()
		s.driver.stopErr = errors.New("not now")
		s.driver.mu.Unlock()
		return "stop error"
	case n < 80 && !s.gone:
		s.crash()
		s.gone, s.cut = true, false
		s.hist.count("crash")
		return "crash"
	case n < 88:
		if s.gone {
			s.start()
			s.gone = false
		}
		return "start"
	case n < 92 && !s.gone:
		s.cut = !s.cut
		s.client.SetAvailable(!s.cut)
		s.hist.count("cut")
		return "cut"
	}
	time.Sleep(time.Duration(s.rng.IntN(4000)) * time.Millisecond)
	return "time passes"
}

func (s *sim) send(t cellstate.Txn) {
	t.ID, t.Scheduler, t.Mode, t.Rule = "t", "s", cellstate.Incremental, cellstate.FitRule
	if _, err := s.store.Commit(context.Background(), &t); err != nil {
		s.t.Fatal(err)
	}
}

func sortedFirst(ids []cellstate.ClaimID) cellstate.ClaimID {
	first := ids[0]
	for _, id := range ids {
		if id.Compare(first) < 0 {
			first = id
		}
	}
	return first
}

// broken says which invariant does not hold.
func (s *sim) broken() error {
	report, ledger, err := s.hist.now()
	if err != nil {
		return err
	}
	s.driver.mu.Lock()
	defer s.driver.mu.Unlock()
	if len(s.driver.twice) > 0 {
		return fmt.Errorf("I3: two incarnations of %v", s.driver.twice)
	}
	used := cellstate.Resources{}
	for id, t := range s.driver.tasks {
		if t.Phase != cellstate.PhaseEnded {
			used = used.Add(s.driver.started[id].Resources)
		}
	}
	if !used.Fits(&s.cfg.Capacity) {
		return fmt.Errorf("I1: %s in use on the host", used)
	}
	if used.CPUMilli == s.cfg.Capacity.CPUMilli && report != nil {
		for i := range report.Claims {
			if st := &report.Claims[i]; st.Phase == cellstate.PhasePending {
				if c := ledger.Find(st.ID); c != nil && c.ActiveAt(cellstate.InstantOf(time.Now())) {
					s.hist.count("waited for room")
				}
			}
		}
	}
	return nil
}

// windUp lets the scheduler give everything up, and checks that nothing is left.
func (s *sim) windUp(seed uint64) {
	s.driver.mu.Lock()
	s.driver.stubborn, s.driver.startErr, s.driver.stopErr = false, nil, nil
	s.driver.mu.Unlock()
	if s.gone {
		s.start()
	}
	s.client.SetAvailable(true)
	time.Sleep(30 * time.Second)
	report, _, _ := s.hist.now()
	var all []cellstate.ClaimRef
	l := s.ledger()
	for i := range l.Claims {
		c := &l.Claims[i]
		if st := report.Find(c.ID); st == nil {
			s.t.Errorf("seed %d: I10: %s has no status", seed, c.ID)
		}
		all = append(all, cellstate.ClaimRef{Machine: "m1", ID: c.ID})
	}
	for _, id := range s.driver.running() { // those that were stubborn
		if st := report.Find(id); st == nil || st.Phase == cellstate.PhaseStopping {
			s.driver.end(id, TaskState{Outcome: cellstate.OutcomeStopped})
		}
	}
	s.send(cellstate.Txn{Remove: all})
	time.Sleep(30 * time.Second)
	synctest.Wait()
	if err := s.broken(); err != nil {
		s.t.Errorf("seed %d: %v", seed, err)
	}
	report, _, _ = s.hist.now()
	orders, _ := filepath.Glob(filepath.Join(s.cfg.StateDir, "orders", "*"))
	if len(s.driver.tasks) > 0 || len(report.Claims) > 0 || len(orders) > 0 {
		s.t.Errorf("seed %d: I11: left are tasks %v, statuses %v, orders %v", seed, s.driver.tasks, report.Claims, orders)
	}
	s.stop()
	if _, err := os.Stat(filepath.Join(s.cfg.StateDir, "session.json")); err != nil {
		s.t.Error(err)
	}
}
