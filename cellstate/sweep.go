package cellstate

import (
	"cmp"
	"slices"
)

// Used returns the sum over all live claims, whenever they hold.
func (l *Ledger) Used() Resources { return l.used }

// Free returns the least that is free at any instant of [start, end), in each dimension. It is negative where the machine
// is over-committed, which happens only when its capacity shrank.
func (l *Ledger) Free(start, end Instant) Resources {
	if start >= l.lastStart && (start < l.firstUntil || l.firstUntil == 0) {
		return l.Capacity.combine(&l.used, -1)
	}
	return l.Capacity.Sub(l.peak(start, end))
}

// peak returns the most that is in use at any instant of [start, end), in each dimension: at start, or where a claim begins
// after it, for use rises nowhere else.
func (l *Ledger) peak(start, end Instant) Resources {
	var use Resources
	rises := false
	for i := range l.Claims {
		if c := &l.Claims[i]; c.ActiveAt(start) {
			use.accumulate(&c.Resources, 1)
		} else {
			rises = rises || c.beginsWithin(start, end)
		}
	}
	if !rises {
		return use
	}
	peak := use
	peak.Extended = slices.Clone(use.Extended)
	var buf [32]turn
	for _, t := range l.turns(buf[:0], start, end, (*Claim).holdsAny) {
		c := &l.Claims[t.claim]
		if !t.begins {
			use.accumulate(&c.Resources, -1)
			continue
		}
		use.accumulate(&c.Resources, 1)
		peak.maxWith(&use)
	}
	return peak
}

// GPUFree returns the least that is free at any instant of [start, end), in thousandths, of each device.
func (l *Ledger) GPUFree(start, end Instant) []int64 { return l.gpuFree(nil, start, end) }

// gpuFree is GPUFree that uses the empty buf where it is large enough.
func (l *Ledger) gpuFree(buf []int64, start, end Instant) []int64 {
	free := buf
	for range l.Capacity.GPUMilli / GPUDevice {
		free = append(free, GPUDevice)
	}
	rises := false
	for i := range l.Claims {
		c := &l.Claims[i]
		switch {
		case !c.holdsGPUs():
		case c.ActiveAt(start):
			for _, g := range c.GPUs {
				if int(g.Device) < len(free) {
					free[g.Device] -= int64(g.Milli)
				}
			}
		default:
			rises = rises || c.beginsWithin(start, end)
		}
	}
	if !rises {
		return free
	}
	least := slices.Clone(free)
	var turns [32]turn
	for _, t := range l.turns(turns[:0], start, end, (*Claim).holdsGPUs) {
		for _, g := range l.Claims[t.claim].GPUs {
			switch {
			case int(g.Device) >= len(free):
			case t.begins:
				free[g.Device] -= int64(g.Milli)
				least[g.Device] = min(least[g.Device], free[g.Device])
			default:
				free[g.Device] += int64(g.Milli)
			}
		}
	}
	return least
}

func (c *Claim) holdsAny() bool { return true }

func (c *Claim) holdsGPUs() bool { return len(c.GPUs) > 0 }

// beginsWithin reports whether the claim begins to hold its room after start and before end.
func (c *Claim) beginsWithin(start, end Instant) bool {
	return !c.Ended && start < c.Start && c.Start < end && c.Start < c.until()
}

// turn is an instant at which a claim begins to hold its room, or stops to.
type turn struct {
	at     Instant
	claim  int32 // index in the ledger
	begins bool
}

// turns appends to buf, in order, the turns after start and before end of the claims that count. Of one instant those that
// stop come first: then the use after any beginning is at most the use when that instant's are all done.
func (l *Ledger) turns(buf []turn, start, end Instant, counts func(*Claim) bool) []turn {
	for i := range l.Claims {
		c := &l.Claims[i]
		if !counts(c) {
			continue
		}
		begins := c.beginsWithin(start, end)
		if begins {
			buf = append(buf, turn{c.Start, int32(i), true})
		}
		if until := c.until(); until < end && (begins || c.ActiveAt(start)) {
			buf = append(buf, turn{until, int32(i), false})
		}
	}
	slices.SortFunc(buf, func(a, b turn) int {
		if a.at != b.at {
			return cmp.Compare(a.at, b.at)
		}
		if a.begins != b.begins {
			if b.begins {
				return -1
			}
			return 1
		}
		return 0
	})
	return buf
}
