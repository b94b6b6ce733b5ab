package place

import (
	"errors"
	"strings"
	"testing"

	"github.com/omegacell/omegacell/cellstate"
)

func TestConstraints(t *testing.T) {
	tested := make(map[cellstate.Op]bool)
	for _, tt := range []struct {
		op     cellstate.Op
		values string // separated by |
		value  string // of the machine; "-" where it lacks the attribute
		want   bool
	}{
		{cellstate.OpEqual, "linux", "linux", true},
		{cellstate.OpEqual, "linux", "linux2", false},
		{cellstate.OpEqual, "linux", "-", false},
		{cellstate.OpEqual, "", "", true},
		{cellstate.OpNotEqual, "linux", "linux", false},
		{cellstate.OpNotEqual, "linux", "bsd", true},
		{cellstate.OpNotEqual, "linux", "-", true},
		{cellstate.OpIn, "a|b", "b", true},
		{cellstate.OpIn, "a|b", "c", false},
		{cellstate.OpIn, "a|b", "-", false},
		{cellstate.OpNotIn, "a|b", "b", false},
		{cellstate.OpNotIn, "a|b", "c", true},
		{cellstate.OpNotIn, "a|b", "-", true},
		{cellstate.OpLess, "16", "15.9", true},
		{cellstate.OpLess, "16", "16", false},
		{cellstate.OpLess, "16", "9", true}, // as numbers, not as text
		{cellstate.OpLess, "16", "many", false},
		{cellstate.OpLess, "16", "NaN", false},
		{cellstate.OpLess, "16", "-", false},
		{cellstate.OpGreater, "16", "16.1", true},
		{cellstate.OpGreater, "16", "16", false},
		{cellstate.OpGreater, "9", "16", true},
		{cellstate.OpGreater, "16", "many", false},
		{cellstate.OpGreater, "16", "-", false},
		{cellstate.OpExists, "", "", true},
		{cellstate.OpExists, "", "-", false},
		{cellstate.OpRegexp, "^x[0-9]+$", "x12", true},
		{cellstate.OpRegexp, "^x[0-9]+$", "x", false},
		{cellstate.OpRegexp, "[0-9]", "ab7cd", true},
		{cellstate.OpRegexp, ".*", "-", false},
		{cellstate.OpVersion, ">= 5.10, < 7", "5.10", true},
		{cellstate.OpVersion, ">= 5.10, < 7", "5.9.99", false},
		{cellstate.OpVersion, ">= 5.10, < 7", "6.99", true},
		{cellstate.OpVersion, ">= 5.10, < 7", "7.0.0", false},
		{cellstate.OpVersion, ">= 5.10", "new", false},
		{cellstate.OpVersion, ">= 0", "-", false},
	} {
		tested[tt.op] = true
		c := cellstate.Constraint{Attribute: "a", Op: tt.op}
		if tt.op != cellstate.OpExists {
			c.Values = strings.Split(tt.values, "|")
		}
		m := machine("m1", cores(1))
		if tt.value != "-" {
			m = machine("m1", cores(1), "a", tt.value)
		}
		got, err := compile(c)
		if err != nil {
			t.Errorf("%s: %v", c, err)
			continue
		}
		for range 2 { // the second answer comes from memory
			if yes := got.holds(m); yes != tt.want {
				t.Errorf("%s on a machine with %q: %v, want %v", c, tt.value, yes, tt.want)
			}
		}
	}
	for _, op := range cellstate.Ops() {
		if !tested[op] {
			t.Errorf("no row tests operator %s", op)
		}
	}
}

func TestNameIsAnAttribute(t *testing.T) {
	c, err := compile(cellstate.Constraint{Attribute: "name", Op: cellstate.OpEqual, Values: []string{"m2"}})
	if err != nil {
		t.Fatal(err)
	}
	bare := machine("m2", cores(1))
	bare.Machine = nil // its description has not arrived
	if !c.holds(bare) || c.holds(machine("m1", cores(1))) {
		t.Error("the attribute name is not the machine's name")
	}
}

