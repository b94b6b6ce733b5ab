package jobfile

import (
	"fmt"
	"regexp"
	"strconv"

	"github.com/goccy/go-yaml/ast"
	"github.com/hashicorp/go-version"

	"github.com/omegacell/omegacell/cellstate"
)

// constraint reads {attribute, op, value|values}, and the fields in more.
func (f *form) constraint(n ast.Node, what string, more readers) cellstate.Constraint {
	c := cellstate.Constraint{Op: cellstate.OpEqual}
	var one *string
	known := readers{
		"attribute": f.word("attribute", &c.Attribute),
		"op":        choice(f, "op", cellstate.Ops(), &c.Op),
		"value": func(n ast.Node) {
			one = new(string)
			f.text("value", one)(n)
		},
		"values": f.words("values", &c.Values),
	}
	for name, read := range more {
		known[name] = read
	}
	f.fields(n, what, known)
	switch {
	case f.err != nil:
	case c.Attribute == "":
		f.fail(n, "%s has no attribute", what)
	case one != nil && len(c.Values) > 0:
		f.fail(n, "%s has both value and values", what)
	default:
		if one != nil {
			c.Values = []string{*one}
		}
		if err := checkValues(c); err != nil {
			f.fail(n, "%s: %s", what, err)
		}
	}
	return c
}

// checkValues refuses what no machine could ever satisfy by how it is written.
func checkValues(c cellstate.Constraint) error {
	switch c.Op {
	case cellstate.OpExists:
		if len(c.Values) > 0 {
			return fmt.Errorf("op exists takes no value")
		}
		return nil
	case cellstate.OpIn, cellstate.OpNotIn:
		if len(c.Values) == 0 {
			return fmt.Errorf("op %q takes one value or more", c.Op)
		}
		return nil
	}
	if len(c.Values) != 1 {
		return fmt.Errorf("op %q takes one value, not %d", c.Op, len(c.Values))
	}
	v := c.Values[0]
	var err error
	switch c.Op {
	case cellstate.OpLess, cellstate.OpGreater:
		if _, err = strconv.ParseFloat(v, 64); err != nil {
			return fmt.Errorf("op %q compares with a number, not %q", c.Op, v)
		}
	case cellstate.OpRegexp:
		_, err = regexp.Compile(v)
	case cellstate.OpVersion:
		if _, err = version.NewConstraint(v); err != nil {
			return fmt.Errorf("op version takes a list such as \">= 5.10, < 7\", not %q", v)
		}
	}
	return err
}

func (f *form) affinity(n ast.Node) cellstate.Affinity {
	var a cellstate.Affinity
	a.Constraint = f.constraint(n, "an affinity", readers{
		"weight": f.count("weight", -100, 100, func(v int64) { a.Weight = int32(v) }),
	})
	if a.Weight == 0 {
		f.fail(n, "an affinity needs a weight from -100 to 100 that is not 0")
	}
	return a
}

func (f *form) spread(n ast.Node) cellstate.Spread {
	var s cellstate.Spread
	f.fields(n, "a spread", readers{
		"attribute": f.word("attribute", &s.Attribute),
		"weight":    f.count("weight", 1, 100, func(v int64) { s.Weight = int32(v) }),
		"maxSkew":   f.uint("maxSkew", 0, &s.MaxSkew),
	})
	if s.Attribute == "" {
		f.fail(n, "a spread has no attribute")
	}
	return s
}
