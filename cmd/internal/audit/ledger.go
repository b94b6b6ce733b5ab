package audit

import (
	"math"
	"slices"
	"strings"

	"github.com/omegacell/omegacell/cellstate"
)

func ledgerKey(machine string) string { return "ledgers/" + machine }
func reportKey(machine string) string { return "reports/" + machine }

// ledger compares a machine's ledger with the one before. Either may be nil.
func (c *Checker) ledger(machine string, old, now *cellstate.Ledger) {
	c.touched.machines[machine] = true
	if old != nil {
		for i := range old.Claims {
			o := &old.Claims[i]
			if now == nil || now.Find(o.ID) == nil {
				l := c.claims[o.ID]
				l.machines = slices.DeleteFunc(l.machines, func(m string) bool { return m == machine })
			}
		}
	}
	if now == nil {
		delete(c.over, machine)
		return
	}
	c.report.Ledgers++
	for i := range now.Claims {
		n := &now.Claims[i]
		var o *cellstate.Claim
		if old != nil {
			o = old.Find(n.ID)
		}
		c.claim(machine, o, n)
	}
	c.room(machine, old, now)
}

// claim follows one claim in one ledger.
func (c *Checker) claim(machine string, old, now *cellstate.Claim) {
	l := c.claims[now.ID]
	if l == nil {
		l = &life{}
		c.claims[now.ID] = l
	}
	if old == nil {
		if l.ended && len(l.machines) == 0 {
			c.violation("I5", ledgerKey(machine), "claim %s is back after it had ended and was removed", now.ID)
		}
		l.machines = append(l.machines, machine)
		c.touched.claims[now.ID] = true
		c.member(now)
	}
	if old != nil && old.Ended && !now.Ended {
		c.violation("I5", ledgerKey(machine), "claim %s had ended and is live again", now.ID)
	}
	l.ended = l.ended || now.Ended
}

// checkPlaces finds claims that two ledgers hold at once. A move is one revision, so it never shows.
func (c *Checker) checkPlaces() {
	for id := range c.touched.claims {
		if m := c.claims[id].machines; len(m) > 1 {
			slices.Sort(m)
			c.violation("I4", ledgerKey(m[0]), "claim %s stands on %s at once", id, strings.Join(m, " and "))
		}
	}
}

// room checks that the live claims fit the capacity over the whole time line (I1). A machine that shrank may hold more than
// it has, but nothing that was added or grew since may be part of it.
func (c *Checker) room(machine string, old, now *cellstate.Ledger) {
	for i := range now.Claims {
		if n := &now.Claims[i]; !n.Ended && n.Resources.GPUMilli > 0 && len(n.GPUs) == 0 {
			c.violation("I1", ledgerKey(machine), "claim %s has gpu=%dm but no device", n.ID, n.Resources.GPUMilli)
		}
	}
	if used := now.Used(); used.Fits(&now.Capacity) && now.Capacity.GPUMilli == 0 {
		delete(c.over, machine) // all of them would fit at once; saves looking at every instant
		return
	}
	short := now.Overcommitted(0)
	device := noDevice(now)
	if short == (cellstate.Shortage{}) && device == nil {
		delete(c.over, machine)
		return
	}
	known := c.over[machine]
	c.over[machine] = true
	if c.intruders(machine, old, now) {
		return
	}
	if old != nil && !old.Capacity.Fits(&now.Capacity) {
		known = true
		c.note("I1", ledgerKey(machine), "the capacity shrank to %s, below what is claimed: %s", now.Capacity, short)
	}
	switch {
	case known:
	case c.base:
		c.violation("I1", ledgerKey(machine), "over-committed at the oldest revision read (whether its capacity shrank before is not known): %s", short)
	case device != nil:
		c.violation("I1", ledgerKey(machine), "claim %s has a gpu device that %s does not have", device.ID, machine)
	default:
		c.violation("I1", ledgerKey(machine), "over-committed: %s", short)
	}
}

// intruders reports the claims of an over-committed ledger that were added, or ask for more than before, and do not fit
// beside the others. Where nothing is known of the past, none is told from the others.
func (c *Checker) intruders(machine string, old, now *cellstate.Ledger) bool {
	if c.base {
		return false
	}
	found := false
	for i := range now.Claims {
		n := &now.Claims[i]
		if n.Ended || old != nil && !grew(old.Find(n.ID), n) {
			continue
		}
		others := now.Clone()
		others.Cordoned, others.Drain = false, nil
		others.Claims[i].Ended = true
		if s := others.Sum().Fit(n, cellstate.Limits{ClaimsPerMachine: math.MaxInt}); s != (cellstate.Shortage{}) {
			c.violation("I1", ledgerKey(machine), "claim %s does not fit beside the others: %s", n.ID, s)
			found = true
		}
	}
	return found
}

// grew reports whether a claim asks for something that it did not before, at any time.
func grew(old, now *cellstate.Claim) bool {
	return old == nil || old.Ended || now.Start < old.Start || until(now) > until(old) || !now.Resources.Fits(&old.Resources) ||
		!slices.Equal(old.GPUs, now.GPUs)
}

func until(c *cellstate.Claim) cellstate.Instant {
	end := c.End
	if end == 0 {
		end = cellstate.Forever
	}
	if c.Evict != nil {
		end = min(end, c.Evict.Deadline)
	}
	return end
}

// noDevice returns a live claim that names a device beyond those the machine has.
func noDevice(l *cellstate.Ledger) *cellstate.Claim {
	for i := range l.Claims {
		for _, g := range l.Claims[i].GPUs {
			if !l.Claims[i].Ended && int64(g.Device) >= l.Capacity.GPUMilli/cellstate.GPUDevice {
				return &l.Claims[i]
			}
		}
	}
	return nil
}

// member counts a new claim of a gang.
func (c *Checker) member(n *cellstate.Claim) {
	r := run{jobName{n.ID.Scheduler, n.ID.Job}, n.ID.Run}
	if n.GangMin == 0 || c.gangs[r] {
		return
	}
	p := c.touched.placed[r]
	if p == nil {
		p = &placed{min: n.GangMin, machine: n.Machine, tasks: make(map[uint32]bool)}
		c.touched.placed[r] = p
	}
	p.tasks[n.ID.Task] = true
}

// checkGangs checks that a gang shows whole in the first revision that shows any of it (I2). Later some may have ended.
func (c *Checker) checkGangs() {
	for r, p := range c.touched.placed {
		c.gangs[r] = true
		if n := uint32(len(p.tasks)); n < p.min && !c.base {
			c.violation("I2", ledgerKey(p.machine), "gang %s@%x shows %d members first, not at least %d", r.jobName, r.run, n, p.min)
		}
	}
}
