package sim

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/omegacell/omegacell/cellstate"
)

// The tests here hold what the simulator shows to what Omega's paper shows (EuroSys 2013, §4 and §5), and what repair is to
// better in it, at small size: six hours of a cell of 130 machines about 60 % full, with the list of jobs that the comparison
// with Google's simulator uses.

// ours is the repair that the figures are for. A commit takes 2 ms to be seen in another scheduler's mirror.
func ours() Repair { return Repair{Revalidate: 8, Losers: true, Lag: 2 * time.Millisecond} }

// shape is a run with service decisions of tJob.
func shape(t *testing.T, tJob time.Duration, mode cellstate.Mode, rule cellstate.Rule, repair Repair) Result {
	return run(t, Config{
		Machines: Uniform(130, cellstate.Resources{CPUMilli: 4000, MemBytes: 16 << 30}), Horizon: 6 * time.Hour,
		Schedulers: PerClass[int]{4, 1}, Mode: mode, Rule: rule, Repair: repair,
		Think: PerClass[Think]{Service: Think{tJob, 10 * time.Millisecond}},
	}, m100())
}

// Long decisions of the service scheduler make its gangs conflict more than once for each success, by sequence numbers, as in
// the paper's figure 8; with repair they conflict hardly ever and cost less than a tenth more than without rivals.
func TestConflictsOfLongDecisions(t *testing.T) {
	tJob := 10 * time.Second
	paper := shape(t, tJob, cellstate.AllOrNothing, cellstate.SeqRule, Repair{}).Classes.Service
	if paper.ConflictFraction < 1 || paper.Busy.Whole < 2*paper.NoConflict.Whole {
		t.Errorf("the paper's way: conflict fraction %.2f, busy %.3f of %.3f: not above 1 and twice", paper.ConflictFraction, paper.Busy.Whole, paper.NoConflict.Whole)
	}
	for _, mode := range []cellstate.Mode{cellstate.Incremental, cellstate.AllOrNothing} {
		for _, rule := range []cellstate.Rule{cellstate.FitRule, cellstate.SeqRule} {
			r := shape(t, tJob, mode, rule, ours()).Classes.Service
			if r.ConflictFraction >= 0.3 || r.Busy.Whole > 1.1*r.NoConflict.Whole || r.Revalidated == 0 || r.Placed < r.Jobs-2 {
				t.Errorf("%v, %v with repair: %s", mode, rule, describe(&r))
			}
			t.Logf("%v, %v with repair: %s", mode, rule, describe(&r))
		}
	}
}

// Where a cell is 80 % full jobs are tried again and again for want of room. That costs less than a tenth more too, as only
// t_task of each task is spent again.
func TestNearlyFull(t *testing.T) {
	for _, mode := range []cellstate.Mode{cellstate.Incremental, cellstate.AllOrNothing} {
		r := run(t, Config{
			Machines: Uniform(100, cellstate.Resources{CPUMilli: 4000, MemBytes: 16 << 30}), Horizon: 6 * time.Hour,
			Schedulers: PerClass[int]{4, 1}, Mode: mode, Repair: ours(),
			Think: PerClass[Think]{Service: Think{10 * time.Second, 10 * time.Millisecond}},
		}, m100()).Classes.Service
		if r.Busy.Whole > 1.1*r.NoConflict.Whole || r.ConflictFraction > 0.3 || r.NoFit < 100 {
			t.Errorf("%v: %s, %d attempts without room", mode, describe(&r), r.NoFit)
		}
		t.Logf("%v: %s, %d attempts without room", mode, describe(&r), r.NoFit)
	}
}

// Fewer claims conflict by fit than by sequence number, fewer incremental than gang, and more the longer decisions take.
func TestConflictsGrow(t *testing.T) {
	fraction := func(tJob time.Duration, mode cellstate.Mode, rule cellstate.Rule) float64 {
		return shape(t, tJob, mode, rule, Repair{}).Classes.Service.ConflictFraction
	}
	s := time.Second
	got := []float64{
		fraction(s, cellstate.Incremental, cellstate.FitRule), fraction(10*s, cellstate.Incremental, cellstate.FitRule),
		fraction(10*s, cellstate.AllOrNothing, cellstate.FitRule), fraction(10*s, cellstate.AllOrNothing, cellstate.SeqRule),
	}
	for i := range got[1:] {
		if got[i] >= got[i+1] {
			t.Errorf("conflict fractions %.3f do not grow", got)
			break
		}
	}
}

