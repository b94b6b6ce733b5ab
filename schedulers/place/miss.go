package place

import (
	"fmt"
	"slices"

	"github.com/omegacell/omegacell/cellstate"
)

// miss is a machine that lacks nothing but amounts.
type miss struct {
	ledger *cellstate.Ledger
	able   bool    // the lack is of free room, not of capacity
	worst  float64 // largest lack, as a share of what is wanted
	dims   uint64  // a bit for each dimension that lacks; one for all extended resources past the 58th
	short  cellstate.Shortage
}

// less orders misses, the smallest lack first.
func (m *miss) less(o *miss) bool {
	return m.worst < o.worst || m.worst == o.worst && m.ledger.Machine < o.ledger.Machine
}

// amount is one dimension of what a task wants and what there is.
type amount struct {
	name       string
	unit       func(int64) string
	want, have int64
	note       string // what kind of amount, where the name is not enough: "on one device"
}

// miss measures all that a machine lacks, where the fit rule names only the first amount.
func (p *plan) miss(l *cellstate.Ledger, able bool, short cellstate.Shortage) miss {
	m := miss{ledger: l, able: able, short: short}
	if short.Reason == cellstate.ReasonGPUDevice {
		m.measure(cellstate.GPU, short.Want, short.Free)
		return m
	}
	want, free := &p.claim.Resources, l.Free(p.claim.Start, p.until())
	m.measure(cellstate.CPU, want.CPUMilli, free.CPUMilli)
	m.measure(cellstate.Memory, want.MemBytes, free.MemBytes)
	m.measure(cellstate.Disk, want.DiskBytes, free.DiskBytes)
	m.measure(cellstate.Network, want.NetBitsPerSecond, free.NetBitsPerSecond)
	m.measure(cellstate.GPU, want.GPUMilli, free.GPUMilli)
	for i, e := range want.Extended {
		m.measure(cellstate.ExtendedResource+cellstate.Dimension(min(i, 57)), e.Amount, free.Amount(e.Name))
	}
	return m
}

func (m *miss) measure(d cellstate.Dimension, want, have int64) {
	if want != 0 && want > have {
		m.worst = max(m.worst, part(want-have, want))
		m.dims |= 1 << (d & 63)
	}
}

// lacks says what measure measured.
func (p *plan) lacks(m *miss) []amount {
	if m.short.Reason == cellstate.ReasonGPUDevice {
		note := " on one device"
		if p.claim.Resources.GPUMilli >= cellstate.GPUDevice {
			note = " in whole devices"
		}
		return []amount{{name: cellstate.GPU.String(), unit: milli, want: m.short.Want, have: m.short.Free, note: note}}
	}
	free := m.ledger.Free(p.claim.Start, p.until())
	return slices.DeleteFunc(amounts(&p.claim.Resources, &free), func(a amount) bool { return a.want <= a.have })
}

// amounts lists what is wanted of each dimension, and what there is of it.
func amounts(want, have *cellstate.Resources) []amount {
	all := []amount{
		{cellstate.CPU.String(), milli, want.CPUMilli, have.CPUMilli, ""},
		{cellstate.Memory.String(), cellstate.Bytes, want.MemBytes, have.MemBytes, ""},
		{cellstate.Disk.String(), cellstate.Bytes, want.DiskBytes, have.DiskBytes, ""},
		{cellstate.Network.String(), rate, want.NetBitsPerSecond, have.NetBitsPerSecond, ""},
		{cellstate.GPU.String(), milli, want.GPUMilli, have.GPUMilli, ""},
	}
	for _, e := range want.Extended {
		all = append(all, amount{e.Name, plain, e.Amount, have.Amount(e.Name), ""})
	}
	return slices.DeleteFunc(all, func(a amount) bool { return a.want == 0 })
}

func milli(n int64) string { return fmt.Sprintf("%dm", n) }
func rate(n int64) string  { return fmt.Sprintf("%dbit", n) }
func plain(n int64) string { return fmt.Sprint(n) }

// lack gives "memory 512Mi of 2Gi".
func (a amount) lack() string {
	return a.name + " " + a.unit(a.want-a.have) + " of " + a.unit(a.want) + a.note
}
