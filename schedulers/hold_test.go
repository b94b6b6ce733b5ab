package schedulers_test

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/schedulers"
	"github.com/omegacell/omegacell/schedulers/batch"
)

// TestForbiddenJobsStillEnd guards I10: whatever keeps a scheduler from placing a job, its ends are acknowledged and it can be
// stopped. The job's stored phase says nothing: it is pending until something is worth writing down.
func TestForbiddenJobsStillEnd(t *testing.T) {
	for _, tt := range []struct {
		name    string
		record  cellstate.Scheduler
		explain string
	}{
		{"disabled", cellstate.Scheduler{Disabled: true, MaxPrecedence: cellstate.MaxPrecedence}, "disabled"},
		{"precedence lowered", cellstate.Scheduler{MaxPrecedence: 99}, "precedence 100"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCell(t, 2)
				c.start(c.store, nil)
				c.submit("a", 1, 1000)
				b := c.submit("b", 1, 1000)
				settle()
				record := tt.record
				record.Name, record.Shards = "batch", 1
				c.put(&record)
				c.submit("new", 1, 1000)
				settle()

				stopped := *b
				stopped.Stopped = true
				c.put(&stopped)
				c.end(c.machineOf("a"), 0)
				settle()
				if s := c.status("a"); s == nil || s.Phase != cellstate.JobSucceeded {
					t.Errorf("status %+v of a job whose task ended, want succeeded", s)
				}
				c.end(c.machineOf("b"), 0)
				settle()
				if s := c.status("b"); s == nil || s.Phase != cellstate.JobStopped {
					t.Errorf("status %+v of a job that was stopped", s)
				}
				if s := c.status("new"); s == nil || s.Explanation == nil || !strings.Contains(s.Explanation.Unblock, tt.explain) {
					t.Errorf("status %+v of a job that may not be placed, want an explanation with %q", s, tt.explain)
				}
				if got := c.claims(); len(got) > 0 {
					t.Errorf("claims %v, want none new", got)
				}

				record = cellstate.Scheduler{Name: "batch", Shards: 1, MaxPrecedence: cellstate.MaxPrecedence}
				c.put(&record)
				settle()
				if got := c.claims(); len(got) != 1 || !strings.HasPrefix(got[0], "new/0.0@") {
					t.Errorf("claims %v when the scheduler may place again, want the new job's", got)
				}
			})
		})
	}
}

// machineOf returns the machine that holds a claim of the job.
func (c *cell) machineOf(job string) string {
	for _, s := range c.claims() {
		if strings.HasPrefix(s, job+"/") {
			return s[strings.Index(s, "@")+1:]
		}
	}
	c.t.Fatalf("%s has no claim among %v", job, c.claims())
	return ""
}

// failing is a store whose commits fail, some after they were carried out.
type failing struct {
	cellstate.Store
	times   int
	err     error
	after   bool // carried out first
	commits atomic.Int32
}

func (s *failing) Commit(ctx context.Context, t *cellstate.Txn) (cellstate.Verdict, error) {
	s.commits.Add(1)
	if s.times == 0 {
		return s.Store.Commit(ctx, t)
	}
	s.times--
	if s.after {
		if _, err := s.Store.Commit(ctx, t); err != nil {
			return cellstate.Verdict{}, err
		}
	}
	return cellstate.Verdict{}, &cellstate.OpError{Op: "commit", On: t.ID, Err: s.err}
}

// TestOutageIsNoLostRace: commits that could not be sent are tried again until they are; the job is not parked with the
// explanation that others were faster.
func TestOutageIsNoLostRace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCell(t, 1)
		c.start(&failing{Store: c.store, times: 15, err: cellstate.ErrUnavailable}, func(cfg *schedulers.Config) {
			cfg.BackoffMax, cfg.Recheck = 100*time.Millisecond, time.Hour
		})
		c.submit("a", 1, 1000)
		time.Sleep(10 * time.Second)
		settle()
		if got := c.claims(); len(got) != 1 {
			t.Errorf("claims %v after the outage, want the job's; status %+v", got, c.status("a"))
		}
	})
}

// TestPlanThatCannotBeCarriedOut: the job's status says what is wrong, and the plan is not sent over and over.
func TestPlanThatCannotBeCarriedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCell(t, 1)
		store := &failing{Store: c.store, times: 1 << 30, err: cellstate.ErrInvalid}
		c.start(store, func(cfg *schedulers.Config) { cfg.Recheck = time.Minute })
		c.submit("a", 1, 1000)
		settle()
		s := c.status("a")
		if s == nil || s.Explanation == nil || s.Explanation.Unplaced != 1 || !strings.Contains(s.Explanation.Unblock, "cannot be carried out") {
			t.Errorf("status %+v, want an explanation of what is wrong", s)
		}
		time.Sleep(10 * time.Minute)
		if n := store.commits.Load(); n < 5 || n > 15 {
			t.Errorf("sent %d times in ten minutes, want about once a minute", n)
		}
	})
}

// lagging is a store that is watched from afar.
type lagging struct {
	cellstate.Store
	by time.Duration
}

