package place

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/omegacell/omegacell/cellstate"
)

// Each row asks for one task; two machines differ in what the row is about.
func TestScore(t *testing.T) {
	gpu := func(milli int64) cellstate.Resources {
		return cellstate.Resources{CPUMilli: 1000, MemBytes: gi, GPUMilli: milli}
	}
	gpus := func(name string, n int64, attributes ...string) *cellstate.MachineView {
		return machine(name, cellstate.Resources{CPUMilli: 32000, MemBytes: 128 * gi, GPUMilli: 1000 * n}, attributes...)
	}
	small := func(name string, attributes ...string) *cellstate.MachineView {
		return machine(name, cores(4), attributes...)
	}
	big := func(name string, attributes ...string) *cellstate.MachineView {
		return machine(name, cores(8), attributes...)
	}
	like := func(weight int32, value string) cellstate.Affinity {
		return cellstate.Affinity{Constraint: cellstate.Constraint{Attribute: "zone", Op: cellstate.OpEqual, Values: []string{value}}, Weight: weight}
	}
	for _, tt := range []struct {
		name     string
		machines []*cellstate.MachineView
		res      cellstate.Resources
		shape    func(*cellstate.Job)
		want     string
	}{
		{"pack takes the fuller", []*cellstate.MachineView{big("a"), small("b")}, cores(1), nil, "b"},
		{"pack looks at the fullest resource", []*cellstate.MachineView{
			holding(big("a"), other("x", 0, 100, cellstate.Resources{MemBytes: 20 * gi})),
			holding(big("b"), other("x", 0, 100, cellstate.Resources{CPUMilli: 4000}))}, cores(1), nil, "a"},
		{"spread load takes the emptier", []*cellstate.MachineView{big("a"), small("b")}, cores(1),
			func(j *cellstate.Job) { j.Packing = cellstate.SpreadLoad }, "a"},
		{"an affinity outweighs packing", []*cellstate.MachineView{big("a", "zone", "x"), small("b")}, cores(1),
			func(j *cellstate.Job) { j.Affinities = []cellstate.Affinity{like(50, "x")} }, "a"},
		{"a light affinity does not", []*cellstate.MachineView{big("a", "zone", "x"), small("b")}, cores(1),
			func(j *cellstate.Job) { j.Affinities = []cellstate.Affinity{like(1, "x")} }, "b"},
		{"a negative one repels", []*cellstate.MachineView{big("a"), small("b", "zone", "x")}, cores(1),
			func(j *cellstate.Job) { j.Affinities = []cellstate.Affinity{like(-50, "x")} }, "a"},
		{"no GPU wanted keeps away from free GPUs", []*cellstate.MachineView{gpus("a", 2), machine("b", cores(64))}, cores(4), nil, "b"},
		{"GPUs all in use do not matter", []*cellstate.MachineView{
			holding(gpus("a", 2), other("x", 0, 100, gpu(2000))), machine("b", cores(64))}, cores(4), nil, "a"},
		{"a share goes to a shared device", []*cellstate.MachineView{
			gpus("a", 4), holding(gpus("b", 4), other("x", 0, 100, cellstate.Resources{GPUMilli: 500}))}, gpu(500), nil, "b"},
		{"that it fills best", []*cellstate.MachineView{
			holding(gpus("a", 1), other("x", 0, 100, gpu(400))), holding(gpus("b", 1), other("x", 0, 100, gpu(500)))}, gpu(500), nil, "b"},
		{"whole devices take the last ones", []*cellstate.MachineView{
			gpus("a", 4), holding(gpus("b", 4), other("x", 0, 100, cellstate.Resources{GPUMilli: 2000}))}, gpu(2000), nil, "b"},
		{"spread load counts GPUs", []*cellstate.MachineView{
			holding(gpus("a", 4), other("x", 0, 100, cellstate.Resources{GPUMilli: 2000})), gpus("b", 4)}, gpu(1000),
			func(j *cellstate.Job) { j.Packing = cellstate.SpreadLoad }, "b"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j := job(tt.res)
			if tt.shape != nil {
				tt.shape(j)
			}
			for seed := range uint64(4) {
				if got := only(Place(newCell(tt.machines...), request(j, 1), seeded(seed))); got != tt.want {
					t.Errorf("seed %d: placed on %s, want %s", seed, got, tt.want)
				}
			}
		})
	}
}

