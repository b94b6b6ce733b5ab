package place

import "github.com/omegacell/omegacell/cellstate"

// Names of the rules that exclude a machine, as an Explanation counts them. Each constraint, amount and spread has one of
// its own: see rules, shortageRule and spread.
const (
	ruleNoSession = "no session"
	ruleCordoned  = "cordoned"
	ruleAvoided   = "avoided"
)

// rules are those that look at a machine alone, not at what is claimed there.
type rules struct {
	constraints []constraint
	avoid       map[string]bool
}

// constraint is one of the job's, compiled once for the request.
type constraint struct {
	rule string
	of   cellstate.Constraint
	*matcher
	malformed error // then matcher is nil and no machine satisfies it
}

func compileRules(list []cellstate.Constraint, avoid map[string]bool) rules {
	r := rules{avoid: avoid, constraints: make([]constraint, 0, len(list))}
	for _, c := range list {
		m, err := compile(c)
		r.constraints = append(r.constraints, constraint{rule: "constraint " + c.String(), of: c, matcher: m, malformed: err})
	}
	return r
}

// satisfied reports whether a machine satisfies the constraint.
func (c *constraint) satisfied(m *cellstate.MachineView) bool {
	return c.malformed == nil && c.holds(m)
}

// excludes returns the first rule that excludes a machine, or "".
func (r *rules) excludes(m *cellstate.MachineView) string {
	if m.Session == nil {
		return ruleNoSession
	}
	if m.Ledger.Cordoned || m.Ledger.Drain != nil {
		return ruleCordoned
	}
	for i := range r.constraints {
		if c := &r.constraints[i]; !c.satisfied(m) {
			return c.rule
		}
	}
	if r.avoid[m.Name()] {
		return ruleAvoided
	}
	return ""
}

// shortageRule names the rule that a shortage belongs to: "full: memory", "gpu-device", "too-many-claims".
func shortageRule(s cellstate.Shortage) string {
	if s.Reason != cellstate.ReasonFull {
		return s.Reason.String()
	}
	if s.Dimension == cellstate.ExtendedResource {
		return "full: " + s.Name
	}
	return "full: " + s.Dimension.String()
}
