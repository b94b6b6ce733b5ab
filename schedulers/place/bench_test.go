package place

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/memstore"
	"github.com/omegacell/omegacell/cellstate/mirror"
)

// shapes are the kinds of job that the benchmarks place, of tasks of two cores.
var shapes = map[string]func(*cellstate.Job){
	"pack":   func(*cellstate.Job) {},
	"load":   func(j *cellstate.Job) { j.Packing = cellstate.SpreadLoad },
	"spread": func(j *cellstate.Job) { j.Spread = []cellstate.Spread{{Attribute: "rack"}} },
	"apart":  func(j *cellstate.Job) { j.Spread = []cellstate.Spread{{Attribute: "name", MaxSkew: 1}} },
	"constrained": func(j *cellstate.Job) { // to one machine in a hundred
		j.Constraints = []cellstate.Constraint{{Attribute: "disk", Op: cellstate.OpEqual, Values: []string{"nvme"}}}
	},
}

// BenchmarkPlace plans one job on a mirror's snapshot of a cell whose machines are full to a share, give or take a tenth.
func BenchmarkPlace(b *testing.B) {
	type row struct {
		shape string
		tasks []int
	}
	for _, group := range []struct {
		machines, full int
		rows           []row
	}{
		{1000, 60, []row{{"pack", []int{1, 10, 1000}}, {"spread", []int{10, 1000}}, {"load", []int{10}}, {"constrained", []int{10}}}},
		{1000, 95, []row{{"pack", []int{10}}}},
		{10000, 60, []row{{"pack", []int{1, 10, 100, 1000}}, {"spread", []int{1, 10, 1000}}, {"load", []int{1, 10, 1000}},
			{"constrained", []int{1, 10, 1000}}, {"apart", []int{10, 1000}}}},
		{10000, 95, []row{{"pack", []int{1, 10, 1000}}, {"spread", []int{10}}, {"constrained", []int{10}}}},
		{100000, 60, []row{{"pack", []int{1, 10, 1000}}, {"spread", []int{10, 1000}}, {"load", []int{10}}, {"constrained", []int{10}}}},
		{100000, 95, []row{{"pack", []int{10}}}},
	} {
		var snap cellstate.Snapshot // made by the first row that runs
		for _, row := range group.rows {
			for _, tasks := range row.tasks {
				b.Run(fmt.Sprintf("machines=%d/tasks=%d/shape=%s/full=%d", group.machines, tasks, row.shape, group.full), func(b *testing.B) {
					if snap == nil {
						snap = benchCell(b, group.machines, group.full)
					}
					j := job(cores(2))
					shapes[row.shape](j)
					req := request(j, tasks)
					req.Width = 0
					rng := seeded(2)
					b.ReportAllocs()
					var r Result
					began := cpuTime(b)
					for b.Loop() {
						r = Place(snap, req, rng)
					}
					perUnit(b, began, tasks, "task")
					b.ReportMetric(float64(len(r.Claims)), "placed")
					if row.shape == "spread" {
						b.ReportMetric(float64(skew(snap, r.Claims)), "skew")
					}
				})
			}
		}
	}
}

// skew is how many more of the claims the fullest rack has than the emptiest.
func skew(snap cellstate.Snapshot, claims []cellstate.Claim) int {
	racks := make(map[string]int)
	for i := range snap.Len() {
		racks[snap.At(i).Machine.Attributes["rack"]] += 0
	}
	for _, c := range claims {
		m, _ := snap.Machine(c.Machine)
		racks[m.Machine.Attributes["rack"]]++
	}
	all := slices.Sorted(maps.Values(racks))
	return all[len(all)-1] - all[0]
}

// BenchmarkExplain asks for a task where no machine has room, all of them looked at: for want of room, or of the attribute.
func BenchmarkExplain(b *testing.B) {
	for _, machines := range []int{1000, 10000, 100000} {
		var snap cellstate.Snapshot
		for _, why := range []string{"full", "constrained"} {
			b.Run(fmt.Sprintf("machines=%d/why=%s", machines, why), func(b *testing.B) {
				if snap == nil {
					snap = benchCell(b, machines, 95)
				}
				j := job(cores(16))
				if why == "constrained" {
					j = job(cores(2))
					j.Constraints = []cellstate.Constraint{{Attribute: "disk", Op: cellstate.OpEqual, Values: []string{"tape"}}}
				}
				req, rng := request(j, 1), seeded(2)
				b.ReportAllocs()
				began := cpuTime(b)
				for b.Loop() {
					if Place(snap, req, rng).Explanation == nil {
						b.Fatal("placed")
					}
				}
				perUnit(b, began, machines, "machine")
			})
		}
	}
}

// BenchmarkVictims places tasks that only fit where others are evicted.
func BenchmarkVictims(b *testing.B) {
	for _, machines := range []int{1000, 10000, 100000} {
		var snap cellstate.Snapshot
		for _, tasks := range []int{1, 10} {
			b.Run(fmt.Sprintf("machines=%d/tasks=%d", machines, tasks), func(b *testing.B) {
				if snap == nil {
					snap = benchCell(b, machines, 95)
				}
				j := job(cores(16))
				j.Precedence = 300
				req, rng := request(j, tasks), seeded(2)
				req.Evict = &EvictPolicy{Deadline: now + 5000}
				b.ReportAllocs()
				began := cpuTime(b)
				for b.Loop() {
					if r := Place(snap, req, rng); len(r.Claims) < tasks || len(r.Evict) < tasks {
						b.Fatalf("%d placed, %d victims", len(r.Claims), len(r.Evict))
					}
				}
				perUnit(b, began, machines, "machine")
			})
		}
	}
}

// perUnit reports time and CPU time for each of n units of an iteration. On a busy machine the second is the steadier.
func perUnit(b *testing.B, began time.Duration, n int, unit string) {
	all := float64(b.N * n)
	b.ReportMetric(float64(b.Elapsed())/all, "ns/"+unit)
	b.ReportMetric(float64(cpuTime(b)-began)/all, "cpu-ns/"+unit)
}

// cpuTime is what the process has used of processors so far.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// benchCell is a filledCell as a mirror shows it. The largest take long to make.
func benchCell(b *testing.B, machines, percent int) cellstate.Snapshot {
	if machines > 10000 && testing.Short() {
		b.Skip("a large cell, in a short run")
	}
	defer b.ResetTimer()
	return mirrored(b, filledCell(machines, float64(percent)/100, 1))
}

// mirrored returns a mirror's snapshot of a cell.
func mirrored(tb testing.TB, c *cell) cellstate.Snapshot {
	store := memstore.New(memstore.Config{})
	defer store.Close()
	ctx, cancel := context.WithCancel(context.Background())
	rev := int64(0)
	for from := 0; from < len(c.machines); from += 1000 {
		var s cellstate.Swap
		for _, m := range c.machines[from:min(from+1000, len(c.machines))] {
			s.Put = append(s.Put, cellstate.Put{Value: m.Ledger}, cellstate.Put{Value: m.Machine}, cellstate.Put{Value: m.Session})
		}
		done, err := store.Swap(ctx, s)
		if err != nil || !done.OK {
			tb.Fatal(done, err)
		}
		rev = done.Rev
	}
	m, err := mirror.New(mirror.Config{Store: store, Now: func() cellstate.Instant { return now }})
	if err != nil {
		tb.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- m.Run(ctx) }()
	snap, err := m.Wait(ctx, rev)
	if err != nil {
		tb.Fatal(err)
	}
	cancel()
	<-ended
	return snap
}
