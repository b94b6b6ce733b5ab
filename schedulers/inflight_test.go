package schedulers_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/schedulers"
	"github.com/omegacell/omegacell/schedulers/batch"
)

// pacing is a store whose commits take a second, and that notes how many are under way and what they conflict with.
type pacing struct {
	cellstate.Store
	mu        sync.Mutex
	under     int
	most      int
	conflicts []cellstate.Conflict
	sent      []*cellstate.Txn
}

func (s *pacing) Commit(ctx context.Context, t *cellstate.Txn) (cellstate.Verdict, error) {
	s.mu.Lock()
	s.under++
	s.most = max(s.most, s.under)
	s.sent = append(s.sent, t)
	s.mu.Unlock()
	time.Sleep(time.Second)
	v, err := s.Store.Commit(ctx, t)
	s.mu.Lock()
	s.under--
	s.conflicts = append(s.conflicts, v.Conflicts...)
	s.mu.Unlock()
	return v, err
}

// TestNoConflictWithItself: jobs of one loop that are in flight side by side never want the same room, be it tight, whatever
// counts as a conflict, and however many workers plan.
func TestNoConflictWithItself(t *testing.T) {
	for _, tt := range []struct {
		rule    cellstate.Rule
		workers int
	}{{cellstate.FitRule, 1}, {cellstate.FitRule, 4}, {cellstate.SeqRule, 1}} {
		t.Run(fmt.Sprintf("%s/workers=%d", tt.rule, tt.workers), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const machines, jobs = 10, 35 // 3 on a machine
				c := newCell(t, machines)
				s := &pacing{Store: c.store}
				c.start(lagging{s, 300 * time.Millisecond}, func(cfg *schedulers.Config) { cfg.Rule, cfg.Workers = tt.rule, tt.workers })
				for i := range jobs {
					c.submit(fmt.Sprintf("job%02d", i), 1, 333)
				}
				time.Sleep(2 * time.Minute)
				settle()
				if got := c.claims(); len(got) != 3*machines {
					t.Errorf("%d claims, want the %d for which there is room", len(got), 3*machines)
				}
				if len(s.conflicts) > 0 {
					t.Errorf("conflicts %v with nobody but itself", s.conflicts)
				}
				for _, sent := range s.sent {
					c.checkBasis(sent)
				}
				if s.most <= tt.workers {
					t.Errorf("at most %d transactions were under way at a time: they waited for each other", s.most)
				}
				// When a task ends, the first of those that wait takes its room.
				c.end("m3", 0)
				time.Sleep(time.Minute)
				synctest.Wait()
				if got := c.claims(); len(got) != 3*machines || !strings.Contains(fmt.Sprint(got), "@m3") {
					t.Errorf("claims %v after room appeared on m3, want it used", got)
				}
			})
		})
	}
}

// checkBasis checks that a transaction says truly what it was planned on: not what is in flight, which the store never held.
func (c *cell) checkBasis(sent *cellstate.Txn) {
	for _, a := range sent.Add {
		stood, err := c.store.List(context.Background(), cellstate.LedgerKey(a.Machine).Only(), sent.BasisRev)
		if err != nil {
			c.t.Fatal(err)
		}
		basis, _ := sent.Basis.Ledger(a.Machine)
		if want := stood.Records[0].Value.(*cellstate.Ledger); len(basis.Claims) != len(want.Claims) || basis.Rev != want.Rev || basis.Cordoned {
			c.t.Errorf("%s: the basis says of %s %d claims, revision %d; at %d there stood %d, revision %d", sent.ID, a.Machine,
				len(basis.Claims), basis.Rev, sent.BasisRev, len(want.Claims), want.Rev)
		}
	}
}

// TestInFlightIsBounded: no more jobs are in flight than told, and fewer that have many tasks; but one at least.
func TestInFlightIsBounded(t *testing.T) {
	for _, tt := range []struct {
		tasks uint32
		most  int // of 4 slots
	}{{1, 4}, {3, 4}, {4, 2}, {8, 1}, {9, 1}} {
		t.Run(fmt.Sprintf("tasks=%d", tt.tasks), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCell(t, 10)
				s := &pacing{Store: c.store}
				c.start(s, func(cfg *schedulers.Config) { cfg.InFlight = 4 })
				for i := range 8 {
					c.submit(fmt.Sprintf("job%02d", i), tt.tasks, 100)
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				if s.most != tt.most || len(c.claims()) != 8*int(tt.tasks) {
					t.Errorf("%d under way at a time, %d claims; want %d and %d", s.most, len(c.claims()), tt.most, 8*tt.tasks)
				}
			})
		})
	}
}

// vague is a store that does not say what became of the first transaction of one job, which was not carried out, until told.
type vague struct {
	cellstate.Store
	job  string
	told atomic.Bool
	sent sync.Map // names of the jobs that something was sent for
}

