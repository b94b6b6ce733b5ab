package place

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/omegacell/omegacell/cellstate"
)

// Whatever the cell and the request: the same seed gives the same answer, what is placed commits, what is not fits nowhere,
// a gang has its minimum or nothing, no max skew is exceeded, no gang is torn, and explanations add up.
func TestPlaceProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, req := drawCell(t), drawRequest(t)
		seed := rapid.Uint64().Draw(t, "seed")
		r := Place(c, req, seeded(seed))
		if again := Place(c, req, seeded(seed)); !reflect.DeepEqual(r, again) {
			t.Fatalf("the same request gave %+v and %+v", r, again)
		}
		if len(r.Claims)+len(r.Unplaced) != len(req.Tasks) {
			t.Fatalf("%d placed and %d unplaced of %d", len(r.Claims), len(r.Unplaced), len(req.Tasks))
		}
		if len(r.Claims) < req.Min && len(r.Claims)+len(r.Evict) > 0 {
			t.Fatalf("%d claims, %d evictions of a gang of at least %d", len(r.Claims), len(r.Evict), req.Min)
		}
		for _, claim := range r.Claims {
			if req.Avoid[claim.Machine] {
				t.Fatalf("%s is to be avoided", claim.Machine)
			}
		}
		after := world{cell: c, req: req, changed: mustCommit(t, c, req, r), placed: r.Claims}
		after.checkSkew(t)
		after.checkGangs(t, r.Evict)
		if len(r.Unplaced) > 0 && req.Min == 0 {
			after.checkNothingFits(t)
		}
		if req.Min > 0 && len(r.Claims) == 0 && len(req.Tasks) >= req.Min {
			each := req // the gang's tasks, each for itself, have no place for the minimum either
			each.Min = 0
			if n := len(Place(c, each, seeded(seed)).Claims); n >= req.Min {
				t.Fatalf("no place for a gang of %d, though %d tasks have one", req.Min, n)
			}
		}
		if len(r.Evict) > 0 && req.Min == 0 {
			free := req
			free.Evict = nil
			before := Place(c, free, seeded(seed))
			if len(before.Unplaced) == 0 {
				t.Fatalf("evicted %v though all tasks fit", r.Evict)
			}
			if len(req.Tasks) == 1 {
				after.checkLeastHarm(t, r)
			}
		}
		checkExplanation(t, c, r)
	})
}

func checkExplanation(t *rapid.T, c *cell, r Result) {
	e := r.Explanation
	if (e != nil) != (len(r.Unplaced) > 0) {
		t.Fatalf("%d unplaced, explanation %v", len(r.Unplaced), e)
	}
	if e == nil {
		return
	}
	sum := uint32(0)
	for _, rule := range e.Rules {
		sum += rule.Count
	}
	if int(e.Looked) != len(c.byName) || sum != e.Looked-e.Eligible || e.Unblock == "" || len(e.NearMisses) > nearMisses ||
		int(e.Unplaced) != len(r.Unplaced) {
		t.Fatalf("of %d machines: %+v", len(c.byName), e)
	}
}

// world is the cell after a result, looked at without anything that Place uses but the fit rule.
type world struct {
	cell    *cell
	req     Request
	changed map[string]*cellstate.Ledger
	placed  []cellstate.Claim
}

func (w *world) ledger(m *cellstate.MachineView) *cellstate.Ledger {
	if l := w.changed[m.Name()]; l != nil {
		return l
	}
	return m.Ledger
}

// usable reports whether a machine takes claims of the request at all.
func (w *world) usable(m *cellstate.MachineView) bool {
	if m == nil || m.Session == nil || m.Ledger.Cordoned || m.Ledger.Drain != nil || w.req.Avoid[m.Name()] {
		return false
	}
	for _, c := range w.req.Job.Constraints { // all are zone = x
		if m.Machine.Attributes["zone"] != c.Values[0] {
			return false
		}
	}
	return true
}

// tasks counts the job's tasks by rack.
func (w *world) tasks() map[string]int {
	n := make(map[string]int)
	for _, m := range w.cell.byName {
		for _, c := range w.ledger(m).Claims {
			if c.ID.Scheduler == "me" && c.ID.Job == "j" && !c.Ended && c.Evict == nil {
				n[m.Machine.Attributes["rack"]]++
			}
		}
	}
	return n
}

// skewed reports whether a rack with so many tasks has too many more than the emptiest.
func (w *world) skewed(tasks int) bool {
	if len(w.req.Job.Spread) == 0 || w.req.Job.Spread[0].MaxSkew == 0 {
		return false
	}
	all, least := w.tasks(), -1
	for _, m := range w.cell.machines {
		if w.usable(m) && m.Machine.Attributes["rack"] != "" {
			if n := all[m.Machine.Attributes["rack"]]; least < 0 || n < least {
				least = n
			}
		}
	}
	return tasks-least > int(w.req.Job.Spread[0].MaxSkew)
}