// A job that has claims on some machines asks for one more task, on racks r1 {a, b} and r2 {c}.
func TestSpread(t *testing.T) {
	mine := func(task uint32, change ...func(*cellstate.Claim)) cellstate.Claim {
		c := cellstate.Claim{ID: cellstate.ClaimID{Scheduler: "me", Job: "j", Run: 5, Task: task}, Resources: cores(1), Start: now - 1}
		for _, f := range change {
			f(&c)
		}
		return c
	}
	rack := []cellstate.Spread{{Attribute: "rack"}}
	name := []cellstate.Spread{{Attribute: "name"}}
	skew := func(n uint32) []cellstate.Spread { return []cellstate.Spread{{Attribute: "rack", MaxSkew: n}} }
	for _, tt := range []struct {
		name    string
		spread  []cellstate.Spread
		a, b, c []cellstate.Claim
		want    string
	}{
		{"without spread the fullest", nil, []cellstate.Claim{mine(1)}, nil, nil, "a"},
		{"the rack with fewer", rack, []cellstate.Claim{mine(1)}, nil, nil, "c"},
		{"even racks leave it to packing", rack, []cellstate.Claim{mine(1), mine(3)}, nil, []cellstate.Claim{mine(2), other("x", 0, 1, cores(1)), mine(4)}, "c"},
		{"the machine with none", name, []cellstate.Claim{mine(1)}, []cellstate.Claim{mine(2)}, nil, "c"},
		{"ended ones do not count", rack, []cellstate.Claim{mine(1, func(c *cellstate.Claim) { c.Ended = true }), other("x", 0, 1, cores(1))}, nil, nil, "a"},
		{"nor evicted ones", rack, []cellstate.Claim{mine(1, func(c *cellstate.Claim) { c.Evict = &cellstate.Eviction{Deadline: now + 1} }), other("x", 0, 1, cores(1))}, nil, nil, "a"},
		{"nor those of an earlier submission", rack, []cellstate.Claim{mine(1, func(c *cellstate.Claim) { c.ID.Run = 4 })}, nil, nil, "a"},
		{"nor the claim that this one replaces", rack, []cellstate.Claim{mine(0)}, nil, nil, "a"},
		{"max skew allows", skew(2), []cellstate.Claim{mine(1)}, nil, []cellstate.Claim{other("x", 0, 300, cores(8))}, "a"},
		{"max skew forbids", skew(1), []cellstate.Claim{mine(1)}, nil, []cellstate.Claim{other("x", 0, 300, cores(8))}, "0 claims"},
		{"max skew counts from the emptiest", skew(1), []cellstate.Claim{mine(1)}, []cellstate.Claim{mine(2)}, []cellstate.Claim{mine(3), other("x", 0, 300, cores(7))}, "0 claims"},
		{"which has as many", skew(1), []cellstate.Claim{mine(1)}, nil, []cellstate.Claim{mine(3), other("x", 0, 300, cores(7))}, "a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCell(holding(machine("a", cores(8), "rack", "r1"), tt.a...), holding(machine("b", cores(8), "rack", "r1"), tt.b...),
				holding(machine("c", cores(8), "rack", "r2"), tt.c...))
			for _, m := range c.machines {
				m.Ledger = m.Ledger.Clone().Sum()
			}
			j := job(cores(1))
			j.Spread = tt.spread
			if got := only(Place(c, request(j, 1), seeded(1))); got != tt.want {
				t.Errorf("placed on %s, want %s", got, tt.want)
			}
		})
	}
}

// In a cell of fewer machines than are drawn among, affinities and spreads still decide.
func TestSmallCell(t *testing.T) {
	for seed := range uint64(20) {
		cell := newCell(machine("a", cores(16)), machine("b", cores(16), "zone", "x"), machine("c", cores(16), "zone", "x"))
		j := job(cores(1))
		j.Spread = []cellstate.Spread{{Attribute: "name", Weight: 50}}
		req := request(j, 3)
		req.Width = 0
		on := make(map[string]int)
		for _, c := range Place(cell, req, seeded(seed)).Claims {
			on[c.Machine]++
		}
		if len(on) != 3 {
			t.Errorf("seed %d: a job that spreads over three machines is placed on %v", seed, on)
		}
		j = job(cores(1))
		j.Affinities = []cellstate.Affinity{{Constraint: cellstate.Constraint{Attribute: "zone", Op: cellstate.OpEqual, Values: []string{"x"}}, Weight: 50}}
		req = request(j, 1)
		req.Width = 0
		if got := only(Place(cell, req, seeded(seed))); got == "a" {
			t.Errorf("seed %d: placed on the one machine that the affinity does not hold for", seed)
		}
	}
}

