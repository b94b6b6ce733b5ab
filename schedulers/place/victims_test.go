package place

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/omegacell/omegacell/cellstate"
)

const deadline = now + 5000

// started returns a claim of one task that began so many seconds ago.
func started(name string, p cellstate.Precedence, n, ago int64) cellstate.Claim {
	c := other(name, 0, p, cores(n))
	c.Start = now - cellstate.Instant(1000*ago)
	return c
}

// member returns a member of a gang of other/name.
func member(name string, task uint32, p cellstate.Precedence, n int64) cellstate.Claim {
	c := other(name, task, p, cores(n))
	c.GangMin = 2
	return c
}

// evicted says what a result evicts, as "machine: job job …" of each claim placed.
func evicted(r Result) string {
	var out []string
	for _, c := range r.Claims {
		s := c.Machine + ":"
		for _, e := range r.Evict {
			if e.Eviction.By == c.ID {
				s += " " + e.ID.Job
			}
		}
		out = append(out, s)
	}
	return strings.Join(out, "; ")
}

func ended(c cellstate.Claim) cellstate.Claim {
	c.Ended = true
	return c
}

func TestVictims(t *testing.T) {
	type machines = map[string][]cellstate.Claim
	for _, tt := range []struct {
		name     string
		cell     machines // of 8 cores
		task     int64    // cores
		tasks    int
		min      int
		prec     cellstate.Precedence
		want     string
		unplaced int
	}{
		{name: "nobody where there is room", cell: machines{"a": {started("x", 100, 8, 1)}, "b": nil}, task: 8, want: "b:"},
		{name: "lower precedence", cell: machines{"a": {started("x", 100, 8, 1)}}, task: 8, prec: 101, want: "a: x"},
		{name: "equal precedence", cell: machines{"a": {started("x", 100, 8, 1)}}, task: 8, prec: 100, unplaced: 1},
		{name: "production from production", cell: machines{"a": {started("x", 200, 8, 1)}}, task: 8, prec: 299, unplaced: 1},
		{name: "production from batch", cell: machines{"a": {started("x", 199, 8, 1)}}, task: 8, prec: 200, want: "a: x"},
		{name: "the lowest precedence in the cell", cell: machines{"a": {started("x", 110, 8, 1)}, "b": {started("y", 109, 4, 1), started("z", 109, 4, 1)}}, task: 8, want: "b: y z"},
		{name: "then the fewest", cell: machines{"a": {started("x", 110, 8, 1)}, "b": {started("y", 110, 4, 1), started("z", 110, 4, 1)}}, task: 8, want: "a: x"},
		{name: "then the latest started", cell: machines{"a": {started("x", 110, 8, 10)}, "b": {started("y", 110, 8, 9)}}, task: 8, want: "b: y"},
		{name: "the lowest precedence on the machine", cell: machines{"a": {started("x", 110, 4, 1), started("y", 109, 4, 2)}}, task: 4, want: "a: y"},
		{name: "the fewest on the machine", cell: machines{"a": {started("x", 110, 3, 3), started("y", 110, 3, 1), started("z", 110, 2, 4)}}, task: 3, want: "a: y"},
		{name: "two where one is not enough", cell: machines{"a": {started("x", 110, 2, 3), started("y", 110, 3, 1), started("z", 110, 3, 4)}}, task: 6, want: "a: y z"},
		{name: "the lower ones are spared where they do not help", cell: machines{"a": {started("x", 100, 1, 1), started("y", 110, 7, 1)}}, task: 7, want: "a: y"},
		{name: "the lower of as many", cell: machines{"a": {started("x", 110, 3, 2), started("y", 110, 3, 1), started("z", 109, 2, 1)}}, task: 5, want: "a: y z"},
		{name: "the larger, where that makes them fewer", cell: machines{"a": {started("x", 110, 2, 2), started("y", 110, 2, 1), started("z", 110, 1, 0), started("w", 110, 3, 9)}}, task: 5, want: "a: w y"},
		{name: "one that is enough of all, not two that are much of each", cell: machines{"a": {
			other("x", 0, 110, cellstate.Resources{CPUMilli: 5000}), other("y", 0, 110, cellstate.Resources{MemBytes: 20 * gi}),
			other("z", 0, 110, cellstate.Resources{CPUMilli: 3000, MemBytes: 12 * gi})}}, task: 3, want: "a: z"},
		{name: "not one's own job", cell: machines{"a": {{ID: cellstate.ClaimID{Scheduler: "me", Job: "j", Task: 9}, Precedence: 100, Resources: cores(8), Start: now}}}, task: 8, unplaced: 1},
		{name: "a gang that is whole here", cell: machines{"a": {member("g", 0, 100, 4), member("g", 1, 100, 4)}}, task: 2, want: "a: g g"},
		{name: "no gang that is elsewhere too", cell: machines{"a": {member("g", 0, 100, 8)}, "b": {member("g", 1, 100, 8)}}, task: 8, unplaced: 1},
		{name: "a gang of which the rest has ended", cell: machines{"a": {member("g", 0, 100, 8)}, "b": {ended(member("g", 1, 100, 8)), started("y", 300, 8, 1)}}, task: 8, want: "a: g"},
		{name: "a gang of an earlier submission is another", cell: machines{"a": {member("g", 0, 100, 8)}, "b": {func() cellstate.Claim { c := member("g", 1, 300, 8); c.ID.Run = 9; return c }()}}, task: 8, want: "a: g"},
		{name: "a gang counts as its highest member", cell: machines{"a": {member("g", 0, 150, 4), member("g", 1, 100, 4)}, "b": {started("y", 120, 8, 1)}}, task: 8, want: "b: y"},
		{name: "no gang with a firm member", cell: machines{"a": {member("g", 0, 100, 4), member("g", 1, 250, 4)}}, task: 2, unplaced: 1},
		{name: "what is left over serves the next task", cell: machines{"a": {started("x", 100, 8, 1)}, "b": {started("y", 101, 8, 1)}}, task: 4, tasks: 2, want: "a: x; a:"},
		{name: "tasks on several machines", cell: machines{"a": {started("x", 100, 8, 1)}, "b": {started("y", 101, 8, 1)}}, task: 8, tasks: 3, want: "a: x; b: y", unplaced: 1},
		{name: "a gang evicts nobody in vain", cell: machines{"a": {started("x", 100, 8, 1)}, "b": {started("y", 101, 8, 1)}}, task: 8, tasks: 3, min: 3, unplaced: 3},
		{name: "room that comes by itself", cell: machines{"a": {func() cellstate.Claim { c := started("x", 100, 8, 1); c.End = deadline; return c }()}, "b": {started("y", 1, 8, 1)}}, task: 8, want: "a:"},
		{name: "room that comes too late", cell: machines{"a": {func() cellstate.Claim { c := started("x", 100, 8, 1); c.End = deadline + 1; return c }()}, "b": {started("y", 1, 8, 1)}}, task: 8, want: "b: y"},
		{name: "not one that makes way for a reservation", cell: machines{"a": {
			func() cellstate.Claim {
				c := started("x", 100, 4, 1)
				c.Evict = &cellstate.Eviction{Deadline: deadline + 3000}
				return c
			}(),
			started("y", 100, 4, 2), func() cellstate.Claim { c := started("z", 300, 4, 1); c.Start = deadline + 3000; return c }()}}, task: 4, want: "a: y"},
		{name: "a reservation in the way", cell: machines{"a": {func() cellstate.Claim { c := started("x", 100, 8, 1); c.Start = deadline + 1; return c }()}}, task: 8, want: "a: x"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var all []*cellstate.MachineView
			for _, name := range []string{"a", "b"} {
				if claims, ok := tt.cell[name]; ok {
					all = append(all, holding(machine(name, cores(8)), claims...))
				}
			}
			j := job(cores(tt.task))
			j.Precedence = 200
			if tt.prec != 0 {
				j.Precedence = tt.prec
			}
			c := newCell(all...)
			for seed := range uint64(4) {
				req := request(j, max(1, tt.tasks))
				req.Min, req.Evict = tt.min, &EvictPolicy{Deadline: deadline}
				r := Place(c, req, seeded(seed))
				if got := evicted(r); got != tt.want || len(r.Unplaced) != tt.unplaced {
					t.Fatalf("seed %d: %q and %d unplaced, want %q and %d", seed, got, len(r.Unplaced), tt.want, tt.unplaced)
				}
				mustCommit(t, c, req, r)
			}
		})
	}
}

