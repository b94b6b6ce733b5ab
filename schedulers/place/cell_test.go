package place

import (
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/omegacell/omegacell/cellstate"
)

const (
	now = cellstate.Instant(1_700_000_000_000)
	gi  = int64(1) << 30
	mi  = int64(1) << 20
)

// cell is a snapshot made by hand.
type cell struct {
	machines []*cellstate.MachineView // by slot; nil for an empty one
	byName   map[string]*cellstate.MachineView
	byJob    map[string][]cellstate.ClaimView // of "scheduler/job"; filled by the first call of Claims
}

func newCell(machines ...*cellstate.MachineView) *cell {
	c := &cell{byName: make(map[string]*cellstate.MachineView)}
	for _, m := range machines {
		if m != nil {
			m.Slot = len(c.machines)
			c.byName[m.Name()] = m
		}
		c.machines = append(c.machines, m)
	}
	return c
}

func (c *cell) Rev() int64                      { return 7 }
func (c *cell) AsOf() cellstate.Instant         { return 0 }
func (c *cell) Len() int                        { return len(c.machines) }
func (c *cell) At(i int) *cellstate.MachineView { return c.machines[i] }

func (c *cell) Machine(name string) (*cellstate.MachineView, bool) {
	m, ok := c.byName[name]
	return m, ok
}

func (c *cell) Ledger(name string) (*cellstate.Ledger, bool) {
	if m := c.byName[name]; m != nil {
		return m.Ledger, true
	}
	return nil, false
}

func (c *cell) Claims(scheduler, job string) iter.Seq[cellstate.ClaimView] {
	if c.byJob == nil {
		c.byJob = make(map[string][]cellstate.ClaimView)
		for _, name := range slices.Sorted(maps.Keys(c.byName)) {
			m := c.byName[name]
			for i := range m.Ledger.Claims {
				claim := &m.Ledger.Claims[i]
				key := claim.ID.Scheduler + "/" + claim.ID.Job
				c.byJob[key] = append(c.byJob[key], cellstate.ClaimView{Claim: claim, Machine: m})
			}
		}
	}
	return slices.Values(c.byJob[scheduler+"/"+job])
}

func (c *cell) Job(string, string) (*cellstate.Job, *cellstate.JobStatus, bool) {
	return nil, nil, false
}
func (c *cell) Jobs(string) iter.Seq2[*cellstate.Job, *cellstate.JobStatus] {
	return func(func(*cellstate.Job, *cellstate.JobStatus) bool) {}
}
func (c *cell) Tenant(string) (*cellstate.Tenant, bool)       { return nil, false }
func (c *cell) Scheduler(string) (*cellstate.Scheduler, bool) { return nil, false }

// machine makes a machine with a session. Attributes are pairs of name and value.
func machine(name string, capacity cellstate.Resources, attributes ...string) *cellstate.MachineView {
	attr := make(map[string]string)
	for i := 0; i < len(attributes); i += 2 {
		attr[attributes[i]] = attributes[i+1]
	}
	return &cellstate.MachineView{
		Machine: &cellstate.Machine{Name: name, Attributes: attr},
		Ledger:  cellstate.NewLedger(name, capacity),
		Session: &cellstate.Session{Machine: name, Epoch: 1},
	}
}

// holding adds claims to a machine.
func holding(m *cellstate.MachineView, claims ...cellstate.Claim) *cellstate.MachineView {
	for _, c := range claims {
		m.Ledger = m.Ledger.With(c)
	}
	return m
}

func cores(n int64) cellstate.Resources {
	return cellstate.Resources{CPUMilli: 1000 * n, MemBytes: 4 * gi * n}
}

// other is a running claim of another scheduler's job.
func other(job string, task uint32, p cellstate.Precedence, res cellstate.Resources) cellstate.Claim {
	return cellstate.Claim{
		ID: cellstate.ClaimID{Scheduler: "other", Job: job, Task: task}, Precedence: p, Resources: res, Start: now - 1000,
	}
}

func job(res cellstate.Resources) *cellstate.Job {
	return &cellstate.Job{
		Scheduler: "me", Name: "j", Run: 5, Version: 1, Precedence: 200, Tasks: 1, Packing: cellstate.Pack,
		Task: cellstate.TaskSpec{Resources: res},
	}
}

func slots(n int) []Slot {
	out := make([]Slot, n)
	for i := range out {
		out[i] = Slot{Task: uint32(i)}
	}
	return out
}

func request(j *cellstate.Job, n int) Request {
	return Request{Job: j, Tasks: slots(n), Start: now, Width: 1}
}

func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

// where counts the claims of a result by machine.
func where(r Result) map[string]int {
	m := make(map[string]int)
	for _, c := range r.Claims {
		m[c.Machine]++
	}
	return m
}

// only returns the machine that the one claim of a result is on, or says what there is instead.
func only(r Result) string {
	if len(r.Claims) != 1 {
		return fmt.Sprintf("%d claims", len(r.Claims))
	}
	return r.Claims[0].Machine
}

// filledCell is a cell of n machines of 32 cores, each full to about the share given, in racks of 40; one in a hundred has
// disk=nvme.
func filledCell(n int, share float64, seed uint64) *cell {
	rng := seeded(seed)
	var all []*cellstate.MachineView
	for i := range n {
		kind := "hdd"
		if i%100 == 0 {
			kind = "nvme"
		}
		m := machine(fmt.Sprintf("m%05d", i), cores(32), "rack", fmt.Sprintf("r%03d", i/40), "disk", kind, "kernel", "6.1.0")
		target := share + (rng.Float64()-0.5)*0.2
		for t := uint32(0); ; t++ {
			res := cores(1 + rng.Int64N(4))
			if float64(m.Ledger.Used().CPUMilli+res.CPUMilli) > min(target, 1)*32000 {
				break
			}
			m.Ledger = m.Ledger.With(other(fmt.Sprintf("j%05d", i), t, 100, res))
		}
		all = append(all, m)
	}
	return newCell(all...)
}
