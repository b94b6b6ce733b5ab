package place

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/omegacell/omegacell/cellstate"
)

// collision is schedulers that all plan a job of their own on one snapshot, with seeds of their own, and then commit in turn.
type collision struct {
	schedulers, tasks, width int
	shape                    string
}

// outcome is what came of some rounds.
type outcome struct {
	claims, refused  int
	txns, conflicted int     // transactions; those of which something was refused
	packed           float64 // sum over the machines of how full they were filled
	machines         int
}

func (o *outcome) claimFraction() float64 { return part(int64(o.refused), int64(o.claims)) }
func (o *outcome) txnFraction() float64   { return part(int64(o.conflicted), int64(o.txns)) }

// overlay is a view in which some ledgers are newer.
type overlay struct {
	*cell
	newer map[string]*cellstate.Ledger
}

func (o *overlay) Ledger(name string) (*cellstate.Ledger, bool) {
	if l := o.newer[name]; l != nil {
		return l, true
	}
	return o.cell.Ledger(name)
}

// play plays a round and adds to the outcome what came of it.
func (x *collision) play(tb testing.TB, c *cell, seed uint64, o *outcome) {
	now := &overlay{cell: c, newer: make(map[string]*cellstate.Ledger)}
	for i := range x.schedulers {
		j := job(cores(2))
		j.Scheduler = fmt.Sprintf("s%02d", i)
		shapes[x.shape](j)
		req := request(j, x.tasks)
		req.Width = x.width
		txn := cellstate.Txn{ID: j.Scheduler, Scheduler: j.Scheduler, Mode: cellstate.Incremental, Rule: cellstate.FitRule, Basis: c, BasisRev: c.Rev(),
			Add: Place(c, req, seeded(1000*seed+uint64(i))).Claims}
		d, err := cellstate.Commit(now, &txn, cellstate.Limits{})
		if err != nil {
			tb.Fatal(err)
		}
		for _, l := range d.Ledgers {
			now.newer[l.Machine] = l
		}
		o.claims, o.refused, o.txns = o.claims+len(txn.Add), o.refused+len(d.Conflicts), o.txns+1
		if len(d.Conflicts) > 0 {
			o.conflicted++
		}
	}
	for _, name := range slices.Sorted(maps.Keys(now.newer)) {
		used := now.newer[name].Used()
		o.packed += part(used.CPUMilli, now.newer[name].Capacity.CPUMilli)
		o.machines++
	}
}

// Schedulers that do not know of each other seldom get in each other's way, where the cell has room; on few machines they
// do, and a wider draw helps.
func TestCollisions(t *testing.T) {
	roomy, hot := filledCell(10000, 0.6, 1), filledCell(50, 0.6, 1)
	for _, tt := range []struct {
		name     string
		cell     *cell
		of       collision
		min, max float64 // share of the transactions of which something is refused
	}{
		{"roomy", roomy, collision{16, 10, 0, "pack"}, 0, 0.05},
		{"roomy, load spread", roomy, collision{16, 10, 0, "load"}, 0, 0.05},
		{"roomy, over racks", roomy, collision{16, 10, 0, "spread"}, 0, 0.05},
		{"roomy, the best only", roomy, collision{16, 10, 1, "pack"}, 0, 0.05},
		{"hot, the best only", hot, collision{16, 10, 1, "pack"}, 0.5, 1},
		{"hot, wide", hot, collision{16, 10, 64, "pack"}, 0, 0.2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var o outcome
			for seed := range uint64(10) {
				tt.of.play(t, tt.cell, seed, &o)
			}
			if got := o.txnFraction(); got < tt.min || got > tt.max {
				t.Errorf("of %d transactions %.3f conflict, want %v to %v", o.txns, got, tt.min, tt.max)
			}
		})
	}
}

// BenchmarkCollisions shows what width does to conflicts and to packing.
func BenchmarkCollisions(b *testing.B) {
	for _, machines := range []int{10000, 50} {
		var c *cell
		for _, x := range []collision{
			{16, 10, 1, "pack"}, {16, 10, 4, "pack"}, {16, 10, 16, "pack"}, {16, 10, 64, "pack"}, {64, 10, 4, "pack"}, {16, 100, 4, "pack"},
			{16, 10, 4, "load"}, {16, 10, 4, "spread"}, {16, 10, 4, "constrained"},
		} {
			b.Run(fmt.Sprintf("machines=%d/schedulers=%d/tasks=%d/shape=%s/width=%d", machines, x.schedulers, x.tasks, x.shape, x.width), func(b *testing.B) {
				if c == nil {
					c = filledCell(machines, 0.6, 1)
					b.ResetTimer()
				}
				var o outcome
				seed := uint64(0)
				for b.Loop() {
					x.play(b, c, seed, &o)
					seed++
				}
				b.ReportMetric(o.txnFraction(), "conflicts/txn")
				b.ReportMetric(o.claimFraction(), "refused/claim")
				b.ReportMetric(o.packed/float64(o.machines), "filled/machine")
			})
		}
	}
}