// Gangs cost about twice the time in the paper (§5.2); with repair at most 1.3 times, by either rule.
func TestGangPenalty(t *testing.T) {
	for _, rule := range []cellstate.Rule{cellstate.FitRule, cellstate.SeqRule} {
		busy := func(mode cellstate.Mode, repair Repair) float64 {
			return shape(t, 10*time.Second, mode, rule, repair).Classes.Service.Busy.Whole
		}
		paper := busy(cellstate.AllOrNothing, Repair{}) / busy(cellstate.Incremental, Repair{})
		repaired := busy(cellstate.AllOrNothing, ours()) / busy(cellstate.Incremental, ours())
		if repaired > 1.3 || paper <= repaired {
			t.Errorf("%v: gangs take %.2f times as long, %.2f the paper's way", rule, repaired, paper)
		}
		t.Logf("%v: gangs take %.2f times as long, %.2f the paper's way", rule, repaired, paper)
	}
}

// With twice as many batch schedulers each is half as busy, up to 64 of them.
func TestManySchedulers(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	horizon := 20 * time.Minute
	var jobs []Job
	for at := 0.0; at < horizon.Seconds(); at += rng.ExpFloat64() / 8 {
		jobs = append(jobs, Job{Class: Batch, Submit: seconds(at), Duration: seconds(rng.ExpFloat64() * 20), Tasks: 1 + rng.IntN(20), Demand: cores(1)})
	}
	last := 2.0
	for _, n := range []int{4, 8, 16, 32, 64} {
		r := run(t, Config{
			Machines: Uniform(650, cores(4)), Horizon: horizon, Schedulers: PerClass[int]{n, 1}, Repair: ours(), Seed: 1,
			Think: PerClass[Think]{Batch: Think{time.Second, 5 * time.Millisecond}},
		}, jobs)
		b := r.Classes.Batch
		t.Logf("%d schedulers: %s", n, describe(&b))
		if b.Busy.Whole >= last || n > 8 && b.Busy.Whole > 0.55*last {
			t.Errorf("%d schedulers are busy %.4f, half as many %.4f", n, b.Busy.Whole, last)
		}
		if n == 64 && b.Busy.Whole > 1.1*b.NoConflict.Whole {
			t.Errorf("64 schedulers: %s: more than a tenth above no conflicts", describe(&b))
		}
		last = b.Busy.Whole
	}
}

// A single path makes batch jobs wait for service decisions, two paths less, shared state not at all (§4.1, §4.3). While a
// service scheduler decides about an offer of everything, batch has only what ends meanwhile, waits for it, and needs more
// attempts (§4.2).
func TestArchitectures(t *testing.T) {
	got := make(map[Architecture]ClassResult)
	for _, a := range Architectures() {
		r := run(t, Config{
			Machines: Uniform(130, cellstate.Resources{CPUMilli: 4000, MemBytes: 16 << 30}), Horizon: 6 * time.Hour, Architecture: a,
			Think: PerClass[Think]{Service: Think{10 * time.Second, 10 * time.Millisecond}},
		}, m100())
		got[a] = r.Classes.Batch
		b := got[a]
		t.Logf("%v: batch: %s", a, describe(&b))
	}
	wait := func(a Architecture) time.Duration { return got[a].WaitFirst.Mean }
	if wait(MonolithicSinglePath) < 10*wait(MonolithicMultiPath) || wait(MonolithicMultiPath) < 10*wait(SharedState) {
		t.Errorf("waits %v, %v, %v", wait(MonolithicSinglePath), wait(MonolithicMultiPath), wait(SharedState))
	}
	if two, shared := got[TwoLevel], got[SharedState]; two.AttemptsMean < 1.1*shared.AttemptsMean || wait(TwoLevel) < 10*wait(SharedState) {
		t.Errorf("two-level: %s; shared state: %s", describe(&two), describe(&shared))
	}
	for _, a := range []Architecture{MonolithicSinglePath, MonolithicMultiPath} {
		if r := got[a]; r.TxFailed != 0 {
			t.Errorf("%v: %d conflicts", a, r.TxFailed)
		}
	}
}

func describe(c *ClassResult) string {
	return fmt.Sprintf("busy %.4f (%.4f without conflicts), conflict fraction %.4f, %d decided again, attempts %.2f, wait %v, %d of %d placed",
		c.Busy.Whole, c.NoConflict.Whole, c.ConflictFraction, c.Revalidated, c.AttemptsMean, c.WaitFirst.Mean.Round(time.Millisecond), c.Placed, c.Jobs)
}