func TestCheckConstraints(t *testing.T) {
	constraint := func(attribute string, op cellstate.Op, values ...string) *cellstate.Job {
		return &cellstate.Job{Scheduler: "me", Name: "j",
			Constraints: []cellstate.Constraint{{Attribute: attribute, Op: op, Values: values}}}
	}
	affinity := func(op cellstate.Op, value string, weight int32) *cellstate.Job {
		return &cellstate.Job{Scheduler: "me", Name: "j", Affinities: []cellstate.Affinity{
			{Constraint: cellstate.Constraint{Attribute: "a", Op: op, Values: []string{value}}, Weight: weight}}}
	}
	spread := func(attribute string, weight int32) *cellstate.Job {
		return &cellstate.Job{Scheduler: "me", Name: "j", Spread: []cellstate.Spread{{Attribute: attribute, Weight: weight}}}
	}
	for _, tt := range []struct {
		name string
		job  *cellstate.Job
		want string // part of the error; "" for none
	}{
		{"no constraint", &cellstate.Job{}, ""},
		{"regexp", constraint("a", cellstate.OpRegexp, "x+"), ""},
		{"malformed regexp", constraint("a", cellstate.OpRegexp, "x("), "constraint a regexp x("},
		{"look-ahead is not RE2", constraint("a", cellstate.OpRegexp, "x(?=y)"), "a regexp"},
		{"version", constraint("a", cellstate.OpVersion, "~> 1.2"), ""},
		{"malformed version", constraint("a", cellstate.OpVersion, "> new"), `"> new" is no list of versions`},
		{"number", constraint("a", cellstate.OpLess, "1e3"), ""},
		{"malformed number", constraint("a", cellstate.OpLess, "few"), `"few" is not a number`},
		{"infinite number", constraint("a", cellstate.OpGreater, "inf"), `"inf" is not a number`},
		{"no number at all", constraint("a", cellstate.OpGreater, "NaN"), `"NaN" is not a number`},
		{"one value", constraint("a", cellstate.OpEqual, "x"), ""},
		{"two values", constraint("a", cellstate.OpEqual, "x", "y"), "takes one value, not 2"},
		{"no value", constraint("a", cellstate.OpNotEqual), "takes one value, not 0"},
		{"in one", constraint("a", cellstate.OpIn, "x"), ""},
		{"in nothing", constraint("a", cellstate.OpNotIn), "at least one value"},
		{"exists", constraint("a", cellstate.OpExists), ""},
		{"exists with a value", constraint("a", cellstate.OpExists, "x"), "takes no value, not 1"},
		{"no attribute", constraint("", cellstate.OpExists), "no attribute"},
		{"no such operator", constraint("a", cellstate.OpVersion+1, "x"), "unknown operator"},
		{"zero operator", constraint("a", 0, "x"), "unknown operator"},
		{"affinity at the bounds", affinity(cellstate.OpEqual, "x", -100), ""},
		{"affinity below", affinity(cellstate.OpEqual, "x", -101), "weight -101 is outside"},
		{"affinity above", affinity(cellstate.OpEqual, "x", 101), "weight 101 is outside"},
		{"affinity malformed", affinity(cellstate.OpRegexp, "(", 1), "affinity a regexp ("},
		{"spread", spread("rack", 100), ""},
		{"spread above", spread("rack", 101), "spread rack: weight 101"},
		{"spread over nothing", spread("", 1), "spread without an attribute"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := CheckConstraints(tt.job)
			if tt.want == "" {
				if err != nil {
					t.Errorf("CheckConstraints = %v, want none", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || !errors.Is(err, cellstate.ErrInvalid) {
				t.Errorf("CheckConstraints = %v, want ErrInvalid with %q", err, tt.want)
			}
		})
	}
}