func (w *world) checkSkew(t *rapid.T) {
	all := w.tasks()
	for _, c := range w.placed {
		rack := w.cell.byName[c.Machine].Machine.Attributes["rack"]
		if w.skewed(all[rack]) {
			t.Fatalf("rack %q has %d of %v, max skew %d", rack, all[rack], all, w.req.Job.Spread[0].MaxSkew)
		}
	}
}

func (w *world) checkGangs(t *rapid.T, evict []cellstate.Evict) {
	gone := make(map[cellstate.ClaimID]bool)
	run := make(map[string]bool)
	for _, e := range evict {
		gone[e.ID] = true
		m := w.cell.byName[e.Machine]
		if m.Ledger.Find(e.ID).GangMin > 0 {
			run[e.ID.Job] = true
		}
	}
	for _, m := range w.cell.byName {
		for _, c := range m.Ledger.Claims {
			if run[c.ID.Job] && !gone[c.ID] && c.Overlaps(w.req.Evict.Deadline, cellstate.Forever) {
				t.Fatalf("gang %s is torn: %s stays", c.ID.Job, c.ID)
			}
		}
	}
}

// checkNothingFits tries every machine for one more task, now and, if the request may evict, with everything evicted that may be.
func (w *world) checkNothingFits(t *rapid.T) {
	all := w.tasks()
	for _, m := range w.cell.machines {
		if !w.usable(m) {
			continue
		}
		rack := m.Machine.Attributes["rack"]
		if w.skewed(all[rack]+1) || rack == "" && len(w.req.Job.Spread) > 0 && w.req.Job.Spread[0].MaxSkew > 0 {
			continue
		}
		claim := w.claim(w.req.Start)
		if s := w.ledger(m).Fit(&claim, w.req.Limits.WithDefaults()); s == (cellstate.Shortage{}) {
			t.Fatalf("a task is unplaced and fits %s", m.Name())
		}
		if w.req.Evict != nil && w.needs(m, w.ledger(m)) != nil {
			t.Fatalf("a task is unplaced and %s could make room", m.Name())
		}
	}
}

func (w *world) claim(start cellstate.Instant) cellstate.Claim {
	j := w.req.Job
	c := cellstate.Claim{ID: cellstate.ClaimID{Scheduler: "me", Job: "j", Run: 5, Task: 999}, Precedence: j.Precedence,
		Resources: j.Task.Resources, Start: start}
	if j.Task.MaxRunTime > 0 {
		c.End = start.Add(j.Task.MaxRunTime)
	}
	return c
}

// needs returns the lowest precedence up to which evicting everything on the ledger gives room; nil where nothing does.
func (w *world) needs(m *cellstate.MachineView, l *cellstate.Ledger) *int {
	claim := w.claim(w.req.Evict.Deadline)
	for level := -1; level < int(claim.Precedence); level++ {
		what := l.Clone()
		for i := range what.Claims {
			c := &what.Claims[i]
			if c.ID.Scheduler != "me" && int(c.Precedence) <= level && claim.Precedence.MayEvict(c.Precedence) &&
				c.Overlaps(claim.Start, cellstate.Forever) && (c.GangMin == 0 || w.gangFits(c, m.Name(), level)) {
				c.Evict = &cellstate.Eviction{Deadline: claim.Start}
			}
		}
		if what.Sum().Fit(&claim, w.req.Limits.WithDefaults()) == (cellstate.Shortage{}) {
			return &level
		}
	}
	return nil
}

// gangFits reports whether all of c's gang is on the machine, yields, and is of no higher precedence than the level.
func (w *world) gangFits(c *cellstate.Claim, machine string, level int) bool {
	for _, m := range w.cell.byName {
		for _, o := range m.Ledger.Claims {
			if o.ID.Job == c.ID.Job && !o.Ended && (m.Name() != machine || int(o.Precedence) > level || !w.req.Job.Precedence.MayEvict(o.Precedence)) {
				return false
			}
		}
	}
	return true
}

// checkLeastHarm compares the victims of the only task with what every machine would have needed.
func (w *world) checkLeastHarm(t *rapid.T, r Result) {
	worst := -1
	for _, e := range r.Evict {
		worst = max(worst, int(w.cell.byName[e.Machine].Ledger.Find(e.ID).Precedence))
	}
	empty := world{cell: w.cell, req: w.req}
	for _, m := range w.cell.machines {
		rack := ""
		if m != nil {
			rack = m.Machine.Attributes["rack"]
		}
		if !w.usable(m) || empty.skewed(empty.tasks()[rack]+1) || rack == "" && len(w.req.Job.Spread) > 0 && w.req.Job.Spread[0].MaxSkew > 0 {
			continue
		}
		if level := w.needs(m, m.Ledger); level != nil && *level < worst {
			t.Fatalf("evicted precedence %d on %s; on %s %d is enough", worst, r.Claims[0].Machine, m.Name(), *level)
		}
	}
}

