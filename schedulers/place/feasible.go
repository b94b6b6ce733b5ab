package place

import "github.com/omegacell/omegacell/cellstate"

// rules are those that look at a machine alone, not at what is claimed there.
type rules struct {
	constraints []constraint
	avoid       map[string]bool
}

// constraint is one of the job's, compiled once for the request.
type constraint struct {
	of cellstate.Constraint
	*matcher
	malformed error // then matcher is nil and no machine satisfies it
}

func compileRules(list []cellstate.Constraint, avoid map[string]bool) rules {
	r := rules{avoid: avoid}
	if len(list) > 0 {
		r.constraints = make([]constraint, len(list))
	}
	for i, c := range list {
		m, err := compile(c)
		r.constraints[i] = constraint{of: c, matcher: m, malformed: err}
	}
	return r
}

// satisfied reports whether a machine satisfies the constraint.
func (c *constraint) satisfied(m *cellstate.MachineView) bool {
	return c.malformed == nil && c.holds(m)
}

// rule names the constraint as an Explanation does.
func (c *constraint) rule() string { return "constraint " + c.of.String() }

// unsatisfied returns the index of the first constraint that a machine does not satisfy, or none.
func (r *rules) unsatisfied(m *cellstate.MachineView) int {
	for i := range r.constraints {
		if !r.constraints[i].satisfied(m) {
			return i
		}
	}
	return none
}

// admit reports whether no rule excludes the machine.
func (r *rules) admit(m *cellstate.MachineView) bool {
	return m.Session != nil && (len(r.constraints) == 0 || r.unsatisfied(m) == none) && open(m.Ledger) && !r.avoids(m)
}

// open reports whether a machine takes further claims.
func open(l *cellstate.Ledger) bool { return !l.Cordoned && l.Drain == nil }

func (r *rules) avoids(m *cellstate.MachineView) bool { return len(r.avoid) > 0 && r.avoid[m.Name()] }
