package schedulers_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/memstore"
	"github.com/omegacell/omegacell/schedulers"
	"github.com/omegacell/omegacell/schedulers/service"
)

// sim is a cell with two schedulers of two copies each, everything between them and the cell unreliable; the test plays the
// agents, the submitters and the operator. The seed decides what happens; how goroutines meet, it does not.
type sim struct {
	*cell
	*faults
	copies  []*copyOf
	lostAt  map[string]bool
	quiet   bool
	checker *checker
}

// copyOf is one running process of a scheduler.
type copyOf struct {
	name   string
	loop   *schedulers.Loop
	client *memstore.Store
	stop   func()
}

// TestSeveralLoops guards I1 to I5, I7 and I10 with everything going wrong that may.
func TestSeveralLoops(t *testing.T) {
	seen := make(map[string]int)
	for seed := range uint64(10) {
		synctest.Test(t, func(t *testing.T) {
			for what, n := range simulate(t, seed) {
				seen[what] += n
			}
		})
		if t.Failed() {
			return
		}
	}
	for _, what := range []string{
		"placed", "finished", "gangs", "lost", "conflicts", "leaderships", "restarts", "resubmitted", "deleted", "stopped", "updated", "watch broken",
		"commit outcome unknown", "commit unavailable", "swap outcome unknown", "swap unavailable",
	} {
		if seen[what] == 0 {
			t.Errorf("%s: never in any seed: this no longer tests anything", what)
		}
	}
	t.Log(seen)
}

