package sim

import (
	"slices"
	"strconv"

	"github.com/omegacell/omegacell/cellstate"
)

// cell is the cell as schedulers see it: ledgers, of which [timeline] keeps what somebody still looks at. It stands in for
// memstore, which keeps every revision there was, and for the mirrors.
//
// A ledger holds one claim for all that runs on its machine. What has begun and has no end counts in the fit rule as a sum
// only, and nobody here asks about single claims; so a ledger costs the same however many tasks there are.
type cell struct {
	*timeline[*machine]
	limits cellstate.Limits
	lag    clock
	marks  []mark // commits of the last lag, oldest first
	spares []*machine
}

// machine is one machine at one revision.
type machine struct {
	view   cellstate.MachineView
	ledger cellstate.Ledger
	all    [1]cellstate.Claim
}

// mark says that rev was the newest revision from a time on.
type mark struct {
	at  clock
	rev int64
}

// everything is the ID of the claim that stands for all that runs on a machine.
func everything() cellstate.ClaimID { return cellstate.ClaimID{Scheduler: "cell", Job: "all"} }

func newCell(cfg *Config, holders int) *cell {
	c := &cell{timeline: newTimeline[*machine](len(cfg.Machines), holders), lag: clockOf(cfg.Repair.Lag)}
	c.limits = c.limits.WithDefaults()
	c.drop = func(m *machine) { c.spares = append(c.spares, m) }
	session := &cellstate.Session{}
	for i, capacity := range cfg.Machines {
		name := "m" + strconv.Itoa(i)
		m := c.spare()
		m.view = cellstate.MachineView{Slot: i, Machine: &cellstate.Machine{Name: name}, Session: session, Ledger: &m.ledger}
		m.ledger = cellstate.Ledger{Machine: name, Capacity: capacity}
		m.ledger.Sum()
		c.now[i].value = m
	}
	if c.lag > 0 {
		c.floor = 0
		c.marks = append(c.marks, mark{})
	}
	return c
}

// slotOf is the inverse of the machines' names.
func (c *cell) slotOf(name string) (int, bool) {
	if len(name) < 2 || name[0] != 'm' {
		return 0, false
	}
	i := 0
	for _, d := range []byte(name[1:]) {
		if d < '0' || d > '9' || i >= len(c.now) {
			return 0, false
		}
		i = 10*i + int(d-'0')
	}
	return i, i < len(c.now)
}

// ledger returns the newest ledger of a machine that there is.
func (c *cell) ledger(name string) *cellstate.Ledger {
	i, _ := c.slotOf(name)
	return &c.now[i].value.ledger
}

// set makes used and gpus, sorted by device, what is claimed on machine i from the latest revision on.
func (c *cell) set(i int, used cellstate.Resources, gpus []cellstate.GPUShare) {
	e, kept := c.edit(i)
	m := *e
	if kept {
		m = c.spare()
		m.view = (*e).view
		m.view.Ledger = &m.ledger
		m.ledger.Machine, m.ledger.Capacity = (*e).ledger.Machine, (*e).ledger.Capacity
		*e = m
	}
	m.ledger.Rev = c.rev
	m.ledger.Claims = nil
	if !used.IsZero() {
		m.ledger.Claims = m.all[:]
		m.all[0].Resources, m.all[0].GPUs = used, gpus
	}
	m.ledger.Sum()
}

// spare returns a machine to fill in.
func (c *cell) spare() *machine {
	if n := len(c.spares); n > 0 {
		m := c.spares[n-1]
		c.spares = c.spares[:n-1]
		return m
	}
	return &machine{all: [1]cellstate.Claim{{ID: everything()}}}
}

// ask asks the commit rule about a transaction on a revision.
func (c *cell) ask(rev int64, t *cellstate.Txn) cellstate.Decision {
	d, err := cellstate.Commit(&snapshot{cell: c, rev: rev}, t, c.limits)
	if err != nil {
		panic("sim: a plan is no transaction: " + err.Error())
	}
	return d
}

// apply makes the ledgers of a decision what stands, and returns where its claims now run. It is the newest revision.
func (c *cell) apply(ledgers []*cellstate.Ledger, into []task) []task {
	for _, l := range ledgers {
		i, _ := c.slotOf(l.Machine)
		var gpus []cellstate.GPUShare
		for k := range l.Claims {
			claim := &l.Claims[k]
			if l.Capacity.GPUMilli > 0 {
				gpus = addGPUs(gpus, claim.GPUs, 1)
			}
			if claim.ID.Scheduler != everything().Scheduler {
				into = append(into, task{machine: int32(i), gpus: claim.GPUs})
			}
		}
		c.set(i, l.Used(), gpus)
	}
	return into
}

// free takes out what ended.
func (c *cell) free(e *ending) {
	for _, t := range e.tasks {
		l := &c.now[t.machine].value.ledger
		var gpus []cellstate.GPUShare
		if l.Capacity.GPUMilli > 0 && len(l.Claims) > 0 {
			gpus = addGPUs(slices.Clone(l.Claims[0].GPUs), t.gpus, -1)
		}
		c.set(int(t.machine), l.Used().Sub(e.demand), gpus)
	}
}

// fill lets a task run on machine i if it fits, without a transaction.
func (c *cell) fill(i int, demand *cellstate.Resources) (task, bool) {
	l := &c.now[i].value.ledger
	claim := cellstate.Claim{ID: cellstate.ClaimID{Scheduler: "fill", Job: "fill"}, Machine: l.Machine, Resources: *demand}
	if l.Fit(&claim, c.limits) != (cellstate.Shortage{}) {
		return task{}, false
	}
	return c.add(i, &claim), true
}

// add puts a claim on machine i that fits there.
func (c *cell) add(i int, claim *cellstate.Claim) task {
	l := &c.now[i].value.ledger
	if claim.Resources.GPUMilli == 0 && l.Capacity.GPUMilli == 0 {
		c.set(i, l.Used().Add(claim.Resources), nil)
		return task{machine: int32(i)}
	}
	return c.apply([]*cellstate.Ledger{l.With(*claim)}, nil)[0]
}

// addGPUs adds sign×more to sum, device by device.
func addGPUs(sum, more []cellstate.GPUShare, sign int) []cellstate.GPUShare {
	for _, g := range more {
		i, found := slices.BinarySearchFunc(sum, g.Device, func(s cellstate.GPUShare, d uint16) int { return int(s.Device) - int(d) })
		if !found {
			sum = slices.Insert(sum, i, cellstate.GPUShare{Device: g.Device})
		}
		sum[i].Milli = uint16(int(sum[i].Milli) + sign*int(g.Milli))
		if sum[i].Milli == 0 {
			sum = slices.Delete(sum, i, i+1)
		}
	}
	return sum
}

// seal says that the revision that began at `now` is complete.
func (c *cell) seal(now clock) {
	if c.lag > 0 {
		c.marks = append(c.marks, mark{now, c.rev})
		c.seen(now)
	}
}

// seen returns the newest revision that a scheduler can see now: that of one lag ago.
func (c *cell) seen(now clock) int64 {
	if c.lag == 0 {
		return c.rev
	}
	k := 0
	for k+1 < len(c.marks) && c.marks[k+1].at <= now-c.lag {
		k++
	}
	c.marks = slices.Delete(c.marks, 0, k)
	c.floor = c.marks[0].rev
	return c.floor
}