// The newcomer names its victims and starts at their deadline.
func TestEvictionAndNewcomerBelongTogether(t *testing.T) {
	j := job(cores(8))
	j.Task.MaxRunTime = time.Minute
	c := newCell(holding(machine("a", cores(8)), started("x", 100, 4, 1), started("y", 100, 4, 1)))
	for _, reason := range []string{"", "because"} {
		req := request(j, 1)
		req.Evict = &EvictPolicy{Deadline: deadline, Reason: reason}
		r := Place(c, req, seeded(1))
		if len(r.Claims) != 1 || len(r.Evict) != 2 {
			t.Fatalf("%d claims and %d evictions, want 1 and 2", len(r.Claims), len(r.Evict))
		}
		got := r.Claims[0]
		if got.Start != deadline || got.End != deadline.Add(time.Minute) {
			t.Errorf("claim holds [%d, %d)", got.Start, got.End)
		}
		for _, e := range r.Evict {
			want := reason
			if want == "" {
				want = "preempted by me/j"
			}
			if e.Eviction != (cellstate.Eviction{Deadline: deadline, Reason: want, By: got.ID}) || !slices.Contains(got.After, e.ID) {
				t.Errorf("eviction %+v, newcomer after %v", e, got.After)
			}
		}
	}
}

// Machines are drawn among those that do equal harm.
func TestVictimsDraw(t *testing.T) {
	c := newCell(holding(machine("a", cores(8)), started("x", 100, 8, 1)), holding(machine("b", cores(8)), started("y", 100, 8, 1)),
		holding(machine("c", cores(8)), started("z", 100, 4, 1), started("w", 100, 4, 1)))
	req := request(job(cores(8)), 1)
	req.Evict, req.Width = &EvictPolicy{Deadline: deadline}, 3
	got := make(map[string]int)
	for seed := range uint64(100) {
		got[only(Place(c, req, seeded(seed)))]++
	}
	if got["a"] < 25 || got["b"] < 25 || got["a"]+got["b"] != 100 {
		t.Errorf("drew %v, want a and b alike", got)
	}
}

