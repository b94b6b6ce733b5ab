package cellstate

import (
	"fmt"
	"slices"
	"sort"
)

// Ledger is everything that is claimed on one machine, now and later: the point of contention between schedulers. It is a
// value: whoever changes one makes a [Ledger.Clone], changes that and calls [Ledger.Sum].
type Ledger struct {
	Machine  string
	Rev      int64     // revision that wrote it; the store's, not part of what is stored. 0: not stored yet
	Capacity Resources // what claims may share; GPUMilli is 1000 × the number of devices
	Cordoned bool      // an operator takes no further claims here
	Drain    *Drain    // an operator wants the machine empty
	Claims   []Claim   // sorted by ID; live and ended ones

	// used is the sum over the claims that have not ended, whenever they hold: never less than the use at any instant, and
	// exactly the use, and its peak from there on, at every instant in [lastStart, firstUntil).
	used       Resources
	lastStart  Instant // the latest start of a live claim
	firstUntil Instant // the earliest end of a live claim; 0 where no claim is live
}

// Drain is an operator's wish to have a machine empty. Owners move or end their claims; at the deadline the agent does.
type Drain struct {
	Deadline Instant
	Reason   string
}

// NewLedger returns the empty ledger of a machine.
func NewLedger(machine string, capacity Resources) *Ledger {
	return &Ledger{Machine: machine, Capacity: capacity}
}

// Clone returns a copy whose claims may be changed; call Sum when done. What claims point to stays shared and is not to
// be changed, only replaced.
func (l *Ledger) Clone() *Ledger { return l.cloneFor(0) }

// cloneFor is Clone with room for more claims, so that adding them copies nothing again.
func (l *Ledger) cloneFor(more int) *Ledger {
	n := *l
	n.Claims = l.Claims[:0:0] // without spare room, which would be shared
	if len(l.Claims)+more > 0 {
		n.Claims = append(make([]Claim, 0, len(l.Claims)+more), l.Claims...)
	}
	return &n
}

// Sum sorts the claims, sets their machine and computes what is derived from them. It returns l.
func (l *Ledger) Sum() *Ledger {
	for i := 1; i < len(l.Claims); i++ {
		if l.Claims[i-1].ID.Compare(l.Claims[i].ID) > 0 {
			slices.SortFunc(l.Claims, func(a, b Claim) int { return a.ID.Compare(b.ID) })
			break
		}
	}
	l.used, l.lastStart, l.firstUntil = Resources{}, 0, 0
	for i := range l.Claims {
		c := &l.Claims[i]
		c.Machine = l.Machine
		if !c.Ended {
			l.used.accumulate(&c.Resources, 1)
			l.span(c)
		}
	}
	return l
}

// span counts a live claim's start and end into those of all.
func (l *Ledger) span(c *Claim) {
	l.lastStart = max(l.lastStart, c.Start)
	if u := c.until(); l.firstUntil == 0 || u < l.firstUntil {
		l.firstUntil = u
	}
}

// With returns the ledger with one more claim, which must not be there yet: what a planner reckons with after it decided on
// c. A GPU amount without devices gets those that [Commit] would choose; whether c fits is for [Ledger.Fit] to say.
func (l *Ledger) With(c Claim) *Ledger {
	gpus := c.GPUs
	if c.Resources.GPUMilli > 0 && len(gpus) == 0 {
		gpus, _ = l.AssignGPUs(&c)
	}
	n := l.cloneFor(1)
	n.insert(&c, gpus)
	return n
}

// Check returns an error that names what no ledger may have as a whole: an impossible capacity, more devices or claims than
// the hard bounds. Each claim has its own [Claim.Check].
func (l *Ledger) Check() error {
	on := func(err error) error { return &OpError{Op: "check ledger", On: l.Machine, Err: err} }
	if err := CheckName(l.Machine); err != nil {
		return on(err)
	}
	if err := l.Capacity.Check(); err != nil {
		return on(fmt.Errorf("capacity: %w", err))
	}
	if g := l.Capacity.GPUMilli; g%GPUDevice != 0 || g > MaxGPUDevices*GPUDevice {
		return on(fmt.Errorf("capacity: gpu %dm is not 0 to %d whole devices: %w", g, MaxGPUDevices, ErrInvalid))
	}
	if n := len(l.Claims); n > MaxClaims {
		return on(fmt.Errorf("%d claims, more than the hard bound of %d: %w", n, MaxClaims, ErrInvalid))
	}
	return nil
}

