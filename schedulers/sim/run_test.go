package sim

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/omegacell/omegacell/cellstate"
)

func cores(n float64) cellstate.Resources {
	return cellstate.Resources{CPUMilli: int64(n * 1000), MemBytes: int64(n * (1 << 30))}
}

func run(t testing.TB, cfg Config, jobs []Job) Result {
	t.Helper()
	r, err := Run(context.Background(), cfg, jobs)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Two planners claim a quarter of the same machine from one snapshot: what is a conflict depends on the rule.
func TestTwoPlannersOneMachine(t *testing.T) {
	for _, compat := range []Compat{CompatNone, CompatGoogle} {
		for _, tt := range []struct {
			rule   cellstate.Rule
			failed int
		}{{cellstate.SeqRule, 1}, {cellstate.FitRule, 0}} {
			t.Run(fmt.Sprint(compat, "/", tt.rule), func(t *testing.T) {
				r := run(t, Config{
					Machines: Uniform(1, cores(1)), Horizon: time.Minute, Rule: tt.rule, Compat: compat,
					Think: PerClass[Think]{Batch: Think{Job: time.Second}, Service: Think{Job: 2 * time.Second}},
				}, []Job{
					{Class: Batch, Duration: time.Hour, Tasks: 1, Demand: cores(0.25)},
					{Class: Service, Duration: time.Hour, Tasks: 1, Demand: cores(0.25)},
				})
				if b, s := r.Classes.Batch, r.Classes.Service; b.TxFailed != 0 || s.TxFailed != tt.failed || b.TxOK+s.TxOK != 2 {
					t.Errorf("batch %d ok, %d failed; service %d ok, %d failed", b.TxOK, b.TxFailed, s.TxOK, s.TxFailed)
				}
			})
		}
	}
}

// Jobs at 1 … 4 s, the i-th of i tasks: decisions of 1+i s push each other back.
func TestWaits(t *testing.T) {
	for _, a := range Architectures() {
		t.Run(a.String(), func(t *testing.T) {
			think := Think{Job: time.Second, Task: time.Second}
			var jobs []Job
			for i := 1; i <= 4; i++ {
				jobs = append(jobs, Job{Class: Batch, Submit: time.Duration(i) * time.Second, Duration: time.Hour, Tasks: i, Demand: cores(1)})
			}
			cfg := Config{Machines: Uniform(10, cores(4)), Horizon: time.Minute, Architecture: a, Offer: time.Nanosecond,
				Think: PerClass[Think]{think, think}}
			w, err := newWorld(cfg, jobs)
			if err != nil {
				t.Fatal(err)
			}
			for w.step() {
			}
			for i, want := range []float64{0, 1, 3, 6} {
				if got := float64(w.jobs[i].first); math.Abs(got-want) > 1e-6 {
					t.Errorf("job %d waited %v s, not %v", i+1, got, want)
				}
			}
		})
	}
}

// regular returns a job of n tasks every gap, for the class.
func regular(c Class, gap, horizon time.Duration, n int, duration time.Duration) []Job {
	var out []Job
	for at := time.Duration(0); at < horizon; at += gap {
		out = append(out, Job{Class: c, Submit: at, Duration: duration, Tasks: n, Demand: cores(0.1)})
	}
	return out
}

// Without conflicts busyness is arrival rate × (t_job + n·t_task).
func TestBusyness(t *testing.T) {
	for _, tt := range []struct {
		class       Class
		gap         time.Duration
		tasks       int
		tJob        time.Duration
		busy, alone float64
	}{
		{Batch, 10 * time.Second, 100, 100 * time.Millisecond, 0.060, 0.060},
		{Batch, 10 * time.Second, 100, time.Second, 0.150, 0.150},
		{Batch, 10 * time.Second, 100, 10 * time.Second, 1, 1.05},
		{Service, 20 * time.Second, 10, 100 * time.Millisecond, 0.0075, 0.0075},
		{Service, 20 * time.Second, 10, time.Second, 0.0525, 0.0525},
		{Service, 20 * time.Second, 10, 10 * time.Second, 0.5025, 0.5025},
	} {
		t.Run(fmt.Sprint(tt.class, "/", tt.tJob), func(t *testing.T) {
			think := Think{Job: tt.tJob, Task: 5 * time.Millisecond}
			horizon := 2 * time.Hour
			r := run(t, Config{Machines: Uniform(100, cores(4)), Horizon: horizon, Think: PerClass[Think]{think, think}},
				regular(tt.class, tt.gap, horizon, tt.tasks, 20*time.Second))
			got := r.Classes.Of(tt.class)
			near := func(what string, got, want float64) {
				if math.Abs(got-want) > 1e-3*want {
					t.Errorf("%s %v, not %v", what, got, want)
				}
			}
			near("busy", got.Busy.Whole, tt.busy)
			near("without conflicts", got.NoConflict.Whole, tt.alone)
		})
	}
}

// crowded is a small cell with many rivals, near full, with tasks that come and go.
func crowded(seed uint64, n int) (Config, []Job) {
	rng := rand.New(rand.NewPCG(seed, 1))
	machines := Uniform(12, cores(4))
	for i := range machines {
		machines[i].GPUMilli = 1000 * int64(i%3)
	}
	var jobs []Job
	for i := range n {
		j := Job{
			Class: Batch, Submit: time.Duration(rng.IntN(200_000)) * time.Millisecond, Tasks: 1 + rng.IntN(8),
			Duration: time.Duration(1+rng.IntN(20)) * time.Second, Demand: cores(float64(1+rng.IntN(8)) / 4),
		}
		if i%4 == 0 {
			j.Class, j.Duration = Service, time.Minute
		}
		if i%5 == 0 {
			j.Demand.GPUMilli = []int64{250, 500, 1000}[rng.IntN(3)]
		}
		jobs = append(jobs, j)
	}
	return Config{
		Machines: machines, Horizon: 4 * time.Minute, Seed: seed, Schedulers: PerClass[int]{4, 2},
		Think:   PerClass[Think]{Service: Think{Job: 2 * time.Second, Task: 5 * time.Millisecond}},
		Prefill: []Job{{Class: Service, Duration: time.Minute, Tasks: 8, Demand: cores(1)}},
	}, jobs
}

// variants are the ways to run a cell.
func variants(cfg Config) map[string]Config {
	out := make(map[string]Config)
	for _, a := range Architectures() {
		for _, m := range []cellstate.Mode{cellstate.Incremental, cellstate.AllOrNothing} {
			c := cfg
			c.Architecture, c.Mode = a, m
			if a != SharedState {
				out[fmt.Sprint(a, "/", m)] = c
				continue
			}
			for _, r := range []cellstate.Rule{cellstate.FitRule, cellstate.SeqRule} {
				for name, repair := range map[string]Repair{
					"paper": {}, "repair": {Revalidate: 8, Losers: true}, "lag": {Revalidate: 2, Losers: true, Lag: 50 * time.Millisecond},
				} {
					c.Rule, c.Repair = r, repair
					out[fmt.Sprint(a, "/", m, "/", r, "/", name)] = c
				}
				c.Repair, c.Compat = Repair{}, CompatGoogle
				out[fmt.Sprint(a, "/", m, "/", r, "/google")] = c
				c.Compat = CompatNone
			}
		}
	}
	return out
}

// I1 after every event, under every architecture; and conflicts did happen.
func TestNeverOvercommitted(t *testing.T) {
	lost := make(map[string]int) // races, by variant
	for seed := uint64(1); seed <= 2; seed++ {
		cfg, jobs := crowded(seed, 120)
		for name, c := range variants(cfg) {
			w, err := newWorld(c, jobs)
			if err != nil {
				t.Fatal(err)
			}
			for w.step() {
				if broken := overcommitted(w); broken != "" {
					t.Fatalf("seed %d, %s, at %v s: I1 broken: %s", seed, name, w.now, broken)
				}
			}
			r := w.result()
			if r.Placements < 200 {
				t.Errorf("seed %d, %s: %d tasks were placed", seed, name, r.Placements)
			}
			lost[name] += r.Classes.Batch.TxFailed + r.Classes.Batch.Revalidated
		}
	}
	for name, c := range variants(Config{}) {
		if (lost[name] > 0) != (c.Architecture == SharedState) {
			t.Errorf("%s: %d races were lost", name, lost[name])
		}
	}
}

// overcommitted returns a machine that was given more than it has, or use that does not add up to what the machines say.
func overcommitted(w *world) string {
	var used cellstate.Resources
	ledgers := func(c *cell) string {
		for i := range c.now {
			l := &c.now[i].value.ledger
			if s := l.Overcommitted(0); s != (cellstate.Shortage{}) {
				return l.Machine + ": " + s.String()
			}
			used = used.Add(l.Used())
		}
		return ""
	}
	switch r := w.rules.(type) {
	case *shared:
		if broken := ledgers(r.cell); broken != "" {
			return broken
		}
	case *offers:
		if broken := ledgers(r.cell); broken != "" {
			return broken
		}
		if broken := r.unaccounted(); broken != "" {
			return broken
		}
	case *google:
		quirk := w.cfg.Rule == cellstate.SeqRule && w.cfg.Mode == cellstate.Incremental // see the type's comment
		for i := range r.cell.now {
			free := r.cell.now[i].value.free
			if !quirk && (free.CPUMilli < 0 || free.MemBytes < 0 || free.GPUMilli < 0) {
				return fmt.Sprintf("machine %d: free %v", i, free)
			}
			used = used.Add(w.cfg.Machines[i].Sub(free))
		}
	}
	if used.CPUMilli != w.use.cpu || used.MemBytes != w.use.mem {
		return fmt.Sprintf("used %v, counted %d and %d", used, w.use.cpu, w.use.mem)
	}
	return ""
}

// unaccounted returns a machine of which what is used, offered and in the pool is not its capacity.
func (o *offers) unaccounted() string {
	for i := range o.pool {
		all := o.pool[i].Add(o.cell.now[i].value.ledger.Used())
		for k := range o.frameworks {
			all = all.Add(o.frameworks[k].offer[i])
		}
		if !all.Equal(o.w.cfg.Machines[i]) {
			return fmt.Sprintf("machine %d: %v of %v accounted for", i, all, o.w.cfg.Machines[i])
		}
	}
	return ""
}

// The same configuration, jobs and seed give the same result, and another seed another.
func TestDeterministic(t *testing.T) {
	cfg, jobs := crowded(1, 120)
	for name, c := range variants(cfg) {
		t.Run(name, func(t *testing.T) {
			first := run(t, c, jobs)
			if again := run(t, c, jobs); !reflect.DeepEqual(first, again) {
				t.Errorf("twice the same run:\n%+v\n%+v", first, again)
			}
			c.Seed++
			if other := run(t, c, jobs); reflect.DeepEqual(first, other) {
				t.Error("another seed changes nothing")
			}
		})
	}
}
