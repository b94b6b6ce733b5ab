package cellstate

import "fmt"

// Reason says why a claim, or another part of a transaction, was refused.
type Reason uint8

const (
	ReasonFull          Reason = iota + 1 // the machine lacks a resource at some instant; the Shortage says which and how much
	ReasonGPUDevice                       // enough GPU in sum, but not on one device (a share) or not enough whole devices
	ReasonCordoned                        // the machine takes no further claims
	ReasonTooManyClaims                   // the machine holds as many claims as the limit allows
	ReasonChanged                         // rule seq: the machine changed since the snapshot
	ReasonNoMachine                       // there is no such machine
	ReasonNoClaim                         // the claim to evict or move is not there or has ended
	ReasonPrecedence                      // the claim to evict does not yield to the one that wants its room
	ReasonDuplicate                       // another claim of this ID, asking for something else, is there already
	ReasonAbandoned                       // another part of the same gang, eviction or move was refused
	ReasonContended                       // lost the race more often than the bound allows; nothing says it would not fit
	ReasonFenced                          // the scheduler is no longer the leader that made the plan
)

// Reasons lists all reasons.
func Reasons() []Reason {
	var all []Reason
	for r := ReasonFull; r <= ReasonFenced; r++ {
		all = append(all, r)
	}
	return all
}

func (r Reason) String() string {
	switch r {
	case ReasonFull:
		return "full"
	case ReasonGPUDevice:
		return "gpu-device"
	case ReasonCordoned:
		return "cordoned"
	case ReasonTooManyClaims:
		return "too-many-claims"
	case ReasonChanged:
		return "changed"
	case ReasonNoMachine:
		return "no-machine"
	case ReasonNoClaim:
		return "no-claim"
	case ReasonPrecedence:
		return "precedence"
	case ReasonDuplicate:
		return "duplicate"
	case ReasonAbandoned:
		return "abandoned"
	case ReasonContended:
		return "contended"
	case ReasonFenced:
		return "fenced"
	}
	return fmt.Sprintf("Reason(%d)", uint8(r))
}

// Shortage says what a claim lacks on a machine. The zero Shortage means that it fits.
type Shortage struct {
	Reason    Reason
	Dimension Dimension // of ReasonFull: the first dimension that lacks
	Name      string    // of the extended resource
	Want      int64     // in the dimension's unit
	Free      int64     // the least there is at any instant of the claim's interval
}

func (s Shortage) String() string {
	switch s.Reason {
	case 0:
		return "fits"
	case ReasonFull:
		return fmt.Sprintf("full: %s wants %d, free %d", s.resource(), s.Want, s.Free)
	case ReasonGPUDevice:
		return fmt.Sprintf("gpu-device: wants %dm, most on one device or in whole devices %dm", s.Want, s.Free)
	}
	return s.Reason.String()
}

// resource names what lacks.
func (s Shortage) resource() string {
	if s.Name != "" {
		return s.Name
	}
	return s.Dimension.String()
}

// Fit reports what c lacks to be claimed on l, or the zero Shortage if it fits: the machine takes claims, and at no instant
// of [c.Start, c.End) would the live claims together exceed the capacity in a dimension, or on a GPU device, of which c wants
// some. (A dimension can be over-full already where the machine's capacity shrank; that is no matter to others.)
//
// It is the repository's only fit rule; planners and Commit both call it. It reads nothing but its arguments. Where neither c
// nor any claim of the machine has GPUs or extended resources, and none begins after c does, it takes one pass over the
// claims at most and allocates nothing.
func (l *Ledger) Fit(c *Claim, lim Limits) Shortage {
	if l.Cordoned || l.Drain != nil {
		return Shortage{Reason: ReasonCordoned}
	}
	if len(l.Claims) >= lim.WithDefaults().ClaimsPerMachine {
		return Shortage{Reason: ReasonTooManyClaims, Want: 1}
	}
	return l.room(c)
}