func (s *vague) Commit(ctx context.Context, t *cellstate.Txn) (cellstate.Verdict, error) {
	if len(t.Add) == 0 {
		return s.Store.Commit(ctx, t)
	}
	job := t.Add[0].ID.Job
	s.sent.Store(job, true)
	if job == s.job && !s.told.Load() {
		return cellstate.Verdict{}, &cellstate.OpError{Op: "commit", On: t.ID, Err: cellstate.ErrUnknown}
	}
	return s.Store.Commit(ctx, t)
}

// TestUnknownOutcomeKeepsItsRoom: as long as nobody knows whether a transaction was carried out, no other job is sent to the
// room that it may have taken; once it is known, whoever waited for that room learns of it.
func TestUnknownOutcomeKeepsItsRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCell(t, 1)
		s := &vague{Store: c.store, job: "a"}
		c.start(s, func(cfg *schedulers.Config) { cfg.Recheck = 1000 * time.Hour })
		a := c.submit("a", 1, 600)
		settle()
		c.submit("b", 1, 600)
		time.Sleep(time.Minute)
		synctest.Wait()
		if _, sent := s.sent.Load("b"); sent || len(c.claims()) > 0 {
			t.Fatalf("b was sent (%v) to room that a may have taken; claims %v", sent, c.claims())
		}
		if st := c.status("b"); st == nil || st.Explanation == nil {
			t.Errorf("status %+v of b, want it to wait", st)
		}
		c.remove(a.Key()) // nothing asks for a any more: when its outcome is known, it is cleared away
		s.told.Store(true)
		time.Sleep(time.Minute)
		synctest.Wait()
		c.end("m0", 0)
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := c.claims(); !slices.Equal(got, []string{"b/0.0@m0"}) {
			t.Errorf("claims %v, want that of b", got)
		}
	})
}

// TestDeposedWithUnknownOutcome: who leads no more has nothing in flight. What the last transaction did is for the next leader to see.
func TestDeposedWithUnknownOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCell(t, 1)
		first, _ := c.start(&vague{Store: c.store, job: "a"}, nil)
		settle()
		second, _ := c.start(c.store, nil)
		settle()
		a := c.submit("a", 1, 600)
		settle()
		c.remove(a.Key()) // so that the second copy does not place it
		if first.InFlight() != 1 {
			t.Fatalf("%d claims in flight of unknown outcome, want 1", first.InFlight())
		}
		c.store.ExpireLease(c.leader().Lease)
		time.Sleep(time.Minute)
		synctest.Wait()
		if second.Leading() != 1 || first.InFlight() != 0 {
			t.Errorf("the second copy leads %d shards; %d claims in flight of the first, want 1 and 0", second.Leading(), first.InFlight())
		}
	})
}

// leader returns the record of the only shard's leader.
func (c *cell) leader() cellstate.Record {
	rec, err := cellstate.Get(context.Background(), c.store, cellstate.LeaderKey("batch", 0))
	if err != nil {
		c.t.Fatal(err)
	}
	return rec
}

// TestRepairBeforeSending: what was taken by others while a plan was made is placed anew before anything is sent, and only that.
func TestRepairBeforeSending(t *testing.T) {
	for _, gang := range []uint32{0, 2} {
		t.Run(fmt.Sprintf("gang=%d", gang), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCell(t, 4)
				s := &pacing{Store: c.store}
				var first, last schedulers.Plan
				c.start(s, func(cfg *schedulers.Config) {
					cfg.Planner = schedulers.PlannerFunc(func(snap cellstate.Snapshot, job schedulers.Job, rng *rand.Rand) schedulers.Plan {
						p := batch.Planner{}.Plan(snap, job, rng)
						if first.Add == nil {
							first = p
							c.place("thief", p.Add[1].Machine) // under this scheduler's own name; it has no such job
							time.Sleep(time.Second)            // the mirror shows it
						}
						last = p
						return p
					})
				})
				j := *c.submit("a", 3, 1000)
				j.GangMin = gang
				c.put(&j)
				time.Sleep(time.Minute)
				synctest.Wait()
				if len(s.conflicts) > 0 {
					t.Errorf("conflicts %v, of what was known before it was sent", s.conflicts)
				}
				if len(last.Add) != 1 || last.Add[0].ID.Task != 1 {
					t.Errorf("%v was placed anew, want task 1 alone", last.Add)
				}
				var adds []cellstate.Claim
				for _, sent := range s.sent {
					adds = append(adds, sent.Add...)
					if want := gang > 0; want != (sent.Mode == cellstate.AllOrNothing) {
						t.Errorf("sent %s", sent.Mode)
					}
				}
				if len(adds) != 3 {
					t.Fatalf("%d claims were sent, want 3", len(adds))
				}
				for _, a := range adds {
					if was := first.Add[a.ID.Task].Machine; (was == a.Machine) != (a.ID.Task != 1) {
						t.Errorf("task %d goes to %s, was planned for %s", a.ID.Task, a.Machine, was)
					}
				}
			})
		})
	}
}

// TestGangIsNotRepairedInPart guards I2: where what a gang lost cannot be placed elsewhere, nothing of it is sent, whatever mode the
// planner gives a plan that places nothing. Nor does the status tell of what was not sent.
func TestGangIsNotRepairedInPart(t *testing.T) {
	for _, mode := range []cellstate.Mode{cellstate.AllOrNothing, 0} {
		t.Run(mode.String(), func(t *testing.T) { testGangIsNotRepairedInPart(t, mode) })
	}
}