// Claims that take room from others count for the max skew too.
func TestVictimsKeepMaxSkew(t *testing.T) {
	full := func(name, rack string) *cellstate.MachineView {
		return holding(machine(name, cores(8), "rack", rack), started("x"+name, 100, 8, 1))
	}
	j := job(cores(8))
	j.Spread = []cellstate.Spread{{Attribute: "rack", MaxSkew: 1}}
	req := request(j, 4)
	req.Evict = &EvictPolicy{Deadline: deadline}
	r := Place(newCell(full("a", "r1"), full("b", "r1"), full("c", "r1"), full("d", "r2")), req, seeded(1))
	if where(r)["d"] != 1 || len(r.Claims) != 3 {
		t.Errorf("placed %v, want d and two of the others", where(r))
	}
}

// An explanation speaks of the room at the start asked for, also after victims were looked for at their deadline.
func TestExplanationAfterLookingForVictims(t *testing.T) {
	short := started("x", 300, 4, 1)
	short.End = deadline
	req := request(job(cores(6)), 1)
	req.Evict = &EvictPolicy{Deadline: deadline}
	e := Place(newCell(holding(machine("a", cores(8)), short, started("y", 300, 4, 1))), req, seeded(1)).Explanation
	if e == nil || len(e.NearMisses) != 1 || e.NearMisses[0].Lacks != "cpu 6000m of 6000m, memory 24Gi of 24Gi" {
		t.Errorf("explanation %+v", e)
	}
}

// A device is freed by evicting the claim that holds it, not any claim with as much GPU.
func TestVictimsHoldTheDevice(t *testing.T) {
	share := func(name string, p cellstate.Precedence, device, milli uint16) cellstate.Claim {
		c := other(name, 0, p, cellstate.Resources{CPUMilli: 100, GPUMilli: int64(milli)})
		c.GPUs = []cellstate.GPUShare{{Device: device, Milli: milli}}
		return c
	}
	m := holding(machine("a", cellstate.Resources{CPUMilli: 8000, GPUMilli: 2000}),
		share("firm", 300, 0, 500), share("w", 90, 0, 500), share("x", 100, 1, 500), share("y", 110, 1, 500))
	req := request(job(cellstate.Resources{CPUMilli: 100, GPUMilli: 1000}), 1)
	req.Evict = &EvictPolicy{Deadline: deadline}
	r := Place(newCell(m), req, seeded(1))
	if got := evicted(r); got != "a: x y" {
		t.Errorf("evicted %q, want both claims of device 1", got)
	}
}

// mustCommit sends a result through the commit rule, which must refuse none of it, and returns the ledgers it changed.
func mustCommit(t interface {
	Fatalf(string, ...any)
	Helper()
}, c *cell, req Request, r Result) map[string]*cellstate.Ledger {
	t.Helper()
	mode := cellstate.Incremental
	if req.Min > 0 {
		mode = cellstate.AllOrNothing
	}
	d, err := cellstate.Commit(c, &cellstate.Txn{ID: "t", Scheduler: req.Job.Scheduler, Mode: mode, Rule: cellstate.FitRule,
		Basis: c, BasisRev: c.Rev(), Add: r.Claims, Evict: r.Evict}, req.Limits)
	if err != nil || len(d.Conflicts) > 0 {
		t.Fatalf("commit: %v %v", err, d.Conflicts)
	}
	changed := make(map[string]*cellstate.Ledger)
	for _, l := range d.Ledgers {
		if s := l.Overcommitted(0); s != (cellstate.Shortage{}) {
			t.Fatalf("%s is over-committed: %s", l.Machine, fmt.Sprint(s))
		}
		changed[l.Machine] = l
	}
	return changed
}
