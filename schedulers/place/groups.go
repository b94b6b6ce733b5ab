package place

import (
	"slices"

	"github.com/omegacell/omegacell/cellstate"
)

// group is the candidates that the job's spreads treat alike, so that counting one more task moves their scores together.
type group struct {
	values  []*value // one for each spread that is not local
	members []entry  // a heap, best first
	penalty float64  // what the spreads take from the score of all
	shut    bool     // a MaxSkew lets it have no further task now
	at      int      // in the heap of groups

	firstValue [1]*value // where most groups have all their values,
	firstEntry [1]entry  // and their members
}

// group finds the group of each, a new one if need be; none where a spread with a MaxSkew finds no value on the machine.
func (p *plan) group(probed []candidate) {
	if !p.spread.grouped {
		for i := range probed {
			probed[i].group = p.pool.groups[0]
		}
		return
	}
	var names [lookahead]string
	var has [lookahead]bool
	var values [lookahead][]*value
	var buf [2 * lookahead]*value
	for i := range probed {
		values[i] = buf[2*i : 2*i : 2*i+2]
	}
	for _, s := range p.spread.list {
		if s.local {
			continue
		}
		for i := range probed {
			names[i], has[i] = attribute(probed[i].view, s.attribute)
		}
		for i := range probed {
			values[i] = append(values[i], s.named(names[i], has[i]))
		}
	}
	for i := range probed {
		probed[i].group = p.groupOf(values[i])
	}
}

// groupOf returns the group with these values, or nil where one is nil.
func (p *plan) groupOf(values []*value) *group {
	if slices.Contains(values, nil) {
		return nil
	}
	for _, g := range values[0].groups {
		if slices.Equal(g.values, values) {
			return g
		}
	}
	g := p.pool.add(values)
	for _, v := range values {
		v.groups = append(v.groups, g)
	}
	p.judge(g)
	return g
}

// regroup ranks the groups anew after a task was counted on a machine.
func (p *plan) regroup(m *cellstate.MachineView) {
	if !p.spread.grouped {
		return
	}
	if p.spread.hard && p.spread.rose(p) {
		for _, g := range p.pool.all {
			p.judge(g)
		}
	}
	for _, s := range p.spread.list {
		if s.local {
			continue
		}
		if v := s.on(m); v != nil {
			for _, g := range v.groups {
				p.judge(g)
			}
		}
	}
}

// judge works out what the spreads take from the score of all of the group, and whether they let it have one more task.
func (p *plan) judge(g *group) {
	penalty, shut, i := 0.0, false, 0
	for _, s := range p.spread.list {
		if s.local {
			continue
		}
		v := g.values[i]
		penalty += s.weight * float64(v.tasks)
		shut = shut || s.maxSkew > 0 && !s.takes(p, v)
		i++
	}
	p.pool.rejudge(g, penalty, shut)
}

// count counts one more task on a machine.
func (p *plan) count(m *cellstate.MachineView) {
	if len(p.spread.list) == 0 {
		return
	}
	p.spread.add(m)
	p.regroup(m)
}
