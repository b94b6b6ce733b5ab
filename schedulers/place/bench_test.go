package place

import (
	"fmt"
	"testing"

	"github.com/omegacell/omegacell/cellstate"
)

func BenchmarkPlace(b *testing.B) {
	shapes := []struct {
		name  string
		share float64
		shape func(*cellstate.Job)
	}{
		{"pack", 0.6, func(*cellstate.Job) {}},
		{"spread", 0.6, func(j *cellstate.Job) {
			j.Packing = cellstate.SpreadLoad
			j.Spread = []cellstate.Spread{{Attribute: "name"}, {Attribute: "rack"}}
		}},
		{"constrained", 0.6, func(j *cellstate.Job) {
			j.Constraints = []cellstate.Constraint{{Attribute: "disk", Op: cellstate.OpEqual, Values: []string{"nvme"}}}
		}},
		{"full", 0.95, func(*cellstate.Job) {}},
	}
	for _, machines := range []int{1000, 10000} {
		for _, s := range shapes {
			c := filledCell(machines, s.share, 1)
			for _, tasks := range []int{1, 10, 1000} {
				b.Run(fmt.Sprintf("machines=%d/%s/tasks=%d", machines, s.name, tasks), func(b *testing.B) {
					j := job(cores(2))
					s.shape(j)
					req := request(j, tasks)
					req.Width = 0
					rng := seeded(2)
					b.ReportAllocs()
					placed := 0
					for b.Loop() {
						placed = len(Place(c, req, rng).Claims)
					}
					b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*tasks), "ns/task")
					b.ReportMetric(float64(placed), "placed")
				})
			}
		}
	}
}

// A cell where nothing is free: victims are looked for on every machine; or nobody yields, and it is explained.
func BenchmarkFullCell(b *testing.B) {
	c := filledCell(10000, 1.2, 1)
	for _, bb := range []struct {
		name       string
		precedence cellstate.Precedence
	}{{"victims", 300}, {"explained", 50}} {
		b.Run(bb.name, func(b *testing.B) {
			j := job(cores(8))
			j.Precedence = bb.precedence
			req := request(j, 10)
			req.Evict = &EvictPolicy{Deadline: now + 5000}
			rng := seeded(2)
			b.ReportAllocs()
			for b.Loop() {
				Place(c, req, rng)
			}
		})
	}
}