func TestSpreadManyTasks(t *testing.T) {
	for _, tt := range []struct {
		name   string
		spread []cellstate.Spread
		want   map[string]int
	}{
		{"packed", nil, map[string]int{"a": 4, "b": 2}},
		{"over racks", []cellstate.Spread{{Attribute: "rack"}}, map[string]int{"a": 3, "c": 3}},
		{"over machines", []cellstate.Spread{{Attribute: "name"}}, map[string]int{"a": 2, "b": 2, "c": 2}},
		{"over racks and machines", []cellstate.Spread{{Attribute: "rack", Weight: 100}, {Attribute: "name"}}, map[string]int{"a": 2, "b": 1, "c": 3}},
		{"hard over machines", []cellstate.Spread{{Attribute: "name", MaxSkew: 1}}, map[string]int{"a": 2, "b": 2, "c": 2}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCell(machine("a", cores(4), "rack", "r1"), machine("b", cores(5), "rack", "r1"), machine("c", cores(6), "rack", "r2"))
			j := job(cores(1))
			j.Spread = tt.spread
			if got := where(Place(c, request(j, 6), seeded(1))); !maps.Equal(got, tt.want) {
				t.Errorf("placed %v, want %v", got, tt.want)
			}
		})
	}
}

// However rare the machines with room are, a task finds them.
func TestRareRoom(t *testing.T) {
	var all []*cellstate.MachineView
	for i := range 1000 {
		all = append(all, machine(fmt.Sprintf("m%d", i), cores(1)))
	}
	all[700], all[300] = machine("room", cores(4)), machine("more", cores(2))
	for seed := range uint64(5) {
		r := Place(newCell(all...), request(job(cores(2)), 4), seeded(seed))
		if got, want := where(r), map[string]int{"room": 2, "more": 1}; !maps.Equal(got, want) || len(r.Unplaced) != 1 {
			t.Errorf("seed %d: placed %v, want %v", seed, got, want)
		}
	}
}

func TestGang(t *testing.T) {
	for _, tt := range []struct {
		name          string
		tasks, min    int
		placed, wants int
	}{
		{"all fit", 4, 4, 4, 0},
		{"one too many for all", 5, 5, 0, 5},
		{"the minimum fits", 5, 4, 4, 1},
		{"no gang", 5, 0, 4, 1},
		{"fewer tasks than the minimum", 3, 4, 0, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req := request(job(cores(2)), tt.tasks)
			req.Min = tt.min
			r := Place(newCell(machine("a", cores(4)), nil, machine("b", cores(5))), req, seeded(1))
			if len(r.Claims) != tt.placed || len(r.Unplaced) != tt.wants {
				t.Errorf("%d placed, %d not; want %d, %d", len(r.Claims), len(r.Unplaced), tt.placed, tt.wants)
			}
			if (r.Explanation != nil) != (tt.wants > 0) {
				t.Errorf("explanation %v", r.Explanation)
			}
		})
	}
}

func TestClaimIsComplete(t *testing.T) {
	j := job(cellstate.Resources{CPUMilli: 100, GPUMilli: 500})
	j.Version, j.GangMin, j.Precedence, j.Task.MaxRunTime = 3, 2, 150, time.Minute
	m := machine("a", cellstate.Resources{CPUMilli: 1000, GPUMilli: 1000})
	r := Place(newCell(m), Request{Job: j, Tasks: []Slot{{7, 2}, {9, 0}}, Start: now}, seeded(1))
	if len(r.Claims) != 2 {
		t.Fatalf("%d placed, want 2", len(r.Claims))
	}
	want := cellstate.Claim{
		ID: cellstate.ClaimID{Scheduler: "me", Job: "j", Run: 5, Task: 7, Attempt: 2}, Machine: "a", JobVersion: 3,
		Precedence: 150, GangMin: 2, Resources: j.Task.Resources, Start: now, End: now + 60_000,
	}
	if got := fmt.Sprintf("%+v", r.Claims[0]); got != fmt.Sprintf("%+v", want) {
		t.Errorf("claim %s\nwant  %+v", got, want)
	}
}

// A task whose interval ends before a reservation begins fits beside it; one that has no end does not.
func TestReservations(t *testing.T) {
	later := other("x", 0, 300, cores(4))
	later.Start = now.Add(time.Minute)
	for _, tt := range []struct {
		run  time.Duration
		want string
	}{{time.Minute, "a"}, {time.Minute + time.Millisecond, "0 claims"}, {0, "0 claims"}} {
		j := job(cores(1))
		j.Task.MaxRunTime = tt.run
		if got := only(Place(newCell(holding(machine("a", cores(4)), later)), request(j, 1), seeded(1))); got != tt.want {
			t.Errorf("max run time %v: placed on %s, want %s", tt.run, got, tt.want)
		}
	}
}

// TestFilled: a machine that shrank below what it holds is full, not more than full: it must not draw packing tasks.
func TestFilled(t *testing.T) {
	for _, tt := range []struct {
		capacity, free, want int64
		share                float64
	}{{100, 100, 0, 0}, {100, 50, 25, 0.75}, {100, 25, 25, 1}, {100, -50, 0, 1}, {0, 0, 0, 0}} {
		if got := filled(tt.capacity, tt.free, tt.want); got != tt.share {
			t.Errorf("filled(%d, %d, %d) = %v, want %v", tt.capacity, tt.free, tt.want, got, tt.share)
		}
	}
}
