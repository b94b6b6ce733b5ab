package jobfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/google/go-cmp/cmp"

	"github.com/omegacell/omegacell/cellstate"
)

// Every error names the line it is about, in one line.
func TestErrors(t *testing.T) {
	datadriven.RunTest(t, "testdata/errors.txt", func(t *testing.T, d *datadriven.TestData) string {
		_, err := Parse("j", []byte(d.Input))
		if err == nil {
			return "ok\n"
		}
		if !errors.Is(err, cellstate.ErrInvalid) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %q is not one line wrapping ErrInvalid", d.Pos, err)
		}
		return err.Error() + "\n"
	})
}

func TestDefaults(t *testing.T) {
	jobs := parseFile(t, "testdata/batch.yaml")
	want := &cellstate.Job{
		Name: "hello", Scheduler: "batch", Tenant: "default", Precedence: 100, Tasks: 10, Retries: 2,
		Task: cellstate.TaskSpec{
			Command:    []string{"sh", "-c", `echo "task $OMEGACELL_TASK"; sleep 5`},
			Resources:  cellstate.Resources{CPUMilli: 100, MemBytes: 32 << 20},
			StopSignal: "SIGTERM", StopGrace: 10 * time.Second,
			Restart: cellstate.RestartPolicy{BackoffMin: time.Second, BackoffMax: time.Minute},
			Logs:    cellstate.LogPolicy{MaxBytes: 10 << 20, Files: 2},
		},
		Update:     cellstate.UpdatePolicy{MaxParallel: 1, HealthyFor: 5 * time.Second, HealthTimeout: 5 * time.Minute},
		Disconnect: cellstate.DisconnectPolicy{ReplaceAfter: time.Minute},
	}
	if diff := cmp.Diff([]*cellstate.Job{want}, jobs); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestEveryField(t *testing.T) {
	jobs := parseFile(t, "testdata/service.yaml")
	want := &cellstate.Job{
		Name: "web", Scheduler: "service", Tenant: "shop", Precedence: 250, Tasks: 3,
		Task: cellstate.TaskSpec{
			Driver: "exec", Command: []string{"/usr/bin/python3", "-m", "http.server", "8080"}, Dir: "/srv/web", User: "www-data",
			Env:        map[string]string{"PORT": "8080", "GREETING": "hello: world", "MODE": "0644"},
			Resources:  cellstate.Resources{CPUMilli: 1500, MemBytes: 1 << 30, DiskBytes: 512e6, NetBitsPerSecond: 100e6},
			StopSignal: "SIGINT", StopGrace: 30 * time.Second,
			Restart: cellstate.RestartPolicy{When: cellstate.RestartOnFailure, Max: 5, BackoffMin: 2 * time.Second, BackoffMax: 2 * time.Minute},
			Health:  &cellstate.HealthCheck{HTTP: "http://127.0.0.1:8080/", Interval: 10 * time.Second, Timeout: time.Second, Failures: 2},
			Logs:    cellstate.LogPolicy{MaxBytes: 1 << 20, Files: 3},
		},
		Constraints: []cellstate.Constraint{
			{Attribute: "os", Op: cellstate.OpEqual, Values: []string{"linux"}},
			{Attribute: "kernel.version", Op: cellstate.OpVersion, Values: []string{">= 5.10, < 7"}},
			{Attribute: "rack", Op: cellstate.OpNotIn, Values: []string{"r1", "r2"}},
			{Attribute: "ssd", Op: cellstate.OpExists},
		},
		Affinities: []cellstate.Affinity{
			{Constraint: cellstate.Constraint{Attribute: "zone", Op: cellstate.OpIn, Values: []string{"a", "b"}}, Weight: 40},
			{Constraint: cellstate.Constraint{Attribute: "name", Op: cellstate.OpRegexp, Values: []string{"^old-"}}, Weight: -100},
		},
		Spread:     []cellstate.Spread{{Attribute: "rack", Weight: 80, MaxSkew: 1}, {Attribute: "zone", Weight: 50}},
		Packing:    cellstate.SpreadLoad,
		Update:     cellstate.UpdatePolicy{MaxParallel: 2, HealthyFor: 15 * time.Second, HealthTimeout: 10 * time.Minute},
		Disconnect: cellstate.DisconnectPolicy{StopAfter: time.Hour, ReplaceAfter: neverReplace},
	}
	if diff := cmp.Diff([]*cellstate.Job{want}, jobs); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestSeveralDocuments(t *testing.T) {
	jobs := parseFile(t, "testdata/gang.yaml")
	if len(jobs) != 2 {
		t.Fatalf("%d jobs, want 2", len(jobs))
	}
	train, replayed := jobs[0], jobs[1]
	if train.Precedence != 200 || train.GangMin != 8 || train.Task.Resources.GPUMilli != 500 || train.Task.MaxRunTime != 4*time.Hour {
		t.Errorf("train = %+v", train)
	}
	if want := []cellstate.Extended{{Name: "licences/solver", Amount: 1}}; !cmp.Equal(train.Task.Resources.Extended, want) {
		t.Errorf("extended = %v, want %v", train.Task.Resources.Extended, want)
	}
	if replayed.Precedence != 0 || replayed.Tasks != 100000 || replayed.Task.Driver != "emulated" {
		t.Errorf("replayed = %+v", replayed)
	}
}

// A job's precedence follows from its scheduler where it gives none.
func TestDefaultPrecedence(t *testing.T) {
	for scheduler, want := range map[string]cellstate.Precedence{"batch": 100, "mine": 100, "service": 200} {
		jobs, err := Parse("j", fmt.Appendf(nil, "name: a\nscheduler: %s\ntask: {command: [x]}", scheduler))
		if err != nil {
			t.Fatal(err)
		}
		if got := jobs[0].Precedence; got != want {
			t.Errorf("%s: precedence %d, want %d", scheduler, got, want)
		}
	}
}

// Every limit is met by the last size that it allows, and named by the first that it does not.
func TestLimits(t *testing.T) {
	const head = "name: a\nscheduler: b\n"
	for _, tt := range []struct {
		name   string
		ok     string
		tooBig string
		says   string
	}{
		{"tasks", head + "tasks: 100000\ntask: {command: [x]}", head + "tasks: 100001\ntask: {command: [x]}",
			`j:3: tasks: want a whole number from 1 to 100000, not 100001`},
		{"command", head + "task: {command: [" + strings.Repeat("x", MaxCommandBytes-1) + "]}", head + "task: {command: [" + strings.Repeat("x", MaxCommandBytes) + "]}",
			"j:3: task: command and env have 131073 bytes together, more than the limit of 131072"},
		{"command and env", head + "task: {command: [x], env: {A: " + strings.Repeat("x", MaxCommandBytes-5) + "}}", head + "task: {command: [x], env: {A: " + strings.Repeat("x", MaxCommandBytes-4) + "}}",
			"j:3: task: command and env have 131073 bytes together, more than the limit of 131072"},
		{"file", pad(head+"task: {command: [x]}\n#", MaxFileBytes), pad(head+"task: {command: [x]}\n#", MaxFileBytes+1),
			"j:1: the file has 1048577 bytes, more than the limit of 1048576"},
		{"depth", head + "task: {command: [x]}", head + "task: " + strings.Repeat("[", MaxDepth+1),
			"j:3: nested deeper than the limit of 32"},
		{"depth of dashes", head + "task: {command: [x]}", head + "task:\n  " + strings.Repeat("- ", MaxDepth+1) + "x",
			"j:4: nested deeper than the limit of 32"},
		{"keys", head + "task: {command: [x]}", head + "task: {command: [x]}\n" + strings.Repeat("tasks: 1\n", MaxKeys),
			"j:20000: more keys in one document than the limit of 20000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Parse("j", []byte(tt.ok)); err != nil {
				t.Errorf("the last that it allows: %v", err)
			}
			if _, err := Parse("j", []byte(tt.tooBig)); err == nil || err.Error() != tt.says {
				t.Errorf("error %v\nwant  %s", err, tt.says)
			}
		})
	}
}

func pad(s string, n int) string { return s + strings.Repeat("x", n-len(s)) }

// FuzzParse holds that no input makes Parse panic, that every error is one line with a place in it, and that what is read
// can be written and read again.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		if b, err := os.ReadFile(name); err == nil {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		jobs, err := Parse("j", b)
		if err != nil {
			if s := err.Error(); !errors.Is(err, cellstate.ErrInvalid) || !strings.HasPrefix(s, "j:") || strings.ContainsAny(s, "\n\r") {
				t.Errorf("error %q", s)
			}
			return
		}
		roundTrip(t, jobs)
	})
}

func parseFile(t *testing.T, name string) []*cellstate.Job {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	jobs, err := Parse(name, b)
	if err != nil {
		t.Fatal(err)
	}
	return jobs
}
