package place

import (
	"fmt"
	"testing"

	"github.com/omegacell/omegacell/cellstate"
)

// counted counts how often a machine is looked at.
type counted struct {
	*cell
	looks int
}

func (c *counted) At(i int) *cellstate.MachineView {
	c.looks++
	return c.cell.At(i)
}

// In a roomy cell few machines are looked at, however many there are; and where those with room are rare, as many as
// patience allows, not all for each task.
func TestFewMachinesAreLookedAt(t *testing.T) {
	roomy := filledCell(10000, 0.6, 1)
	for _, tt := range []struct {
		shape string
		tasks int
		most  int
	}{
		{"pack", 1, 20}, {"pack", 10, 40}, {"pack", 1000, 400}, {"spread", 10, 40}, {"spread", 1000, 2500}, {"load", 10, 40},
		{"constrained", 1, 600}, {"constrained", 10, 750}, {"constrained", 50, 1500},
	} {
		t.Run(fmt.Sprintf("%s/%d", tt.shape, tt.tasks), func(t *testing.T) {
			j := job(cores(2))
			shapes[tt.shape](j)
			req := request(j, tt.tasks)
			req.Width = 0
			for seed := range uint64(20) {
				c := &counted{cell: roomy}
				if r := Place(c, req, seeded(seed)); len(r.Unplaced) > 0 {
					t.Fatalf("seed %d: %d unplaced", seed, len(r.Unplaced))
				}
				if c.looks > tt.most {
					t.Errorf("seed %d: %d looks at machines, want at most %d", seed, c.looks, tt.most)
				}
			}
		})
	}
}

// However many tasks, and however few racks: they come out even, though not every machine was looked at.
func TestSpreadStaysEven(t *testing.T) {
	for _, tt := range []struct{ machines, tasks, most int }{{1000, 1000, 1}, {1000, 100, 1}, {10000, 1000, 4}} {
		c := filledCell(tt.machines, 0.6, 1)
		j := job(cores(2))
		shapes["spread"](j)
		req := request(j, tt.tasks)
		req.Width = 0
		for seed := range uint64(5) {
			if got := skew(c, Place(c, req, seeded(seed)).Claims); got > tt.most {
				t.Errorf("seed %d: %d tasks over the racks of %d machines, %d apart", seed, tt.tasks, tt.machines, got)
			}
		}
	}
}

// Where the first machines that seem able to make room are not, the rest of the cell is tried.
func TestRareVictims(t *testing.T) {
	var all []*cellstate.MachineView
	for i := range sitesAtOnce + 200 {
		torn := other("gang", uint32(i), 100, cores(4))
		torn.GangMin = 2
		all = append(all, holding(machine(fmt.Sprintf("m%d", i), cores(4)), torn))
	}
	all[700] = holding(machine("single", cores(4)), other("alone", 0, 100, cores(4)))
	j := job(cores(2))
	j.Precedence = 300
	req := request(j, 1)
	req.Evict = &EvictPolicy{Deadline: now + 5000}
	for seed := range uint64(10) {
		if r := Place(newCell(all...), req, seeded(seed)); only(r) != "single" || len(r.Evict) != 1 {
			t.Errorf("seed %d: placed on %s with %d victims", seed, only(r), len(r.Evict))
		}
	}
}
