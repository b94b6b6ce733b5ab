package sim

import (
	"cmp"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/omegacell/omegacell/cellstate"
)

// Events come out by time, and those of one time as they went in.
func TestAgenda(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	var a agenda
	var want []event
	pop := func() {
		slices.SortStableFunc(want, func(x, y event) int {
			return cmp.Compare(x.at, y.at)
		})
		if got := a.pop(); got != want[0] {
			t.Fatalf("popped %+v, not %+v", got, want[0])
		}
		want = want[1:]
	}
	for i := range 2000 {
		if at, more := a.next(); more != (len(want) > 0) || more && at < 0 {
			t.Fatalf("next: %v, %v", at, more)
		}
		if len(want) > 0 && rng.IntN(5) < 2 {
			pop()
			continue
		}
		at := clock(rng.IntN(20))
		a.add(at, ended, int32(i))
		want = append(want, event{at, a.count, ended, int32(i)})
	}
	for len(want) > 0 {
		pop()
	}
}

// A timeline shows at every pinned revision what a copy taken then would, and forgets the rest.
func TestTimeline(t *testing.T) {
	for seed := uint64(1); seed <= 50; seed++ {
		rng := rand.New(rand.NewPCG(seed, 1))
		const machines, holders = 5, 4
		tl := newTimeline[int](machines, holders)
		dropped := 0
		tl.drop = func(int) { dropped++ }
		lagging := seed%2 == 0
		if lagging {
			tl.floor = 0
		}
		copies := map[int64][machines]int{0: {}}
		for i := range 400 {
			switch rng.IntN(3) {
			case 0:
				rev := tl.rev
				if lagging {
					rev = max(tl.rev-3, tl.floor)
					tl.floor = rev
				}
				tl.pin(rng.IntN(holders), rev)
			case 1:
				tl.pin(rng.IntN(holders), none)
			case 2:
				tl.begin()
				now := copies[tl.rev-1]
				for range 1 + rng.IntN(3) {
					m := rng.IntN(machines)
					v, _ := tl.edit(m)
					*v, now[m] = i, i
				}
				copies[tl.rev] = now
			}
			for _, p := range append(tl.pins, tl.rev) {
				for m := range machines {
					if p != none && *tl.at(m, p) != copies[p][m] {
						t.Fatalf("seed %d: machine %d at revision %d is %d, not %d", seed, m, p, *tl.at(m, p), copies[p][m])
					}
				}
			}
		}
		kept := 0
		for _, past := range tl.past {
			kept += len(past)
		}
		if dropped == 0 || kept > 60 {
			t.Errorf("seed %d: %d versions dropped, %d kept", seed, dropped, kept)
		}
	}
}

// One counter deals all batch jobs, then all service jobs.
func TestDealing(t *testing.T) {
	var jobs []Job
	for i, c := range []Class{Batch, Service, Batch, Batch, Service, Service} {
		jobs = append(jobs, Job{Class: c, Submit: time.Duration(6-i) * time.Second, Tasks: 1, Demand: cores(1)})
	}
	cfg := Config{Architecture: SharedState, Schedulers: PerClass[int]{2, 2}}
	dealt, err := deal(jobs, newSchedulers(&cfg))
	if err != nil {
		t.Fatal(err)
	}
	var got []int32
	for i := range dealt { // by submission: the last of the list first
		got = append(got, dealt[i].scheduler)
	}
	if want := []int32{3, 2, 0, 1, 3, 0}; !slices.Equal(got, want) {
		t.Errorf("%v, not %v", got, want)
	}
}

// Numbers that java.util.Random gives.
func TestJavaRand(t *testing.T) {
	for _, tt := range []struct {
		seed uint64
		n    int32
		want []int32
	}{
		{0, 10, []int32{0, 8, 9, 7, 5, 3}},
		{0, 64, []int32{46, 53, 15, 38, 40, 19}},
		{42, 100, []int32{30, 63, 48, 84, 70, 25}},
		{42, 1<<30 + 1, []int32{117392763, 102948884, 662969970, 595021505, 196118093, 969067502}}, // half of all draws are drawn again
	} {
		r := newJavaRand(tt.seed)
		var got []int32
		for range tt.want {
			got = append(got, r.intN(tt.n))
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("seed %d, below %d: %v, not %v", tt.seed, tt.n, got, tt.want)
		}
	}
}

