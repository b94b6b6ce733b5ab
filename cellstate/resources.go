package cellstate

import (
	"fmt"
	"slices"
	"strings"
)

// Resources is an amount of each resource. Integers, so that claiming and releasing is exact in any order: float sums
// drift, and then two honest schedulers disagree about the last core. The common resources are fields, so that comparing
// them costs no map look-up; what only some cells have is in Extended.
type Resources struct {
	CPUMilli         int64      // thousandths of one core
	MemBytes         int64      //
	DiskBytes        int64      //
	NetBitsPerSecond int64      //
	GPUMilli         int64      // thousandths of one device: below 1000 a share of one device, else whole devices
	Extended         []Extended // sorted by name, every amount above zero; nil for most
}

// Extended is an amount of a resource that the cell's operator named, such as "licences/abaqus".
type Extended struct {
	Name   string
	Amount int64
}

// Dimension names one resource of the vector.
type Dimension uint8

const (
	CPU Dimension = iota + 1
	Memory
	Disk
	Network
	GPU
	ExtendedResource
)

func (d Dimension) String() string {
	switch d {
	case CPU:
		return "cpu"
	case Memory:
		return "memory"
	case Disk:
		return "disk"
	case Network:
		return "network"
	case GPU:
		return "gpu"
	case ExtendedResource:
		return "extended"
	}
	return fmt.Sprintf("Dimension(%d)", uint8(d))
}

// Fits reports whether r can be claimed from free. Equality fits, and so does wanting none of a resource of which less than
// nothing is free: one that is over-full refuses only who wants some of it. See [Ledger.Fit] for the whole rule, over time.
func (r *Resources) Fits(free *Resources) bool {
	return fits(r.CPUMilli, free.CPUMilli) && fits(r.MemBytes, free.MemBytes) && fits(r.DiskBytes, free.DiskBytes) &&
		fits(r.NetBitsPerSecond, free.NetBitsPerSecond) && fits(r.GPUMilli, free.GPUMilli) &&
		(len(r.Extended) == 0 || extendedFits(r.Extended, free.Extended))
}

// fitsBeside is Fits where used of the capacity is in use: the same without making the difference.
func (r *Resources) fitsBeside(used, capacity *Resources) bool {
	if len(r.Extended) > 0 {
		free := capacity.combine(used, -1)
		return r.Fits(&free)
	}
	return fits(r.CPUMilli, capacity.CPUMilli-used.CPUMilli) && fits(r.MemBytes, capacity.MemBytes-used.MemBytes) &&
		fits(r.DiskBytes, capacity.DiskBytes-used.DiskBytes) && fits(r.NetBitsPerSecond, capacity.NetBitsPerSecond-used.NetBitsPerSecond) &&
		fits(r.GPUMilli, capacity.GPUMilli-used.GPUMilli)
}

// fits is the rule for one amount.
func fits(want, free int64) bool { return want <= free || want == 0 }

func extendedFits(want, free []Extended) bool {
	for _, w := range want {
		if !fits(w.Amount, amountOf(free, w.Name)) {
			return false
		}
	}
	return true
}

func amountOf(list []Extended, name string) int64 {
	for _, e := range list {
		if e.Name == name {
			return e.Amount
		}
	}
	return 0
}

// Amount returns the amount of an extended resource.
func (r *Resources) Amount(name string) int64 { return amountOf(r.Extended, name) }

// Add returns r+o.
func (r Resources) Add(o Resources) Resources {
	return r.combine(&o, 1)
}

// Sub returns r−o. Amounts may become negative: an over-committed machine has less than nothing free.
func (r Resources) Sub(o Resources) Resources {
	return r.combine(&o, -1)
}

// Times returns n×r.
func (r Resources) Times(n int64) Resources {
	out := Resources{
		CPUMilli: n * r.CPUMilli, MemBytes: n * r.MemBytes, DiskBytes: n * r.DiskBytes,
		NetBitsPerSecond: n * r.NetBitsPerSecond, GPUMilli: n * r.GPUMilli,
	}
	for _, e := range r.Extended {
		if n*e.Amount != 0 {
			out.Extended = append(out.Extended, Extended{e.Name, n * e.Amount})
		}
	}
	return out
}

func (r Resources) combine(o *Resources, sign int64) Resources {
	r.shift(o, sign)
	if len(o.Extended) > 0 {
		r.Extended = combineExtended(r.Extended, o.Extended, sign)
	}
	return r
}

// shift adds sign×o to the common amounts of r.
func (r *Resources) shift(o *Resources, sign int64) {
	r.CPUMilli += sign * o.CPUMilli
	r.MemBytes += sign * o.MemBytes
	r.DiskBytes += sign * o.DiskBytes
	r.NetBitsPerSecond += sign * o.NetBitsPerSecond
	r.GPUMilli += sign * o.GPUMilli
}

// accumulate adds sign×o to r in place, so that a long sum does not allocate at every step. No other vector may share r's
// Extended. An amount that comes down to zero stays listed.
func (r *Resources) accumulate(o *Resources, sign int64) {
	r.shift(o, sign)
	for _, e := range o.Extended {
		i, found := slices.BinarySearchFunc(r.Extended, e.Name, byName)
		if !found {
			r.Extended = slices.Insert(r.Extended, i, Extended{Name: e.Name})
		}
		r.Extended[i].Amount += sign * e.Amount
	}
}

func byName(e Extended, name string) int { return strings.Compare(e.Name, name) }

