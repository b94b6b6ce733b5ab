package jobfile

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/omegacell/omegacell/cellstate"
)

func roundTrip(t interface {
	Errorf(string, ...any)
	Fatalf(string, ...any)
}, jobs []*cellstate.Job) {
	var all []byte
	for _, j := range jobs {
		all = append(append(all, "---\n"...), Format(j)...)
	}
	if len(all) > MaxFileBytes { // defaults and quotes made it longer
		return
	}
	again, err := Parse("again", all)
	if err != nil {
		t.Fatalf("%v in\n%s", err, all)
	}
	if diff := cmp.Diff(jobs, again, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("-first +again:\n%s\nof\n%s", diff, all)
	}
}

func TestRoundTrip(t *testing.T) {
	for _, name := range []string{"testdata/batch.yaml", "testdata/service.yaml", "testdata/gang.yaml"} {
		roundTrip(t, parseFile(t, name))
	}
}

// Any text comes back as it was, whatever YAML would take it for.
func TestRoundTripTexts(t *testing.T) {
	text := rapid.OneOf(
		rapid.String(),
		rapid.StringMatching(`[-!>|&*?:#%@{}\[\],' "\\\n\t~0-9a-z=<.]{0,8}`),
		rapid.SampledFrom([]string{"null", "~", "true", "no", "0755", "1e3", "!=", ">", "---", "...", "- x", "a: b", "\u2028", "\ufeff", "\u0085", "\x7f", "\x01", " ", "\r\n", "\r"}),
	).Filter(func(s string) bool { return !containsNUL(s) })
	rapid.Check(t, func(t *rapid.T) {
		j := parseOne(t, "name: a\nscheduler: b\ntask: {command: [x]}")
		j.Task.Command = append(j.Task.Command, rapid.SliceOf(text).Draw(t, "command")...)
		j.Task.Env = map[string]string{"A": text.Draw(t, "env")}
		j.Constraints = []cellstate.Constraint{{Attribute: "os", Op: cellstate.OpNotEqual, Values: []string{text.Draw(t, "value")}}}
		roundTrip(t, []*cellstate.Job{j})
	})
}

func containsNUL(s string) bool {
	for i := range len(s) {
		if s[i] == 0 {
			return true
		}
	}
	return false
}

func parseOne(t *rapid.T, s string) *cellstate.Job {
	jobs, err := Parse("j", []byte(s))
	if err != nil {
		t.Fatal(err)
	}
	return jobs[0]
}

func TestFormat(t *testing.T) {
	want, err := os.ReadFile("testdata/service.formatted")
	if err != nil {
		t.Fatal(err)
	}
	got := Format(parseFile(t, "testdata/service.yaml")[0])
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
