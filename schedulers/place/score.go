package place

import "github.com/omegacell/omegacell/cellstate"

// The score of a machine, higher being better, is
//
//	packWeight × packing (0 … 1)  +  the weights of the affinities it satisfies
//	  − for each spread, its weight × the job's tasks that already have the machine's value
//
// so that a spread of the default weight 50 gives way to nothing but an affinity for each task that a value is ahead.
const packWeight = 50

// affinity is one of the job's, compiled once for the request.
type affinity struct {
	*matcher
	weight float64
}

func compileAffinities(list []cellstate.Affinity) []affinity {
	var out []affinity
	for _, a := range list {
		if m, err := compile(a.Constraint); err == nil {
			out = append(out, affinity{m, float64(a.Weight)})
		}
	}
	return out
}

// attraction is the part of the score that stays the same whatever is placed.
func (p *plan) attraction(m *cellstate.MachineView) float64 {
	sum := 0.0
	for i := range p.affinity {
		if p.affinity[i].holds(m) {
			sum += p.affinity[i].weight
		}
	}
	return sum
}

// packing is how well the next claim packs on a ledger that has room for it, 0 … 1.
//
// Pack is best fit: half of it is the share in use, afterwards, of the machine's fullest resource, half what the claim does
// to GPUs. A share of a device should fill a device already shared, whole devices should take the last ones of a machine,
// and what wants no GPU should stay away from machines with GPUs free: else GPUs are stranded for want of a whole device or
// of CPU beside it (Weng et al., "Beware of Fragmentation", USENIX ATC 2023). SpreadLoad prefers the machine whose fullest
// resource is emptiest.
func (p *plan) packing(c *candidate, free *cellstate.Resources) float64 {
	want, capacity := &p.claim.Resources, &c.view.Ledger.Capacity
	share := max(
		filled(capacity.CPUMilli, free.CPUMilli, want.CPUMilli), filled(capacity.MemBytes, free.MemBytes, want.MemBytes),
		filled(capacity.DiskBytes, free.DiskBytes, want.DiskBytes),
		filled(capacity.NetBitsPerSecond, free.NetBitsPerSecond, want.NetBitsPerSecond),
	)
	if p.req.Job.Packing == cellstate.SpreadLoad {
		return 1 - max(share, filled(capacity.GPUMilli, free.GPUMilli, want.GPUMilli))
	}
	return (share + p.gpuPacking(c, free.GPUMilli)) / 2
}

// gpuPacking is 1 where the claim leaves no GPU behind that is free but hard to use, down to 0.
func (p *plan) gpuPacking(c *candidate, free int64) float64 {
	want, capacity := p.claim.Resources.GPUMilli, c.view.Ledger.Capacity.GPUMilli
	switch {
	case capacity == 0:
		return 1
	case want == 0:
		return 1 - part(free, capacity)
	}
	l := p.ledger(c.slot, c.view)
	devices := l.GPUFree(p.claim.Start, p.until())
	if want < cellstate.GPUDevice {
		got, _ := l.AssignGPUs(&p.claim)
		if len(got) == 0 {
			return 0
		}
		return 1 - part(devices[got[0].Device]-want, cellstate.GPUDevice)
	}
	var whole int64
	for _, f := range devices {
		if f == cellstate.GPUDevice {
			whole += f
		}
	}
	return 1 - part(whole-want, capacity)
}

// filled is the share of a capacity that is in use once `want` is taken from what is free, 0 … 1: a machine that shrank may
// have less than nothing free of what the claim wants none of.
func filled(capacity, free, want int64) float64 {
	if capacity <= 0 {
		return 0
	}
	return min(1, 1-part(free-want, capacity))
}

func part(n, of int64) float64 { return float64(n) / float64(of) }