// Find returns the claim with that ID, or nil. It is the ledger's own: not to be changed.
func (l *Ledger) Find(id ClaimID) *Claim {
	if i, ok := l.index(id); ok {
		return &l.Claims[i]
	}
	return nil
}

func (l *Ledger) index(id ClaimID) (int, bool) {
	return sort.Find(len(l.Claims), func(i int) int { return id.Compare(l.Claims[i].ID) })
}

// Live counts the claims that have not ended.
func (l *Ledger) Live() int {
	n := 0
	for i := range l.Claims {
		if !l.Claims[i].Ended {
			n++
		}
	}
	return n
}

// insert adds a claim, on these devices, in its place. It must not be there yet.
func (l *Ledger) insert(c *Claim, gpus []GPUShare) {
	i := len(l.Claims)
	if i > 0 && l.Claims[i-1].ID.Compare(c.ID) > 0 {
		i, _ = l.index(c.ID)
	}
	l.Claims = slices.Insert(l.Claims, i, *c)
	l.Claims[i].Machine, l.Claims[i].GPUs = l.Machine, gpus
	if !c.Ended {
		l.used = l.used.combine(&c.Resources, 1) // not in place: a clone shares its extended amounts
		l.span(c)
	}
}

// remove takes these claims out, those of them that are there, in one pass however many they are.
func (l *Ledger) remove(ids []ClaimID) {
	if !slices.IsSortedFunc(ids, ClaimID.Compare) {
		ids = slices.SortedFunc(slices.Values(ids), ClaimID.Compare)
	}
	kept := l.Claims[:0]
	for i := range l.Claims {
		c := &l.Claims[i]
		for len(ids) > 0 && ids[0].Compare(c.ID) < 0 {
			ids = ids[1:]
		}
		if len(ids) == 0 || ids[0] != c.ID {
			kept = append(kept, *c)
		}
	}
	clear(l.Claims[len(kept):])
	l.Claims = kept
	l.Sum()
}

// evict gives a live claim a deadline earlier than the one it may have. What is derived stays exact: no claim begins, and
// none ends later, by that.
func (l *Ledger) evict(id ClaimID, e Eviction) {
	c := l.Find(id)
	c.Evict = &e
	l.span(c)
}

// MarkEnded returns the ledger with these claims marked ended, and with the claims that waited for them (After) beginning
// now, where the room until their Start is free too; otherwise they keep their Start. Claims that are not there, or have
// ended already, are passed over; if nothing changes it returns l itself.
func (l *Ledger) MarkEnded(ids []ClaimID, now Instant) *Ledger {
	n := l.Clone()
	changed := false
	for _, id := range ids {
		if i, ok := n.index(id); ok && !n.Claims[i].Ended {
			n.Claims[i].Ended = true
			changed = true
		}
	}
	if !changed {
		return l
	}
	n.Sum()
	for i := range n.Claims {
		if c := &n.Claims[i]; !c.Ended && c.Start > now && len(c.After) > 0 && n.AllEnded(c.After) {
			n.startEarlier(i, now)
		}
	}
	return n.Sum()
}

// startEarlier sets the start of claim i to now if it fits from now on, beside the others. The sums still count the claim
// itself meanwhile: too much for a first look, and nothing that is exact at now, before its start.
func (l *Ledger) startEarlier(i int, now Instant) {
	c := &l.Claims[i]
	early := *c
	early.Start, early.After = now, nil
	c.Ended = true
	fits := l.room(&early) == (Shortage{})
	c.Ended = false
	if fits {
		*c = early
	}
}

// AllEnded reports whether every one of these claims has ended or is not here.
func (l *Ledger) AllEnded(ids []ClaimID) bool {
	for _, id := range ids {
		if c := l.Find(id); c != nil && !c.Ended {
			return false
		}
	}
	return true
}
