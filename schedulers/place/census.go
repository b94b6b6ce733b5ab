package place

import (
	"slices"

	"github.com/omegacell/omegacell/cellstate"
)

// census counts machines by the first rule that excludes them. A rule is a number meanwhile: its place in the order in which
// the rules are asked, and in which an explanation lists them.
type census struct {
	counts []uint32
	// Where the rules begin of which the request has several or none, and the ones after them.
	constraints, avoided, shortages, extended, devices, spreads int
}

// The rules that every request has.
const (
	ruleNoSession = iota
	ruleCordoned
	ruleConstraints // the first of them
)

func (p *plan) newCensus() census {
	c := census{constraints: ruleConstraints}
	c.avoided = c.constraints + len(p.rules.constraints)
	c.shortages = c.avoided + 1 // too many claims, and then the dimensions
	c.extended = c.shortages + int(cellstate.GPU) + 1
	c.devices = c.extended + len(p.claim.Resources.Extended)
	c.spreads = c.devices + 1
	c.counts = make([]uint32, c.spreads+len(p.spread.list))
	return c
}

func (c *census) add(rule int) { c.counts[rule]++ }

// shortage returns the rule that a shortage belongs to.
func (c *census) shortage(p *plan, s cellstate.Shortage) int {
	switch {
	case s.Reason == cellstate.ReasonTooManyClaims:
		return c.shortages
	case s.Reason == cellstate.ReasonGPUDevice:
		return c.devices
	case s.Dimension == cellstate.ExtendedResource:
		return c.extended + slices.IndexFunc(p.claim.Resources.Extended, func(e cellstate.Extended) bool { return e.Name == s.Name })
	}
	return c.shortages + int(s.Dimension)
}

// counted lists the rules that exclude any machine, those of one name as one.
func (c *census) counted(p *plan) []cellstate.RuleCount {
	var out []cellstate.RuleCount
	for rule, name := range p.ruleNames() {
		n := c.counts[rule]
		if n == 0 {
			continue
		}
		if i := slices.IndexFunc(out, func(r cellstate.RuleCount) bool { return r.Rule == name }); i >= 0 {
			out[i].Count += n
		} else {
			out = append(out, cellstate.RuleCount{Rule: name, Count: n})
		}
	}
	return out
}

// ruleNames names the rules by number: "full: memory", "gpu-device", "too-many-claims".
func (p *plan) ruleNames() []string {
	all := []string{"no session", "cordoned"}
	for i := range p.rules.constraints {
		all = append(all, p.rules.constraints[i].rule())
	}
	all = append(all, "avoided", cellstate.ReasonTooManyClaims.String())
	for d := cellstate.CPU; d <= cellstate.GPU; d++ {
		all = append(all, "full: "+d.String())
	}
	for _, e := range p.claim.Resources.Extended {
		all = append(all, "full: "+e.Name)
	}
	all = append(all, cellstate.ReasonGPUDevice.String())
	for _, s := range p.spread.list {
		all = append(all, s.rule())
	}
	return all
}