func drawCell(t *rapid.T) *cell {
	n := func(label string, lo, hi int) int { return rapid.IntRange(lo, hi).Draw(t, label) }
	var all []*cellstate.MachineView
	for i := range n("machines", 0, 8) {
		if n("slot", 0, 9) == 0 {
			all = append(all, nil)
			continue
		}
		capacity := cellstate.Resources{CPUMilli: int64(n("cores", 1, 8)) * 1000, MemBytes: int64(n("memory", 1, 8)) * gi, GPUMilli: int64(n("gpus", 0, 2)) * 1000}
		m := machine(fmt.Sprintf("m%d", i), capacity)
		if rack := n("rack", 0, 3); rack > 0 {
			m.Machine.Attributes["rack"] = fmt.Sprint(rack)
		}
		m.Machine.Attributes["zone"] = []string{"x", "y"}[n("zone", 0, 1)]
		switch n("state", 0, 11) {
		case 0:
			m.Session = nil
		case 1:
			m.Ledger.Cordoned = true
		case 2:
			m.Ledger.Drain = &cellstate.Drain{Deadline: now + 1}
		}
		for k := range n("claims", 0, 5) {
			c := drawClaim(t, uint32(8*i+k))
			if m.Ledger.Fit(&c, cellstate.Limits{}.WithDefaults()) == (cellstate.Shortage{}) {
				m.Ledger = m.Ledger.With(c)
			}
		}
		all = append(all, m)
	}
	return newCell(all...)
}

func drawClaim(t *rapid.T, task uint32) cellstate.Claim {
	n := func(label string, lo, hi int) int { return rapid.IntRange(lo, hi).Draw(t, label) }
	c := other("x", task, cellstate.Precedence(10*n("precedence", 0, 39)), cellstate.Resources{
		CPUMilli: int64(n("cpu", 0, 16)) * 250, MemBytes: int64(n("mem", 0, 16)) * 256 * mi,
		GPUMilli: []int64{0, 0, 300, 500, 1000, 2000}[n("gpu", 0, 5)]})
	c.Start = now + cellstate.Instant(n("start", -3, 3))*1000
	switch n("interval", 0, 3) {
	case 0:
		c.End = now + cellstate.Instant(n("end", 4, 8))*1000
	case 1:
		c.Evict = &cellstate.Eviction{Deadline: now + cellstate.Instant(n("leaving", 4, 7))*1000}
	}
	switch n("kind", 0, 5) {
	case 0:
		c.ID.Job, c.GangMin = fmt.Sprintf("g%d", n("gang", 0, 2)), 2
	case 1:
		c.ID.Scheduler, c.ID.Job, c.ID.Run, c.ID.Task = "me", "j", 5, 100+task
	case 2:
		c.Ended = n("ended", 0, 1) == 0
	}
	return c
}

func drawRequest(t *rapid.T) Request {
	n := func(label string, lo, hi int) int { return rapid.IntRange(lo, hi).Draw(t, label) }
	j := job(cellstate.Resources{CPUMilli: int64(n("want cpu", 1, 16)) * 250, MemBytes: int64(n("want mem", 0, 8)) * 512 * mi,
		GPUMilli: []int64{0, 0, 0, 300, 500, 1000, 2000}[n("want gpu", 0, 6)]})
	j.Precedence = cellstate.Precedence(n("own precedence", 0, 399))
	j.Packing = cellstate.Packing(n("packing", 0, 2))
	if n("ends", 0, 1) == 0 {
		j.Task.MaxRunTime = time.Duration(n("run", 1, 8)) * time.Second
	}
	if n("constrained", 0, 3) == 0 {
		j.Constraints = []cellstate.Constraint{{Attribute: "zone", Op: cellstate.OpEqual, Values: []string{"x"}}}
	}
	switch n("spread", 0, 3) {
	case 0:
		j.Spread = []cellstate.Spread{{Attribute: "rack", MaxSkew: uint32(n("skew", 0, 2))}}
	case 1:
		j.Spread = []cellstate.Spread{{Attribute: "rack"}, {Attribute: "name", Weight: 10}}
	}
	req := request(j, n("tasks", 1, 8))
	req.Width = n("width", 0, 3)
	if n("gang", 0, 2) == 0 {
		req.Min = n("min", 1, 8)
	}
	if n("avoids", 0, 3) == 0 {
		req.Avoid = map[string]bool{"m1": true}
	}
	if n("evicts", 0, 1) == 0 {
		req.Evict = &EvictPolicy{Deadline: now + 5000}
	}
	if n("limited", 0, 3) == 0 {
		req.Limits.ClaimsPerMachine = n("limit", 1, 4)
	}
	return req
}