func testGangIsNotRepairedInPart(t *testing.T, mode cellstate.Mode) {
	synctest.Test(t, func(t *testing.T) {
		c := newCell(t, 3)
		s := &pacing{Store: c.store}
		stolen := false
		c.start(s, func(cfg *schedulers.Config) {
			cfg.Planner = schedulers.PlannerFunc(func(snap cellstate.Snapshot, job schedulers.Job, rng *rand.Rand) schedulers.Plan {
				p := batch.Planner{}.Plan(snap, job, rng)
				if !stolen && len(p.Add) == 3 {
					stolen = true
					c.place("thief", p.Add[0].Machine)
					time.Sleep(time.Second)
				} else if len(p.Add) == 0 {
					p.Mode = mode
				}
				return p
			})
		})
		j := c.submit("gang", 3, 1000)
		n := *j
		n.GangMin = 3
		c.put(&n)
		time.Sleep(time.Minute)
		synctest.Wait()
		for _, sent := range s.sent {
			if len(sent.Add) > 0 {
				t.Errorf("%v was sent of a gang without room", sent.Add)
			}
		}
		if st := c.status("gang"); !stolen || st == nil || st.Explanation == nil || st.Explanation.Unplaced != 3 || st.Phase != cellstate.JobPending {
			t.Errorf("status %+v (stolen: %v), want 3 unplaced", st, stolen)
		}
	})
}

// refusing is a store that refuses what is added for one job, a second after it was sent, as contended, and lets something happen
// before it answers.
type refusing struct {
	cellstate.Store
	job     string
	happens func()
}

func (s *refusing) Commit(ctx context.Context, t *cellstate.Txn) (cellstate.Verdict, error) {
	if len(t.Add) == 0 || t.Add[0].ID.Job != s.job {
		return s.Store.Commit(ctx, t)
	}
	time.Sleep(time.Second)
	s.happens()
	var v cellstate.Verdict
	for _, c := range t.Add {
		v.Conflicts = append(v.Conflicts, cellstate.Conflict{ID: c.ID, Machine: c.Machine, Reason: cellstate.ReasonContended})
	}
	return v, nil
}

// TestRefusalWakesWhoWaits guards I10: a job that is parked because another one of the loop was about to take the room learns of it
// when that one is refused. Nothing in the cell changes then.
func TestRefusalWakesWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCell(t, 1)
		s := &refusing{Store: c.store, job: "a", happens: func() {
			c.remove(cellstate.JobKey("batch", "a"))
			time.Sleep(time.Millisecond)
		}}
		c.start(s, func(cfg *schedulers.Config) { cfg.Recheck = 1000 * time.Hour })
		settle()
		c.submit("a", 1, 600)
		time.Sleep(time.Second / 2)
		c.submit("b", 1, 600)
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := c.claims(); !slices.Equal(got, []string{"b/0.0@m0"}) {
			t.Errorf("claims %v, want that of b; status %+v", got, c.status("b"))
		}
	})
}

// aged is a mirror whose news is as old as told.
type aged struct {
	cellstate.Mirror
	asOf atomic.Int64
}

type agedSnapshot struct {
	cellstate.Snapshot
	asOf cellstate.Instant
}

func (s agedSnapshot) AsOf() cellstate.Instant { return s.asOf }

func (m *aged) Snapshot() cellstate.Snapshot {
	return agedSnapshot{m.Mirror.Snapshot(), cellstate.Instant(m.asOf.Load())}
}

// TestMaxAge: nothing is planned on a mirror that has not heard from the cell for too long, until it has.
func TestMaxAge(t *testing.T) {
	for _, tt := range []struct {
		name string
		age  time.Duration // of the news when the job comes
		max  time.Duration
		plan bool
	}{
		{"just fresh enough", 10 * time.Second, 10 * time.Second, true},
		{"a little too old", 10*time.Second + time.Millisecond, 10 * time.Second, false},
		{"unknown", -1, 10 * time.Second, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCell(t, 1)
				m := new(aged)
				c.start(c.store, func(cfg *schedulers.Config) {
					m.Mirror = cfg.Mirror
					cfg.Mirror, cfg.MaxAge = m, tt.max
				})
				settle()
				now := time.Now()
				if tt.age >= 0 {
					m.asOf.Store(int64(cellstate.InstantOf(now.Add(-tt.age))))
				}
				c.submit("a", 1, 1000)
				synctest.Wait()
				if got := len(c.claims()) == 1; got != tt.plan {
					t.Fatalf("placed: %v, want %v", got, tt.plan)
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				m.asOf.Store(int64(cellstate.InstantOf(time.Now())))
				time.Sleep(tt.max / 10)
				synctest.Wait()
				if got := c.claims(); len(got) != 1 {
					t.Errorf("claims %v when the mirror hears again", got)
				}
			})
		})
	}
}
