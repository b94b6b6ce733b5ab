package place

import "github.com/omegacell/omegacell/cellstate"

// spreads counts the job's tasks by the values of the attributes that it wants to be even over.
type spreads struct {
	list []*spread
	hard bool // one of them has a MaxSkew
}

// spread is one of them. A machine without the attribute has the value "" in a preference, and is excluded by a MaxSkew.
type spread struct {
	rule      string
	attribute string
	weight    float64
	maxSkew   int // 0: a preference only
	values    map[string]*value

	// For the emptiest value: machines are looked at for further values only while none without a task is known.
	next    int // slots below it have been looked at
	empty   *value
	offered []*value
	floor   int  // what least returned
	fresh   bool // and nothing was counted since
}

// value is one value of an attribute.
type value struct {
	tasks   int      // of the job: placed before, and by this request
	offered bool     // a machine has it that is not excluded by any rule about itself
	groups  []*group // of the pool, where this is the first of their values
}

// countSpreads counts what the job has placed already: its live claims that stay, except those of the tasks asked for, which
// the new claims replace.
func countSpreads(p *plan) spreads {
	job := p.req.Job
	var s spreads
	for _, want := range job.Spread {
		w := want.Weight
		if w == 0 {
			w = 50
		}
		s.hard = s.hard || want.MaxSkew > 0
		s.list = append(s.list, &spread{
			rule: "spread " + want.Attribute, attribute: want.Attribute, weight: float64(w), maxSkew: int(want.MaxSkew),
			values: make(map[string]*value),
		})
	}
	if len(s.list) == 0 {
		return s
	}
	replaced := make(map[uint32]bool, len(p.req.Tasks))
	for _, t := range p.req.Tasks {
		replaced[t.Task] = true
	}
	for c := range p.snap.Claims(job.Scheduler, job.Name) {
		if c.Claim.ID.Run == job.Run && !c.Claim.Ended && c.Claim.Evict == nil && !replaced[c.Claim.ID.Task] {
			s.add(c.Machine)
		}
	}
	return s
}

// add counts one more task on a machine.
func (s *spreads) add(m *cellstate.MachineView) {
	for _, sp := range s.list {
		if v := sp.on(m); v != nil {
			v.tasks++
			sp.fresh = false
		}
	}
}

// excludes returns the first spread whose MaxSkew one more task on the machine would exceed, or "".
func (s *spreads) excludes(p *plan, m *cellstate.MachineView) string {
	if !s.hard {
		return ""
	}
	for _, sp := range s.list {
		if sp.maxSkew > 0 && !sp.takes(p, sp.on(m)) {
			return sp.rule
		}
	}
	return ""
}

// on returns the machine's value, or nil where it has none and one is demanded.
func (s *spread) on(m *cellstate.MachineView) *value {
	name, ok := attribute(m, s.attribute)
	if !ok && s.maxSkew > 0 {
		return nil
	}
	v := s.values[name]
	if v == nil {
		v = &value{}
		s.values[name] = v
	}
	return v
}

// takes reports whether a value may have one more task: then it has at most MaxSkew more than the emptiest.
func (s *spread) takes(p *plan, v *value) bool {
	return v != nil && v.tasks+1-s.least(p) <= s.maxSkew
}

// least returns the number of tasks of the emptiest value that any machine offers which the rules about machines admit.
// Counts only grow during a request, so a value once seen with a task is never empty again.
func (s *spread) least(p *plan) int {
	if !s.fresh {
		s.floor, s.fresh = s.count(p), true
	}
	return s.floor
}

func (s *spread) count(p *plan) int {
	if s.empty != nil && s.empty.tasks == 0 {
		return 0
	}
	for s.next < p.snap.Len() {
		m := p.snap.At(s.next)
		s.next++
		if m == nil || p.rules.excludes(m) != "" {
			continue
		}
		v := s.on(m)
		if v == nil || v.offered {
			continue
		}
		v.offered = true
		s.offered = append(s.offered, v)
		if v.tasks == 0 {
			s.empty = v
			return 0
		}
	}
	if len(s.offered) == 0 {
		return 0
	}
	least := s.offered[0].tasks
	for _, v := range s.offered[1:] {
		least = min(least, v.tasks)
	}
	return least
}