func simulate(t *testing.T, seed uint64) map[string]int {
	s := &sim{
		cell:   newCell(t, 6),
		faults: &faults{dice: dice{rng: rand.New(rand.NewPCG(seed, 7))}, seen: make(map[string]int)},
		lostAt: make(map[string]bool),
	}
	s.put(&cellstate.Tenant{Name: cellstate.DefaultTenant, Bands: []cellstate.BandQuota{{
		Band: cellstate.BandBatch, Limit: cellstate.Resources{CPUMilli: 1 << 30},
	}}})
	s.checker = &checker{
		t: t, seed: seed, faults: s.faults, values: make(map[cellstate.Key]cellstate.Value), where: make(map[cellstate.ClaimID]string),
		shown: make(map[run]bool), back: make(map[string]time.Time),
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	go s.checker.follow(ctx, s.store.Client())

	s.set(12, 40*time.Millisecond)
	for range 2 {
		s.copies = append(s.copies, s.run("batch"), s.run("service"))
	}
	for range 150 {
		s.step()
		time.Sleep(time.Duration(1+s.below(400)) * time.Millisecond)
	}
	s.calm()
	synctest.Wait()
	s.checker.settled()
	for _, c := range s.copies {
		if n := c.loop.InFlight(); n > 0 {
			t.Errorf("seed %d: a copy of %s takes %d claims for being in flight", seed, c.name, n)
		}
	}
	return s.seen
}

// run starts one copy of a scheduler.
func (s *sim) run(name string) *copyOf {
	c := &copyOf{name: name, client: s.store.Client()}
	c.loop, c.stop = s.start(flaky{c.client, s.faults}, func(cfg *schedulers.Config) {
		cfg.Name, cfg.LeaseTTL, cfg.Retention, cfg.Seed = name, 3*time.Second, 10*time.Second, uint64(s.below(1000))
		if name == "service" {
			cfg.Planner = service.Planner{}
		} else {
			cfg.Shards, cfg.Copies = 3, 2
		}
	})
	return c
}

// step lets one thing happen.
func (s *sim) step() {
	switch n := s.below(40); {
	case n < 5:
		s.submitSome()
	case n < 8:
		s.change()
	case n == 8:
		i := s.below(len(s.copies))
		s.copies[i].client.SetAvailable(true)
		s.copies[i].stop()
		s.copies[i] = s.run(s.copies[i].name)
		s.count("restarts", 1)
	case n == 9:
		s.copies[s.below(len(s.copies))].client.SetAvailable(s.oneIn(2))
	case n == 10:
		s.expire()
	case n == 11:
		s.operate(fmt.Sprintf("m%d", s.below(6)))
	default:
		s.agent(fmt.Sprintf("m%d", s.below(6)))
	}
}

// expire takes one leader's lease away.
func (s *sim) expire() {
	leaders, err := s.store.List(context.Background(), cellstate.Range{Kind: cellstate.KindLeader}, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	if n := len(leaders.Records); n > 0 {
		s.store.ExpireLease(leaders.Records[s.below(n)].Lease)
	}
}

// operate takes a machine's agent away or brings it back, cordons the machine or drains it.
func (s *sim) operate(name string) {
	switch s.below(4) {
	case 0, 1:
		if s.lostAt[name] = !s.lostAt[name]; !s.lostAt[name] {
			s.put(&cellstate.Session{Machine: name, Epoch: 2})
		} else if _, err := s.store.Swap(context.Background(), cellstate.Swap{Delete: []cellstate.Key{cellstate.SessionKey(name)}}); err != nil {
			s.t.Fatal(err)
		}
	case 2:
		s.edit(name, func(l *cellstate.Ledger) { l.Cordoned = !l.Cordoned })
	default:
		s.edit(name, func(l *cellstate.Ledger) {
			if l.Drain != nil {
				l.Drain = nil
			} else {
				l.Drain = &cellstate.Drain{Deadline: cellstate.InstantOf(time.Now().Add(2 * time.Second)), Reason: "test"}
			}
		})
	}
}

// edit changes a ledger as an operator does, unless a scheduler was faster.
func (s *sim) edit(name string, change func(l *cellstate.Ledger)) {
	rec := s.get(cellstate.LedgerKey(name))
	l := rec.Value.(*cellstate.Ledger).Clone()
	change(l)
	s.swap(cellstate.Swap{Guards: []cellstate.Guard{{Key: l.Key(), Rev: rec.Rev}}, Put: []cellstate.Put{{Value: l.Sum()}}})
}

func (s *sim) get(k cellstate.Key) cellstate.Record {
	rec, err := cellstate.Get(context.Background(), s.store, k)
	if err != nil {
		s.t.Fatal(err)
	}
	return rec
}

func (s *sim) swap(sw cellstate.Swap) bool {
	got, err := s.store.Swap(context.Background(), sw)
	if err != nil {
		s.t.Fatal(err)
	}
	return got.OK
}

// agent plays a round of one machine's agent: what is due ends, what else runs may end by itself.
func (s *sim) agent(name string) {
	if s.lostAt[name] {
		return
	}
	rec := s.get(cellstate.LedgerKey(name))
	l := rec.Value.(*cellstate.Ledger)
	old, _ := s.get(cellstate.ReportKey(name)).Value.(*cellstate.Report)
	now := cellstate.InstantOf(time.Now())
	report := &cellstate.Report{Machine: name, Epoch: 1}
	var ended []cellstate.ClaimID
	for i := range l.Claims {
		cl := &l.Claims[i]
		st := cellstate.ClaimStatus{ID: cl.ID, Phase: cellstate.PhaseRunning, StartedAt: now}
		if o := old.Find(cl.ID); o != nil {
			st = *o
		}
		due := cl.Evict != nil && cl.Evict.Deadline <= now || l.Drain != nil && l.Drain.Deadline <= now
		byItself := cl.ID.Scheduler == "batch" && s.oneIn(4) || !s.quiet && s.oneIn(20)
		if !cl.Ended && (due || byItself) {
			st.Phase, st.EndedAt, st.Outcome = cellstate.PhaseEnded, now, cellstate.OutcomeExited
			if due {
				st.Outcome = cellstate.OutcomeStopped
			} else if s.oneIn(5) {
				st.ExitCode = 1
			}
			ended = append(ended, cl.ID)
		}
		report.Claims = append(report.Claims, st)
	}
	s.swap(cellstate.Swap{
		Guards: []cellstate.Guard{{Key: l.Key(), Rev: rec.Rev}},
		Put:    []cellstate.Put{{Value: report}, {Value: l.MarkEnded(ended, now)}},
	})
}

// calm ends all faults and lets the cell come to rest: everything finishes that can.
func (s *sim) calm() {
	s.set(0, time.Millisecond)
	s.quiet = true
	for _, c := range s.copies {
		c.client.SetAvailable(true)
	}
	for i := range 6 {
		name := fmt.Sprintf("m%d", i)
		s.lostAt[name] = false
		s.put(&cellstate.Session{Machine: name, Epoch: 2})
		for s.get(cellstate.LedgerKey(name)).Value.(*cellstate.Ledger).Capacity.CPUMilli < 1<<20 {
			s.edit(name, func(l *cellstate.Ledger) { l.Capacity.CPUMilli, l.Cordoned, l.Drain = 1<<20, false, nil })
		}
	}
	for range 400 {
		time.Sleep(3 * time.Second)
		for i := range 6 {
			s.agent(fmt.Sprintf("m%d", i))
		}
	}
}