func (s lagging) Watch(ctx context.Context, r cellstate.Range, from int64) iter.Seq2[cellstate.Batch, error] {
	return func(yield func(cellstate.Batch, error) bool) {
		for b, err := range s.Store.Watch(ctx, r, from) {
			if err == nil {
				time.Sleep(s.by)
			}
			if !yield(b, err) {
				return
			}
		}
	}
}

// TestRefusedAfterItWasCarriedOut guards I4: of a transaction that is too large for one request a part may have been carried
// out when another is refused as invalid. The next plan must be made on a snapshot that shows that part.
func TestRefusedAfterItWasCarriedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCell(t, 8)
		c.start(lagging{&failing{Store: c.store, times: 1, err: cellstate.ErrInvalid, after: true}, 3 * time.Minute}, nil)
		settle()
		time.Sleep(time.Hour)
		c.submit("a", 4, 500)
		time.Sleep(time.Hour)
		settle()
		if got := c.claims(); len(got) != 4 {
			t.Errorf("claims %v, want each of 4 tasks once", got)
		}
	})
}

// TestPlannerThatNeverRests: a planner that wants to look again at once does not keep a worker busy without end.
func TestPlannerThatNeverRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCell(t, 1)
		plans := 0
		c.start(c.store, func(cfg *schedulers.Config) {
			cfg.Planner = schedulers.PlannerFunc(func(_ cellstate.Snapshot, job schedulers.Job, _ *rand.Rand) schedulers.Plan {
				p := schedulers.Plan{Status: job.Status}
				if plans++; plans < 10_000 { // a busy loop ends here
					p.Again = 1
				}
				return p
			})
		})
		c.submit("a", 1, 1000)
		settle()
		if plans < 10 || plans > 1000 {
			t.Errorf("planned %d times in a second, want once in every few milliseconds at most", plans)
		}
	})
}

// TestUnreadableRecords guards I3 and I5: a record that nobody can read is no deleted job, whose tasks are ended, and no new
// one, whose tasks are all to be run.
func TestUnreadableRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCell(t, 3)
		job := c.submit("a", 1, 1000)
		c.place("a", "m0")
		half := c.submit("b", 2, 1000)
		done := &cellstate.JobStatus{Scheduler: "batch", Job: "b", Run: 7, Version: 1, Phase: cellstate.JobRunning, Done: []cellstate.TaskRange{{From: 0, To: 1}}}
		c.store.Corrupt(job.Key(), errors.New("damaged"))
		c.store.Corrupt(done.Key(), errors.New("damaged"))
		c.start(c.store, nil)
		settle()
		if got := c.claims(); !slices.Equal(got, []string{"a/0.0@m0"}) {
			t.Errorf("claims %v, want what there was", got)
		}
		if cl := c.ledgers()[0].Claims[0]; cl.Evict != nil {
			t.Errorf("%s is asked to end: %+v", cl.ID, cl.Evict)
		}
		c.put(job, half, done)
		time.Sleep(time.Minute)
		settle()
		if got := c.claims(); len(got) != 2 || got[0] != "a/0.0@m0" || !strings.HasPrefix(got[1], "b/1.0@") {
			t.Errorf("claims %v after the records were mended, want also the task that is not done", got)
		}
	})
}

// TestGangHoldsNothingUp: what a gang's plan ends and acknowledges does not wait until the gang fits.
func TestGangHoldsNothingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCell(t, 2)
		c.place("gang", "m0")
		c.start(c.store, func(cfg *schedulers.Config) {
			cfg.Attempts = 1 << 30 // it is never parked
			cfg.Planner = schedulers.PlannerFunc(func(snap cellstate.Snapshot, job schedulers.Job, _ *rand.Rand) schedulers.Plan {
				p := schedulers.Plan{Mode: cellstate.AllOrNothing, Status: job.Status}
				for c := range snap.Claims(job.Scheduler, job.Name) {
					p.Stop(c, job.Now, "drain")
				}
				p.Add = []cellstate.Claim{{ID: cellstate.ClaimID{Scheduler: "batch", Job: job.Name, Run: 7, Task: 1}, Machine: "m1", Start: job.Now,
					Resources: cellstate.Resources{CPUMilli: 5000}}} // never fits
				return p
			})
		})
		c.submit("gang", 2, 1000)
		settle()
		if cl := c.ledgers()[0].Claims[0]; cl.Evict == nil {
			t.Errorf("%s is not asked to end because the gang does not fit", cl.ID)
		}
	})
}

// TestDrainBroughtForward: a task on a machine that has to be empty sooner than was said is asked to end sooner.
func TestDrainBroughtForward(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCell(t, 1)
		c.start(c.store, func(cfg *schedulers.Config) { cfg.Planner, cfg.Recheck = batch.Planner{}, 1000*time.Hour })
		c.submit("a", 1, 1000)
		settle()
		now := cellstate.InstantOf(time.Now())
		for _, deadline := range []cellstate.Instant{now.Add(time.Hour), now.Add(time.Minute)} {
			l := c.ledgers()[0].Clone()
			l.Drain = &cellstate.Drain{Deadline: deadline, Reason: "test"}
			c.put(l)
			settle()
			if e := c.ledgers()[0].Claims[0].Evict; e == nil || e.Deadline != deadline {
				t.Errorf("eviction %+v, want one by %v", e, deadline)
			}
		}
	})
}