// room is the part of Fit about amounts alone.
func (l *Ledger) room(c *Claim) Shortage {
	if !c.Resources.fitsBeside(&l.used, &l.Capacity) {
		free := l.Free(c.Start, c.until())
		if !c.Resources.Fits(&free) {
			return firstShortage(&c.Resources, &free)
		}
	}
	if c.Resources.GPUMilli > 0 {
		return l.gpuRoom(c)
	}
	return Shortage{}
}

func firstShortage(want, free *Resources) Shortage {
	for _, f := range [...]struct {
		d          Dimension
		want, free int64
	}{
		{CPU, want.CPUMilli, free.CPUMilli}, {Memory, want.MemBytes, free.MemBytes}, {Disk, want.DiskBytes, free.DiskBytes},
		{Network, want.NetBitsPerSecond, free.NetBitsPerSecond}, {GPU, want.GPUMilli, free.GPUMilli},
	} {
		if !fits(f.want, f.free) {
			return Shortage{Reason: ReasonFull, Dimension: f.d, Want: f.want, Free: f.free}
		}
	}
	for _, e := range want.Extended {
		if have := free.Amount(e.Name); !fits(e.Amount, have) {
			return Shortage{Reason: ReasonFull, Dimension: ExtendedResource, Name: e.Name, Want: e.Amount, Free: have}
		}
	}
	return Shortage{}
}

// gpuRoom reports what c lacks on the physical devices: those it names, or any if it names none.
func (l *Ledger) gpuRoom(c *Claim) Shortage {
	if len(c.GPUs) == 0 {
		_, s := l.AssignGPUs(c)
		return s
	}
	var buf [16]int64
	free := l.gpuFree(buf[:0], c.Start, c.until())
	for _, g := range c.GPUs {
		if int(g.Device) >= len(free) {
			return Shortage{Reason: ReasonGPUDevice, Want: int64(g.Milli)}
		}
		if int64(g.Milli) > free[g.Device] {
			return Shortage{Reason: ReasonGPUDevice, Want: int64(g.Milli), Free: free[g.Device]}
		}
	}
	return Shortage{}
}

// AssignGPUs chooses devices for the GPU amount of c: a share goes to the device with the least room that holds it, so that
// whole devices stay whole; whole devices are the first ones free throughout. Ties go to the lowest index. The result
// depends on nothing but l and c.
func (l *Ledger) AssignGPUs(c *Claim) ([]GPUShare, Shortage) {
	want := c.Resources.GPUMilli
	var buf [16]int64
	free := l.gpuFree(buf[:0], c.Start, c.until())
	if want < GPUDevice {
		best := -1
		var most int64
		for d, f := range free {
			most = max(most, f)
			if f >= want && (best < 0 || f < free[best]) {
				best = d
			}
		}
		if best < 0 {
			return nil, Shortage{Reason: ReasonGPUDevice, Want: want, Free: most}
		}
		return []GPUShare{{Device: uint16(best), Milli: uint16(want)}}, Shortage{}
	}
	var got []GPUShare
	for d, f := range free {
		if f == GPUDevice && int64(len(got)) < want/GPUDevice {
			got = append(got, GPUShare{Device: uint16(d), Milli: GPUDevice})
		}
	}
	if have := int64(len(got)) * GPUDevice; have < want {
		return nil, Shortage{Reason: ReasonGPUDevice, Want: want, Free: have}
	}
	return got, Shortage{}
}

// Overcommitted reports the first shortage of the claims together, at any instant from `from` on, or the zero Shortage.
// It is what the auditor asks of every committed ledger (I1).
func (l *Ledger) Overcommitted(from Instant) Shortage {
	peak := l.peak(from, Forever)
	if s := firstShortage(&peak, &l.Capacity); s != (Shortage{}) {
		return s
	}
	for _, f := range l.GPUFree(from, Forever) {
		if f < 0 {
			return Shortage{Reason: ReasonGPUDevice, Want: GPUDevice - f, Free: GPUDevice}
		}
	}
	return Shortage{}
}