// A decision from 23 h to 49 h 30 min of a run of 50 h lies on both days, and on what is left over.
func TestSpent(t *testing.T) {
	var s spent
	hours := func(h float64) clock { return clock(h * 3600) }
	s.add(hours(23), hours(26.5), hours(50))
	s.add(hours(49.75), hours(1), hours(50))
	got := s.share(hours(50), 1)
	if want := (Share{Whole: 26.75 / 50, Days: []float64{1.0 / 24, 1}, Median: 12.5 / 24, MAD: got.MAD}); !reflect.DeepEqual(got, want) || math.Abs(got.MAD-11.5/24) > 1e-9 {
		t.Errorf("%+v, not %+v", got, want)
	}
}

// Skipping the commit rule where it can only agree changes no result.
func TestAskingAlways(t *testing.T) {
	for seed := uint64(1); seed <= 2; seed++ {
		cfg, jobs := crowded(seed, 120)
		for name, c := range variants(cfg) {
			if c.Compat == CompatGoogle || c.Architecture == TwoLevel {
				continue
			}
			w, err := newWorld(c, jobs)
			if err != nil {
				t.Fatal(err)
			}
			w.rules.(*shared).askAlways = true
			for w.step() {
			}
			if got := run(t, c, jobs); !reflect.DeepEqual(got, w.result()) {
				t.Errorf("seed %d, %s:\n%+v\n%+v", seed, name, got.Classes, w.result().Classes)
			}
		}
	}
}

func TestRefused(t *testing.T) {
	good := Config{Machines: Uniform(1, cores(1)), Horizon: time.Hour}
	job := Job{Class: Batch, Tasks: 1, Demand: cores(1)}
	for _, tt := range []struct {
		name string
		bad  func(*Config, *Job)
		says string
	}{
		{"no machines", func(c *Config, _ *Job) { c.Machines = nil }, "0 machines"},
		{"no horizon", func(c *Config, _ *Job) { c.Horizon = 0 }, "horizon"},
		{"too many schedulers", func(c *Config, _ *Job) { c.Schedulers.Service = MaxSchedulers + 1 }, "service schedulers"},
		{"negative time", func(c *Config, _ *Job) { c.Think.Batch.Task = -1 }, "batch"},
		{"google with offers", func(c *Config, _ *Job) { c.Compat, c.Architecture = CompatGoogle, TwoLevel }, "two-level"},
		{"no class", func(_ *Config, j *Job) { j.Class = 0 }, "Class(0)"},
		{"no tasks", func(_ *Config, j *Job) { j.Tasks = 0 }, "0 tasks"},
		{"too many tasks", func(_ *Config, j *Job) { j.Tasks = MaxTasks + 1 }, "tasks"},
		{"before the run", func(_ *Config, j *Job) { j.Submit = -1 }, "before the run"},
		{"no demand", func(_ *Config, j *Job) { j.Demand = cellstate.Resources{} }, "nothing"},
	} {
		cfg, j := good, job
		tt.bad(&cfg, &j)
		if _, err := Run(context.Background(), cfg, []Job{j}); !errors.Is(err, cellstate.ErrInvalid) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	cfg, j := good, job
	cfg.Schedulers.Service, j.Tasks = MaxSchedulers, 2
	if _, err := Run(context.Background(), cfg, []Job{j}); err != nil {
		t.Error(err)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Run(ended, good, slices.Repeat([]Job{job}, 2000)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// Every enum prints every value.
func TestEnums(t *testing.T) {
	for _, list := range [][]interface{ String() string }{
		{Batch, Service}, {MonolithicSinglePath, MonolithicMultiPath, TwoLevel, SharedState}, {CompatNone, CompatGoogle},
	} {
		seen := make(map[string]bool)
		for _, v := range list {
			if s := v.String(); strings.Contains(s, "(") || seen[s] {
				t.Errorf("%q", s)
			} else {
				seen[s] = true
			}
		}
	}
	if len(Classes()) != 2 || len(Architectures()) != 4 {
		t.Error("a list is not of all")
	}
}
