package place

import (
	"fmt"
	"slices"
	"strings"

	"github.com/omegacell/omegacell/cellstate"
)

// unblock says in a sentence what would help, from the most certain obstacle to the least.
func (p *plan) unblock(s *survey, found int) string {
	if n := len(p.req.Tasks); n < p.req.Min {
		return fmt.Sprintf("the gang needs %d tasks at once and only %d were asked for", p.req.Min, n)
	}
	advice := p.advice(s)
	if p.req.Min > 0 && found < p.req.Min {
		return fmt.Sprintf("room for %d of the %d tasks that the gang needs: %s", found, p.req.Min, advice)
	}
	return advice
}

func (p *plan) advice(s *survey) string {
	switch {
	case s.looked == 0:
		return "the cell has no machines"
	case s.satisfying == 0:
		return p.unsatisfied()
	case s.admitted == 0:
		return s.unavailable()
	case s.able == 0:
		return p.neverFits(s)
	case s.best != nil:
		return p.free(s, s.best)
	}
	if s.skewed > 0 {
		return fmt.Sprintf("%s room but would exceed the max skew of a spread: raise it, or free room where fewer tasks of the job run", have(s.skewed))
	}
	if s.crowded > 0 {
		return fmt.Sprintf("%s as many claims as the limit of %d allows: end some, or add machines", have(s.crowded), p.req.Limits.ClaimsPerMachine)
	}
	return "machines with room would exceed the max skew of a spread, and the others are too small: raise the skew, or lower the demand"
}

// unsatisfied is the advice where no machine satisfies all constraints.
func (p *plan) unsatisfied() string {
	for i := range p.rules.constraints {
		c := &p.rules.constraints[i]
		if c.malformed != nil {
			return fmt.Sprintf("%s is malformed: %v", c.rule(), c.malformed)
		}
		values := make(map[string]bool)
		any := false
		for slot := range p.snap.Len() {
			if m := p.snap.At(slot); m != nil {
				if v, ok := attribute(m, c.attribute); ok {
					values[v] = true
				}
				any = any || c.satisfied(m)
			}
		}
		if !any {
			return "no machine has attribute " + c.of.String() + listed(c.attribute, values)
		}
	}
	return fmt.Sprintf("no machine satisfies all %d constraints together, though each is satisfied by some", len(p.rules.constraints))
}

// listed gives a few of an attribute's values.
func listed(attribute string, values map[string]bool) string {
	if len(values) == 0 {
		return ""
	}
	var all []string
	for v := range values {
		all = append(all, v)
	}
	slices.Sort(all)
	more := ""
	if n := len(all) - 5; n > 0 {
		all, more = all[:5], fmt.Sprintf(" and %d more", n)
	}
	return ": there, " + attribute + " is " + strings.Join(all, ", ") + more
}

// unavailable is the advice where all machines that satisfy the constraints take no claims.
func (s *survey) unavailable() string {
	var why, help []string
	if s.silent > 0 {
		why, help = append(why, fmt.Sprintf("%d without a live agent", s.silent)), append(help, "start an agent")
	}
	if s.cordoned > 0 {
		why, help = append(why, fmt.Sprintf("%d cordoned or draining", s.cordoned)), append(help, "uncordon a machine")
	}
	if s.avoided > 0 {
		why, help = append(why, fmt.Sprintf("%d avoided after a failure there", s.avoided)), append(help, "wait until one is tried again")
	}
	return fmt.Sprintf("of %s the constraints none can be used, %s: %s", that(s.satisfying), strings.Join(why, ", "), strings.Join(help, ", or "))
}

// neverFits is the advice where no machine's whole capacity would hold the task.
func (p *plan) neverFits(s *survey) string {
	short := slices.DeleteFunc(amounts(&p.claim.Resources, &s.largest), func(a amount) bool { return a.have >= a.want })
	if len(short) == 0 {
		return "can never fit: no single machine has as much as is wanted of every resource: lower " +
			join(amounts(&p.claim.Resources, &cellstate.Resources{}), func(a amount) string { return a.name + " " + a.unit(a.want) })
	}
	return "can never fit: the largest machine has " +
		join(short, func(a amount) string { return a.name + " " + a.unit(a.have) + " of the " + a.unit(a.want) + " wanted" })
}

// free is the advice where room would have to be freed, on the machine that lacks least.
func (p *plan) free(s *survey, m *miss) string {
	who := "take claims"
	if len(p.rules.constraints) > 0 {
		who = "satisfy the constraints"
	}
	lacks := p.lacks(m)
	alike := s.alike[slices.IndexFunc(s.alike, func(l lack) bool { return l.dims == m.dims })].n
	advice := fmt.Sprintf("%d of %d machines %s but lack %s: free %s on %s", alike, s.looked, who,
		join(lacks, func(a amount) string { return a.name }),
		join(lacks, func(a amount) string { return a.name + " " + a.unit(a.want-a.have) + a.note }), m.ledger.Machine)
	if slices.ContainsFunc(lacks, func(a amount) bool { return a.have <= 0 }) {
		return advice
	}
	return advice + ", or lower " + join(lacks, func(a amount) string { return a.name + " to " + a.unit(a.have) })
}

func have(n int) string {
	if n == 1 {
		return "1 machine has"
	}
	return fmt.Sprintf("%d machines have", n)
}

func that(n int) string {
	if n == 1 {
		return "1 machine that satisfies"
	}
	return fmt.Sprintf("%d machines that satisfy", n)
}

func join(list []amount, f func(amount) string) string {
	parts := make([]string, len(list))
	for i, a := range list {
		parts[i] = f(a)
	}
	return strings.Join(parts, ", ")
}