func combineExtended(a, b []Extended, sign int64) []Extended {
	out := slices.Clone(a)
	for _, e := range b {
		i, found := slices.BinarySearchFunc(out, e.Name, byName)
		if found {
			out[i].Amount += sign * e.Amount
		} else {
			out = slices.Insert(out, i, Extended{e.Name, sign * e.Amount})
		}
	}
	return slices.DeleteFunc(out, func(e Extended) bool { return e.Amount == 0 })
}

// maxWith raises each amount of r to that of o.
func (r *Resources) maxWith(o *Resources) {
	r.CPUMilli = max(r.CPUMilli, o.CPUMilli)
	r.MemBytes = max(r.MemBytes, o.MemBytes)
	r.DiskBytes = max(r.DiskBytes, o.DiskBytes)
	r.NetBitsPerSecond = max(r.NetBitsPerSecond, o.NetBitsPerSecond)
	r.GPUMilli = max(r.GPUMilli, o.GPUMilli)
	for _, e := range o.Extended {
		if have := amountOf(r.Extended, e.Name); e.Amount > have {
			r.Extended = combineExtended(r.Extended, []Extended{{e.Name, e.Amount - have}}, 1)
		}
	}
}

// Equal reports whether r and o are the same amounts.
func (r Resources) Equal(o Resources) bool {
	return r.CPUMilli == o.CPUMilli && r.MemBytes == o.MemBytes && r.DiskBytes == o.DiskBytes &&
		r.NetBitsPerSecond == o.NetBitsPerSecond && r.GPUMilli == o.GPUMilli && slices.Equal(r.Extended, o.Extended)
}

// IsZero reports whether r is nothing at all.
func (r Resources) IsZero() bool { return r.Equal(Resources{}) }

// MaxAmount bounds every single amount, so that sums over a cell of a million machines cannot overflow an int64.
const MaxAmount = int64(1) << 43

// Check returns an error that names the first amount that no machine or claim may have: below zero, above MaxAmount, a GPU
// amount that is neither a share of one device nor whole devices, or extended resources unsorted, doubled or zero.
func (r *Resources) Check() error {
	for _, f := range []struct {
		d Dimension
		n int64
	}{{CPU, r.CPUMilli}, {Memory, r.MemBytes}, {Disk, r.DiskBytes}, {Network, r.NetBitsPerSecond}, {GPU, r.GPUMilli}} {
		if f.n < 0 || f.n > MaxAmount {
			return fmt.Errorf("%s %d is outside 0..%d: %w", f.d, f.n, MaxAmount, ErrInvalid)
		}
	}
	if r.GPUMilli > GPUDevice && r.GPUMilli%GPUDevice != 0 {
		return fmt.Errorf("gpu %dm is neither a share of one device (up to 1000m) nor whole devices: %w", r.GPUMilli, ErrInvalid)
	}
	for i, e := range r.Extended {
		if e.Name == "" || e.Amount <= 0 || e.Amount > MaxAmount {
			return fmt.Errorf("extended resource %q amount %d is outside 1..%d: %w", e.Name, e.Amount, MaxAmount, ErrInvalid)
		}
		if i > 0 && r.Extended[i-1].Name >= e.Name {
			return fmt.Errorf("extended resource %q is doubled or out of order: %w", e.Name, ErrInvalid)
		}
	}
	return nil
}

// String gives the amounts that are not zero, with units, such as "cpu=500m memory=64Mi".
func (r Resources) String() string {
	var b []string
	if r.CPUMilli != 0 {
		b = append(b, fmt.Sprintf("cpu=%dm", r.CPUMilli))
	}
	if r.MemBytes != 0 {
		b = append(b, "memory="+Bytes(r.MemBytes))
	}
	if r.DiskBytes != 0 {
		b = append(b, "disk="+Bytes(r.DiskBytes))
	}
	if r.NetBitsPerSecond != 0 {
		b = append(b, "network="+Bits(r.NetBitsPerSecond))
	}
	if r.GPUMilli != 0 {
		b = append(b, fmt.Sprintf("gpu=%dm", r.GPUMilli))
	}
	for _, e := range r.Extended {
		b = append(b, fmt.Sprintf("%s=%d", e.Name, e.Amount))
	}
	if len(b) == 0 {
		return "nothing"
	}
	return strings.Join(b, " ")
}

// Bytes formats n bytes in the largest binary unit that divides it exactly.
func Bytes(n int64) string {
	for _, u := range []struct {
		shift uint
		name  string
	}{{40, "Ti"}, {30, "Gi"}, {20, "Mi"}, {10, "Ki"}} {
		if n != 0 && n%(1<<u.shift) == 0 {
			return fmt.Sprintf("%d%s", n>>u.shift, u.name)
		}
	}
	return fmt.Sprintf("%d", n)
}

// Bits formats n bits per second in the largest decimal unit that divides it exactly.
func Bits(n int64) string {
	for _, u := range []struct {
		n    int64
		name string
	}{{1e12, "Tbit"}, {1e9, "Gbit"}, {1e6, "Mbit"}, {1e3, "Kbit"}} {
		if n != 0 && n%u.n == 0 {
			return fmt.Sprintf("%d%s", n/u.n, u.name)
		}
	}
	return fmt.Sprintf("%dbit", n)
}

// amount formats n with the dimension's unit.
func (d Dimension) amount(n int64) string {
	switch d {
	case CPU, GPU:
		return fmt.Sprintf("%dm", n)
	case Memory, Disk:
		return Bytes(n)
	case Network:
		return Bits(n)
	}
	return fmt.Sprintf("%d", n)
}
