package schedulers

import (
	"cmp"
	"iter"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/omegacell/omegacell/cellstate"
)

// overlaid is a snapshot with what the loop has in flight drawn over it: the machines that its transactions under way claim
// room on are shown as if these had been carried out. It never changes.
type overlaid struct {
	cellstate.Snapshot
	spine []*coverChunk
	// What a plan being repaired keeps: its claims count as the job's own.
	kept  map[int]*cellstate.MachineView // by slot
	own   []cellstate.ClaimView
	owner cellstate.ClaimID
}

func (o *overlaid) At(slot int) *cellstate.MachineView {
	if o.kept != nil {
		if m := o.kept[slot]; m != nil {
			return m
		}
	}
	if c := coverAt(o.spine, slot); c != nil {
		return c.view()
	}
	return o.Snapshot.At(slot)
}

func (o *overlaid) Machine(name string) (*cellstate.MachineView, bool) {
	m, ok := o.Snapshot.Machine(name)
	if !ok {
		return nil, false
	}
	return o.At(m.Slot), true
}

func (o *overlaid) Ledger(machine string) (*cellstate.Ledger, bool) {
	m, ok := o.Machine(machine)
	if !ok {
		return nil, false
	}
	return m.Ledger, true
}

// Claims implements [cellstate.Snapshot]. What is in flight for a job is not among its claims: no job is planned while
// something of it is.
func (o *overlaid) Claims(scheduler, job string) iter.Seq[cellstate.ClaimView] {
	stored := o.Snapshot.Claims(scheduler, job)
	if len(o.own) == 0 || scheduler != o.owner.Scheduler || job != o.owner.Job {
		return stored
	}
	all := append(slices.Collect(stored), o.own...)
	slices.SortFunc(all, func(a, b cellstate.ClaimView) int {
		return cmp.Or(strings.Compare(a.Claim.Machine, b.Claim.Machine), a.Claim.ID.Compare(b.Claim.ID))
	})
	return slices.Values(all)
}

// cover is a machine and the claims in flight to it. It never changes; what planners see of it is made when one first looks.
type cover struct {
	machine *cellstate.MachineView // as the base has it
	due     []*cellstate.Claim
	one     [1]*cellstate.Claim // holds due where it is one, as it mostly is
	closed  bool                // the machine is to be shown as taking no more claims
	limits  cellstate.Limits
	shown   atomic.Pointer[cellstate.MachineView]
}

func (c *cover) view() *cellstate.MachineView {
	if m := c.shown.Load(); m != nil {
		return m
	}
	m := *c.machine
	m.Ledger = c.ledger()
	if !c.shown.CompareAndSwap(nil, &m) {
		return c.shown.Load()
	}
	return &m
}

// manyClaims is the number of claims from which on a ledger is not copied to show some more.
const manyClaims = 32

// ledger is the machine's ledger with the claims that are due. One that is long already shows them as capacity that is not there:
// for the moment that they are in flight that comes to the same, but that it makes no difference between now and later.
func (c *cover) ledger() *cellstate.Ledger {
	l := c.machine.Ledger
	long := len(l.Claims) >= manyClaims && len(l.Claims)+len(c.due) < c.limits.ClaimsPerMachine
	var more cellstate.Resources
	for _, d := range c.due {
		long = long && d.Resources.GPUMilli == 0
		more = more.Add(d.Resources)
	}
	if long {
		n := *l
		n.Capacity = l.Capacity.Sub(more)
		n.Cordoned = l.Cordoned || c.closed
		return &n
	}
	for _, d := range c.due {
		l = l.With(*d)
	}
	if c.closed && !l.Cordoned {
		l = l.Clone()
		l.Cordoned = true
	}
	return l
}

// coverSize is the number of slots that one change of a cover copies.
const coverSize = 32

// covers is the machines that are shown otherwise than the base has them, by slot. Handing out its spine costs nothing; what
// was handed out is copied before it is changed.
type covers struct {
	spine   []*coverChunk
	epoch   uint64 // counts the times that the spine was handed out
	spineOf uint64 // epoch of spine
	count   int
}

type coverChunk struct {
	epoch uint64
	count int
	slots [coverSize]*cover
}

// coverAt returns the cover of a slot, or nil.
func coverAt(spine []*coverChunk, slot int) *cover {
	if at := slot / coverSize; at < len(spine) && spine[at] != nil {
		return spine[at].slots[slot%coverSize]
	}
	return nil
}

func (c *covers) share() []*coverChunk {
	c.epoch++
	return c.spine
}

// set covers a slot, or uncovers it where m is nil.
func (c *covers) set(slot int, m *cover) {
	at, in := slot/coverSize, slot%coverSize
	if m == nil && coverAt(c.spine, slot) == nil {
		return
	}
	if c.spineOf != c.epoch || at >= len(c.spine) {
		c.spine = append(make([]*coverChunk, 0, max(at+1, len(c.spine))), c.spine...)
		for len(c.spine) <= at {
			c.spine = append(c.spine, nil)
		}
		c.spineOf = c.epoch
	}
	chunk := c.spine[at]
	switch {
	case chunk == nil:
		chunk = &coverChunk{epoch: c.epoch}
	case chunk.epoch != c.epoch:
		mine := *chunk
		mine.epoch = c.epoch
		chunk = &mine
	}
	c.spine[at] = chunk
	was := chunk.slots[in]
	chunk.slots[in] = m
	switch {
	case was == nil && m != nil:
		chunk.count++
		c.count++
	case was != nil && m == nil:
		chunk.count--
		c.count--
		if chunk.count == 0 {
			c.spine[at] = nil
		}
	}
}
