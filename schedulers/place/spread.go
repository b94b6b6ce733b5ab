package place

import "github.com/omegacell/omegacell/cellstate"

// spreads counts the job's tasks by the values of the attributes that it wants to be even over.
type spreads struct {
	list    []*spread
	hard    bool // one of them has a MaxSkew
	grouped bool // one of them is not local
}

// spread is one of them. A machine without the attribute has the value "" in a preference, and is excluded by a MaxSkew.
type spread struct {
	attribute string
	weight    float64
	maxSkew   int  // 0: a preference only
	local     bool // the value is the machine's own, and nothing is demanded: placing on one machine moves no other's score
	values    map[string]*value
	spare     []value // made ahead, to be handed out

	// For the emptiest value: machines are looked at for further values only while none without a task is known.
	next    int // slots below it have been looked at
	empty   *value
	offered []*value
	floor   int // the tasks of the emptiest, once all slots were looked at
	low     int // how many values have so few; 0 where that is not known
	told    int // what least last returned to rose
}

// value is one value of an attribute.
type value struct {
	tasks   int      // of the job: placed before, and by this request
	offered bool     // a machine has it that is not excluded by any rule about itself
	groups  []*group // of the pool, that have it
	first   [1]*group
}

// countSpreads counts what the job has placed already: its live claims that stay, except those of the tasks asked for, which
// the new claims replace.
func countSpreads(p *plan) *spreads {
	job := p.req.Job
	s := new(spreads)
	if len(job.Spread) == 0 {
		return s
	}
	for _, want := range job.Spread {
		w := want.Weight
		if w == 0 {
			w = 50
		}
		sp := &spread{
			attribute: want.Attribute, local: want.Attribute == nameAttribute && want.MaxSkew == 0, weight: float64(w), maxSkew: int(want.MaxSkew),
			values: make(map[string]*value, min(2*len(p.req.Tasks), 1000)),
		}
		s.hard = s.hard || want.MaxSkew > 0
		s.grouped = s.grouped || !sp.local
		s.list = append(s.list, sp)
	}
	s.recall(p.snap, job, p.req.Tasks)
	return s
}

// recall counts what was placed before.
func (s *spreads) recall(snap cellstate.Snapshot, job *cellstate.Job, asked []Slot) {
	var replaced map[uint32]bool
	for c := range snap.Claims(job.Scheduler, job.Name) {
		if c.Claim.ID.Run != job.Run || c.Claim.Ended || c.Claim.Evict != nil {
			continue
		}
		if replaced == nil {
			replaced = make(map[uint32]bool, len(asked))
			for _, t := range asked {
				replaced[t.Task] = true
			}
		}
		if !replaced[c.Claim.ID.Task] {
			s.add(c.Machine)
		}
	}
}

// add counts one more task on a machine.
func (s *spreads) add(m *cellstate.MachineView) {
	for _, sp := range s.list {
		v := sp.on(m)
		if v == nil {
			continue
		}
		if v.offered && v.tasks == sp.floor && sp.low > 0 {
			sp.low--
		}
		v.tasks++
	}
}

// rose reports whether the emptiest value of any spread with a MaxSkew has more tasks than when it was last asked.
func (s *spreads) rose(p *plan) bool {
	rose := false
	for _, sp := range s.list {
		if sp.maxSkew > 0 {
			n := sp.least(p)
			rose = rose || n != sp.told
			sp.told = n
		}
	}
	return rose
}

// excludes returns the index of the first spread whose MaxSkew one more task on the machine would exceed, or none.
func (s *spreads) excludes(p *plan, m *cellstate.MachineView) int {
	if s.hard {
		for i, sp := range s.list {
			if sp.maxSkew > 0 && !sp.takes(p, sp.on(m)) {
				return i
			}
		}
	}
	return none
}

// rule names the spread as an Explanation does.
func (s *spread) rule() string { return "spread " + s.attribute }

// on returns the machine's value, or nil where it has none and one is demanded.
func (s *spread) on(m *cellstate.MachineView) *value {
	name, ok := attribute(m, s.attribute)
	return s.named(name, ok)
}

// named is on for a machine whose attribute, if it has it, is known.
func (s *spread) named(name string, ok bool) *value {
	if !ok && s.maxSkew > 0 {
		return nil
	}
	v := s.values[name]
	if v == nil {
		if len(s.spare) == 0 {
			s.spare = make([]value, min(max(16, len(s.values)), 64))
		}
		v = &s.spare[0]
		s.spare = s.spare[1:]
		v.groups = v.first[:0]
		s.values[name] = v
	}
	return v
}

// tasksOn returns how many tasks the machine's value has in a spread without a MaxSkew.
func (s *spread) tasksOn(m *cellstate.MachineView) int {
	if len(s.values) == 0 {
		return 0
	}
	name, _ := attribute(m, s.attribute)
	if v := s.values[name]; v != nil {
		return v.tasks
	}
	return 0
}

// takes reports whether a value may have one more task: then it has at most MaxSkew more than the emptiest.
func (s *spread) takes(p *plan, v *value) bool {
	return v != nil && v.tasks+1-s.least(p) <= s.maxSkew
}

// least returns the number of tasks of the emptiest value that any machine offers which the rules about machines admit.
// Counts only grow during a request, so a value once seen with a task is never empty again.
func (s *spread) least(p *plan) int {
	if s.empty != nil && s.empty.tasks == 0 {
		return 0
	}
	for s.next < p.snap.Len() {
		m := p.snap.At(s.next)
		s.next++
		if m == nil {
			continue
		}
		v := s.on(m)
		if v == nil || v.offered || !p.rules.admit(m) {
			continue
		}
		v.offered = true
		s.offered = append(s.offered, v)
		if v.tasks == 0 {
			s.empty = v
			return 0
		}
	}
	if s.low == 0 {
		s.recount()
	}
	return s.floor
}

// recount looks at every value for the emptiest.
func (s *spread) recount() {
	s.floor, s.low = 0, 0
	for _, v := range s.offered {
		switch {
		case s.low == 0 || v.tasks < s.floor:
			s.floor, s.low = v.tasks, 1
		case v.tasks == s.floor:
			s.low++
		}
	}
}
