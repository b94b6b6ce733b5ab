package place

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"

	"github.com/hashicorp/go-version"

	"github.com/omegacell/omegacell/cellstate"
)

// CheckConstraints returns an error, wrapping ErrInvalid, that names the first malformed constraint, affinity or spread of
// a job. Place lets no machine satisfy a malformed constraint, and passes over a malformed affinity.
func CheckConstraints(job *cellstate.Job) error {
	on := func(format string, args ...any) error {
		return &cellstate.OpError{Op: "check constraints", On: job.Scheduler + "/" + job.Name, Err: fmt.Errorf(format, args...)}
	}
	for _, c := range job.Constraints {
		if _, err := compile(c); err != nil {
			return on("constraint %s: %w", c, err)
		}
	}
	for _, a := range job.Affinities {
		if _, err := compile(a.Constraint); err != nil {
			return on("affinity %s: %w", a.Constraint, err)
		}
		if a.Weight < -100 || a.Weight > 100 {
			return on("affinity %s: weight %d is outside -100..100: %w", a.Constraint, a.Weight, cellstate.ErrInvalid)
		}
	}
	for _, s := range job.Spread {
		if s.Attribute == "" {
			return on("spread without an attribute: %w", cellstate.ErrInvalid)
		}
		if s.Weight < 0 || s.Weight > 100 {
			return on("spread %s: weight %d is outside 0..100: %w", s.Attribute, s.Weight, cellstate.ErrInvalid)
		}
	}
	return nil
}

// matcher is a compiled constraint.
type matcher struct {
	attribute string
	absent    bool              // what it says of a machine without the attribute
	match     func(string) bool // nil where the attribute's presence is enough
	seen      map[string]bool   // answers already worked out, by value; nil where comparing is as cheap as looking up
}

// holds reports whether a machine satisfies the constraint.
func (c *matcher) holds(m *cellstate.MachineView) bool {
	v, ok := attribute(m, c.attribute)
	if !ok {
		return c.absent
	}
	if c.match == nil {
		return true
	}
	if c.seen == nil {
		return c.match(v)
	}
	yes, known := c.seen[v]
	if !known {
		yes = c.match(v)
		c.seen[v] = yes
	}
	return yes
}

// attribute returns an attribute of a machine, whose description may be absent: then it has only a name.
func attribute(m *cellstate.MachineView, name string) (string, bool) {
	if name == nameAttribute {
		return m.Name(), true
	}
	if m.Machine == nil {
		return "", false
	}
	return m.Machine.Attribute(name)
}

// nameAttribute is the attribute that every machine has with a value of its own.
const nameAttribute = "name"

// compile turns a constraint into a matcher, or says what is malformed in it.
func compile(c cellstate.Constraint) (*matcher, error) {
	if c.Attribute == "" {
		return nil, fmt.Errorf("no attribute: %w", cellstate.ErrInvalid)
	}
	if err := checkCount(c); err != nil {
		return nil, err
	}
	m := &matcher{attribute: c.Attribute}
	switch c.Op {
	case cellstate.OpEqual:
		m.match = func(v string) bool { return v == c.Values[0] }
	case cellstate.OpNotEqual:
		m.absent = true
		m.match = func(v string) bool { return v != c.Values[0] }
	case cellstate.OpIn:
		m.match = func(v string) bool { return slices.Contains(c.Values, v) }
	case cellstate.OpNotIn:
		m.absent = true
		m.match = func(v string) bool { return !slices.Contains(c.Values, v) }
	case cellstate.OpExists:
	case cellstate.OpLess, cellstate.OpGreater:
		bound, ok := number(c.Values[0])
		if !ok {
			return nil, fmt.Errorf("%q is not a number: %w", c.Values[0], cellstate.ErrInvalid)
		}
		less := c.Op == cellstate.OpLess
		m.seen = make(map[string]bool)
		m.match = func(v string) bool {
			n, ok := number(v)
			return ok && (less && n < bound || !less && n > bound)
		}
	case cellstate.OpRegexp:
		re, err := regexp.Compile(c.Values[0])
		if err != nil {
			return nil, fmt.Errorf("%v: %w", err, cellstate.ErrInvalid)
		}
		m.seen = make(map[string]bool)
		m.match = re.MatchString
	case cellstate.OpVersion:
		want, err := version.NewConstraint(c.Values[0])
		if err != nil {
			return nil, fmt.Errorf("%q is no list of versions such as \">= 5.10, < 7\": %w", c.Values[0], cellstate.ErrInvalid)
		}
		m.seen = make(map[string]bool)
		m.match = func(v string) bool {
			have, err := version.NewVersion(v)
			return err == nil && want.Check(have)
		}
	default:
		return nil, fmt.Errorf("unknown operator %s: %w", c.Op, cellstate.ErrInvalid)
	}
	return m, nil
}

func checkCount(c cellstate.Constraint) error {
	n := len(c.Values)
	switch c.Op {
	case cellstate.OpIn, cellstate.OpNotIn:
		if n == 0 {
			return fmt.Errorf("%s takes at least one value: %w", c.Op, cellstate.ErrInvalid)
		}
	case cellstate.OpExists:
		if n != 0 {
			return fmt.Errorf("%s takes no value, not %d: %w", c.Op, n, cellstate.ErrInvalid)
		}
	default:
		if n != 1 {
			return fmt.Errorf("%s takes one value, not %d: %w", c.Op, n, cellstate.ErrInvalid)
		}
	}
	return nil
}

func number(s string) (float64, bool) {
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil && !math.IsNaN(f) && !math.IsInf(f, 0)
}
