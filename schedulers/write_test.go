package schedulers_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/schedulers"
)

// TestGangAllOrNothing guards I2: a gang of which one member lost its race has none.
func TestGangAllOrNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCell(t, 3)
		c.start(&thief{Store: c.store, cell: c, times: 1}, nil)
		j := *c.submit("gang", 3, 1000)
		j.GangMin = 3
		c.put(&j)
		settle()
		got := c.claims()
		if len(got) != 1 || !strings.HasPrefix(got[0], "thief/") {
			t.Errorf("claims %v, want only the other scheduler's", got)
		}
		if s := c.status("gang"); s == nil || s.Explanation == nil || s.Explanation.Unplaced != 3 {
			t.Errorf("status %+v, want all 3 tasks unplaced", s)
		}
	})
}

// beforeStatus is a store in which something happens just before a status is written, once; it keeps whether that write was done.
type beforeStatus struct {
	cellstate.Store
	happens func()
	mu      sync.Mutex
	armed   bool
	done    bool
}

func (s *beforeStatus) Swap(ctx context.Context, sw cellstate.Swap) (cellstate.Swapped, error) {
	if len(sw.Put) == 0 || sw.Put[0].Value.Key().Kind != cellstate.KindStatus {
		return s.Store.Swap(ctx, sw)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	hit := s.armed
	if hit {
		s.armed = false
		s.happens()
	}
	out, err := s.Store.Swap(ctx, sw)
	s.done = s.done || hit && out.OK
	return out, err
}

// TestStatusRaces guards I5 and I3: a status is written only over the one it was made from, for the job as it was, by the leader.
func TestStatusRaces(t *testing.T) {
	for _, tt := range []struct {
		name    string
		happens func(c *cell)
		done    bool
	}{
		{"nothing", func(*cell) {}, true},
		{"something else", func(c *cell) { c.submit("b", 1, 1) }, true},
		{"the job grows", func(c *cell) { c.submit("a", 2, 500) }, false},
		{"another status is written", func(c *cell) {
			c.put(&cellstate.JobStatus{Scheduler: "batch", Job: "a", Run: 7, Version: 1, Phase: cellstate.JobRunning})
		}, false},
		{"the leadership goes", func(c *cell) {
			rec, err := cellstate.Get(context.Background(), c.store, cellstate.LeaderKey("batch", 0))
			if err != nil {
				c.t.Error(err)
			}
			c.store.ExpireLease(rec.Lease)
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCell(t, 1)
				s := &beforeStatus{Store: c.store, happens: func() { tt.happens(c) }}
				c.start(s, nil)
				c.submit("a", 1, 500)
				c.put(&cellstate.JobStatus{Scheduler: "batch", Job: "a", Run: 7, Version: 1, Phase: cellstate.JobPending})
				settle()
				s.mu.Lock()
				s.armed = true
				s.mu.Unlock()
				c.end("m0", 0)
				settle()
				s.mu.Lock()
				defer s.mu.Unlock()
				if s.done != tt.done || s.armed {
					t.Errorf("written: %v (tried: %v), want %v", s.done, !s.armed, tt.done)
				}
			})
		})
	}
}

// TestExplanationCatchesUp: an explanation that changed soon after another was written is written a little later, unasked.
func TestExplanationCatchesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCell(t, 1)
		c.start(c.store, func(cfg *schedulers.Config) { cfg.Recheck = 1000 * time.Hour })
		c.submit("a", 1, 5000)
		settle()
		c.put(cellstate.NewLedger("m1", cellstate.Resources{CPUMilli: 1000}), &cellstate.Machine{Name: "m1"}, &cellstate.Session{Machine: "m1"})
		synctest.Wait()
		if s := c.status("a"); s == nil || s.Explanation.Looked != 1 {
			t.Fatalf("status %+v, want the first explanation still", s)
		}
		time.Sleep(2 * time.Second)
		settle()
		if s := c.status("a"); s.Explanation.Looked != 2 {
			t.Errorf("explanation %+v, want that of both machines", s.Explanation)
		}
	})
}

// TestOrphansOnLostMachines: a scheduler that starts finds the claims whose job was deleted while it was away, and takes away
// those that no agent can end.
func TestOrphansOnLostMachines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCell(t, 2)
		c.place("gone", "m0")
		c.place("away", "m1")
		c.remove(cellstate.SessionKey("m1"))
		c.start(c.store, nil)
		settle()
		ledgers := c.ledgers()
		if cl := ledgers[0].Find(cellstate.ClaimID{Scheduler: "batch", Job: "gone", Run: 7}); cl == nil || cl.Evict == nil {
			t.Errorf("%+v of a deleted job is not asked to end", cl)
		}
		if len(ledgers[1].Claims) > 0 {
			t.Errorf("claims %v are left on a machine without an agent", c.claims())
		}
	})
}

// TestLostTaskIsReplaced: nothing but time passes between the loss of a machine and the replacement of its tasks.
func TestLostTaskIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCell(t, 2)
		c.start(c.store, nil)
		c.submit("a", 1, 1000)
		settle()
		c.remove(cellstate.SessionKey(c.machineOf("a")))
		time.Sleep(schedulers.DefaultReplaceAfter - 5*time.Second)
		settle()
		if got := c.claims(); len(got) != 1 || !strings.HasPrefix(got[0], "a/0.0@") {
			t.Fatalf("claims %v before the time", got)
		}
		time.Sleep(5 * time.Second)
		settle()
		if got := c.claims(); len(got) != 1 || !strings.HasPrefix(got[0], "a/0.1@") {
			t.Errorf("claims %v, want the second attempt elsewhere", got)
		}
	})
}

// TestOldJobThatHoldsClaims: however old, a job's records stay until its last claim is gone, so that nothing is left without an
// owner.
func TestOldJobThatHoldsClaims(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCell(t, 1)
		c.submit("a", 1, 1000)
		c.put(&cellstate.JobStatus{Scheduler: "batch", Job: "a", Run: 7, Version: 1, Phase: cellstate.JobFailed, UpdatedAt: 1})
		c.place("a", "m0")
		c.start(c.store, nil)
		settle()
		if c.status("a") == nil {
			t.Error("deleted while a machine holds its claim")
		}
		c.end("m0", 0)
		settle()
		if got := c.claims(); len(got) > 0 || c.status("a") != nil {
			t.Errorf("claims %v, status %+v; want nothing left", got, c.status("a"))
		}
	})
}
