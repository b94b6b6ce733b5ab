package place

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/omegacell/omegacell/cellstate"
)

// nearMisses bounds how many machines an explanation names.
const nearMisses = 5

// survey is a look at every machine of the cell, after what this request placed, for the next task of the request.
type survey struct {
	looked, eligible uint32
	rules            []cellstate.RuleCount // in the order of the rules
	satisfying       []*cellstate.MachineView
	admitted         []*cellstate.Ledger // of the machines that no rule about themselves excludes
	able             int                 // of these, those whose whole capacity would hold the task
	misses           []miss              // smallest lack first
	crowded, skewed  int                 // admitted machines excluded by the claims limit or by a MaxSkew
}

// miss is a machine that lacks nothing but amounts.
type miss struct {
	machine string
	able    bool // the lack is of free room, not of capacity
	lacks   []amount
	worst   float64 // largest lack, as a share of what is wanted
}

// amount is one dimension of what a task wants and what there is.
type amount struct {
	name       string
	unit       func(int64) string
	want, have int64
	note       string // what kind of amount, where the name is not enough: "on one device"
}

// explain says why tasks are unplaced, where `found` of the request's tasks had a place.
func (p *plan) explain(found, unplaced int) *cellstate.Explanation {
	s := p.survey()
	e := &cellstate.Explanation{
		At: p.req.Start, Rev: p.snap.Rev(), Unplaced: uint32(unplaced),
		Looked: s.looked, Eligible: s.eligible, Rules: s.rules, Unblock: p.unblock(&s, found),
	}
	for _, m := range s.misses[:min(nearMisses, len(s.misses))] {
		e.NearMisses = append(e.NearMisses, cellstate.NearMiss{Machine: m.machine, Lacks: join(m.lacks, amount.lack)})
	}
	return e
}

func (p *plan) survey() survey {
	var s survey
	counts := make(map[string]uint32)
	for slot := range p.snap.Len() {
		m := p.snap.At(slot)
		if m == nil {
			continue
		}
		s.looked++
		if p.satisfiesAll(m) {
			s.satisfying = append(s.satisfying, m)
		}
		if rule := p.look(&s, slot, m); rule != "" {
			counts[rule]++
		} else {
			s.eligible++
		}
	}
	for _, rule := range p.allRules() {
		if n := counts[rule]; n > 0 {
			s.rules = append(s.rules, cellstate.RuleCount{Rule: rule, Count: n})
			delete(counts, rule)
		}
	}
	slices.SortFunc(s.misses, func(a, b miss) int {
		return cmp.Or(cmp.Compare(a.worst, b.worst), cmp.Compare(a.machine, b.machine))
	})
	return s
}

// look adds one machine to the survey and returns the first rule that excludes it, or "".
func (p *plan) look(s *survey, slot int, m *cellstate.MachineView) string {
	if rule := p.rules.excludes(m); rule != "" {
		return rule
	}
	l := p.ledger(slot, m)
	s.admitted = append(s.admitted, l)
	able := p.claim.Resources.Fits(&l.Capacity)
	if able {
		s.able++
	}
	skew := p.spread.excludes(p, m)
	short := p.fit(l)
	switch short.Reason {
	case 0:
		if skew != "" {
			s.skewed++
		}
		return skew
	case cellstate.ReasonFull, cellstate.ReasonGPUDevice:
		if skew == "" {
			s.misses = append(s.misses, p.miss(l, able, short))
		}
	case cellstate.ReasonTooManyClaims:
		s.crowded++
	}
	return shortageRule(short)
}

// allRules lists the rules in the order in which they are asked, each once.
func (p *plan) allRules() []string {
	all := []string{ruleNoSession, ruleCordoned}
	for i := range p.rules.constraints {
		all = append(all, p.rules.constraints[i].rule)
	}
	all = append(all, ruleAvoided, shortageRule(cellstate.Shortage{Reason: cellstate.ReasonTooManyClaims}))
	for d := cellstate.CPU; d <= cellstate.GPU; d++ {
		all = append(all, shortageRule(cellstate.Shortage{Reason: cellstate.ReasonFull, Dimension: d}))
	}
	for _, e := range p.claim.Resources.Extended {
		all = append(all, shortageRule(cellstate.Shortage{Reason: cellstate.ReasonFull, Dimension: cellstate.ExtendedResource, Name: e.Name}))
	}
	all = append(all, shortageRule(cellstate.Shortage{Reason: cellstate.ReasonGPUDevice}))
	for _, s := range p.spread.list {
		all = append(all, s.rule)
	}
	return all
}

func (p *plan) satisfiesAll(m *cellstate.MachineView) bool {
	for i := range p.rules.constraints {
		if !p.rules.constraints[i].satisfied(m) {
			return false
		}
	}
	return true
}

// miss says all that a machine lacks, where the fit rule names only the first amount.
func (p *plan) miss(l *cellstate.Ledger, able bool, short cellstate.Shortage) miss {
	m := miss{machine: l.Machine, able: able}
	if short.Reason == cellstate.ReasonGPUDevice {
		note := " on one device"
		if p.claim.Resources.GPUMilli >= cellstate.GPUDevice {
			note = " in whole devices"
		}
		m.lacks = []amount{{name: cellstate.GPU.String(), unit: milli, want: short.Want, have: short.Free, note: note}}
	} else {
		free := l.Free(p.claim.Start, p.until())
		m.lacks = slices.DeleteFunc(amounts(&p.claim.Resources, &free), func(a amount) bool { return a.want <= a.have })
	}
	for _, a := range m.lacks {
		m.worst = max(m.worst, part(a.want-a.have, a.want))
	}
	return m
}

// amounts lists what is wanted of each dimension, and what there is of it.
func amounts(want, have *cellstate.Resources) []amount {
	all := []amount{
		{cellstate.CPU.String(), milli, want.CPUMilli, have.CPUMilli, ""},
		{cellstate.Memory.String(), cellstate.Bytes, want.MemBytes, have.MemBytes, ""},
		{cellstate.Disk.String(), cellstate.Bytes, want.DiskBytes, have.DiskBytes, ""},
		{cellstate.Network.String(), bits, want.NetBitsPerSecond, have.NetBitsPerSecond, ""},
		{cellstate.GPU.String(), milli, want.GPUMilli, have.GPUMilli, ""},
	}
	for _, e := range want.Extended {
		all = append(all, amount{e.Name, plain, e.Amount, have.Amount(e.Name), ""})
	}
	return slices.DeleteFunc(all, func(a amount) bool { return a.want == 0 })
}

func milli(n int64) string { return fmt.Sprintf("%dm", n) }
func bits(n int64) string  { return fmt.Sprintf("%dbit", n) }
func plain(n int64) string { return fmt.Sprint(n) }

// lack gives "memory 512Mi of 2Gi".
func (a amount) lack() string {
	return a.name + " " + a.unit(a.want-a.have) + " of " + a.unit(a.want) + a.note
}
