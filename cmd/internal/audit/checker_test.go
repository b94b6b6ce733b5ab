package audit

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cmd/internal/history"
)

// step is one revision: values put, keys deleted, and raw keys that cannot be read.
type step struct {
	put    []cellstate.Value
	delete []cellstate.Key
	bad    []string
}

func put(v ...cellstate.Value) step { return step{put: v} }

// check feeds steps, the first as the base at revision 1, and returns the report.
func check(steps ...step) Report {
	c := NewChecker()
	for i, s := range steps {
		r := history.Revision{Rev: int64(i + 1), Base: i == 0}
		for _, v := range s.put {
			r.Entries = append(r.Entries, history.Entry{Record: cellstate.Record{Key: v.Key(), Value: v, Raw: v.Key().String()}})
		}
		for _, k := range s.delete {
			r.Entries = append(r.Entries, history.Entry{Record: cellstate.Record{Key: k, Raw: k.String()}, Deleted: true})
		}
		for _, raw := range s.bad {
			r.Entries = append(r.Entries, history.Entry{Record: cellstate.Record{Raw: raw, Err: errors.New("cannot be read")}})
		}
		c.Apply(r)
	}
	return c.Report()
}

func id(job string, task, attempt uint32) cellstate.ClaimID {
	return cellstate.ClaimID{Scheduler: "batch", Job: job, Run: 1, Task: task, Attempt: attempt}
}

// cl is a claim of so many milli-CPU; with changes made by f.
func cl(i cellstate.ClaimID, cpu int64, f ...func(*cellstate.Claim)) cellstate.Claim {
	c := cellstate.Claim{ID: i, JobVersion: 1, Resources: cellstate.Resources{CPUMilli: cpu}, Start: 100}
	for _, f := range f {
		f(&c)
	}
	return c
}

func ended(c *cellstate.Claim) { c.Ended = true }

func gang(min uint32) func(*cellstate.Claim) {
	return func(c *cellstate.Claim) { c.GangMin = min }
}

func gpu(device, milli uint16) func(*cellstate.Claim) {
	return func(c *cellstate.Claim) {
		c.Resources.GPUMilli = int64(milli)
		c.GPUs = []cellstate.GPUShare{{Device: device, Milli: milli}}
	}
}

func during(start, end cellstate.Instant) func(*cellstate.Claim) {
	return func(c *cellstate.Claim) { c.Start, c.End = start, end }
}

// led is a ledger of a machine with 1000m and one GPU.
func led(machine string, claims ...cellstate.Claim) *cellstate.Ledger {
	l := cellstate.NewLedger(machine, cellstate.Resources{CPUMilli: 1000, GPUMilli: 1000})
	l.Claims = claims
	return l.Sum()
}

func sized(l *cellstate.Ledger, cpu int64) *cellstate.Ledger {
	n := l.Clone()
	n.Capacity.CPUMilli = cpu
	return n.Sum()
}

func rep(machine string, s ...cellstate.ClaimStatus) *cellstate.Report {
	return &cellstate.Report{Machine: machine, Epoch: 1, Claims: s}
}

func exit(i cellstate.ClaimID, code int32) cellstate.ClaimStatus {
	return cellstate.ClaimStatus{ID: i, Phase: cellstate.PhaseEnded, Outcome: cellstate.OutcomeExited, ExitCode: code, EndedAt: 200}
}

func at(i cellstate.ClaimID, p cellstate.Phase) cellstate.ClaimStatus {
	return cellstate.ClaimStatus{ID: i, Phase: p}
}

func job(name string, tasks uint32, cpu int64) *cellstate.Job {
	return &cellstate.Job{
		Scheduler: "batch", Name: name, Run: 1, Version: 1, Tenant: "t", Precedence: 100, Tasks: tasks,
		Task: cellstate.TaskSpec{Resources: cellstate.Resources{CPUMilli: cpu}},
	}
}

func st(name string, p cellstate.JobPhase, f ...func(*cellstate.JobStatus)) *cellstate.JobStatus {
	s := &cellstate.JobStatus{Scheduler: "batch", Job: name, Run: 1, Version: 1, Phase: p}
	for _, f := range f {
		f(s)
	}
	return s
}

func tasksDone(from, to uint32) func(*cellstate.JobStatus) {
	return func(s *cellstate.JobStatus) { s.Done = []cellstate.TaskRange{{From: from, To: to}} }
}

func tenant(limit, admitted int64) *cellstate.Tenant {
	return &cellstate.Tenant{Name: "t", Bands: []cellstate.BandQuota{{
		Band: cellstate.BandBatch, Limit: cellstate.Resources{CPUMilli: limit}, Admitted: cellstate.Resources{CPUMilli: admitted},
	}}}
}

func TestChecker(t *testing.T) {
	a, b := id("a", 0, 0), id("b", 0, 0)
	run := st("a", cellstate.JobRunning)
	for _, tt := range []struct {
		name       string
		steps      []step
		violations []string // "rev invariant key"
		notes      []string
	}{
		{"full is not over (I1)", []step{put(), put(led("m1", cl(a, 600), cl(b, 400)))}, nil, nil},
		{"one more is (I1)", []step{put(), put(led("m1", cl(a, 600), cl(b, 401)))}, []string{"2 I1 ledgers/m1", "2 I1 ledgers/m1"}, nil},
		{"one after the other fits (I1)", []step{put(), put(led("m1", cl(a, 600, during(100, 200)), cl(b, 600, during(200, 0))))}, nil, nil},
		{"a millisecond together does not (I1)", []step{put(led("m1", cl(a, 600, during(100, 201)))), put(led("m1", cl(a, 600, during(100, 201)), cl(b, 600, during(200, 0))))}, []string{"2 I1 ledgers/m1"}, nil},
		{"an ended claim holds nothing (I1)", []step{put(), put(led("m1", cl(a, 600, ended), cl(b, 600)), rep("m1", exit(a, 0)))}, nil, nil},
		{"over at the oldest revision (I1)", []step{put(led("m1", cl(a, 600), cl(b, 401)))}, []string{"1 I1 ledgers/m1"}, nil},
		{"a machine shrinks (I1)", []step{put(led("m1", cl(a, 600))), put(sized(led("m1", cl(a, 600)), 500)), put(sized(led("m1", cl(a, 600)), 500))}, nil, []string{"2 I1 ledgers/m1"}},
		{"added to a machine that shrank (I1)", []step{put(led("m1", cl(a, 600))), put(sized(led("m1", cl(a, 600)), 500)), put(sized(led("m1", cl(a, 600), cl(b, 1)), 500))}, []string{"3 I1 ledgers/m1"}, []string{"2 I1 ledgers/m1"}},
		{"nothing asked of a machine that shrank (I1)", []step{put(led("m1", cl(a, 600))), put(sized(led("m1", cl(a, 600)), 500)), put(sized(led("m1", cl(a, 600), cl(b, 500, during(10, 100))), 500))}, nil, []string{"2 I1 ledgers/m1"}},
		{"a device shared (I1)", []step{put(), put(led("m1", cl(a, 1, gpu(0, 500)), cl(b, 1, gpu(0, 500))))}, nil, nil},
		{"a device given away twice (I1)", []step{put(led("m1", cl(a, 1, gpu(0, 600)))), put(led("m1", cl(a, 1, gpu(0, 600)), cl(b, 1, gpu(0, 401))))}, []string{"2 I1 ledgers/m1"}, nil},
		{"a device that is not there (I1)", []step{put(), put(led("m1", cl(a, 1, gpu(1, 10))))}, []string{"2 I1 ledgers/m1"}, nil},
		{"a share of no device (I1)", []step{put(), put(led("m1", cl(a, 1, func(c *cellstate.Claim) { c.Resources.GPUMilli = 5 })))}, []string{"2 I1 ledgers/m1"}, nil},

		{"a gang at its minimum (I2)", []step{put(), put(led("m1", cl(id("g", 0, 0), 1, gang(2))), led("m2", cl(id("g", 1, 0), 1, gang(2))))}, nil, nil},
		{"a gang one short (I2)", []step{put(), put(led("m1", cl(id("g", 0, 0), 1, gang(2)))), put(led("m2", cl(id("g", 1, 0), 1, gang(2))))}, []string{"2 I2 ledgers/m1"}, nil},
		{"two tries at one task are one member (I2)", []step{put(), put(led("m1", cl(id("g", 0, 0), 1, gang(2)), cl(id("g", 0, 1), 1, gang(2))))}, []string{"2 I2 ledgers/m1"}, nil},
		{"a gang of which some ended (I2)", []step{put(led("m1", cl(id("g", 0, 0), 1, gang(2))))}, nil, nil},

		{"a move (I4)", []step{put(led("m1", cl(a, 1)), led("m2")), put(led("m1"), led("m2", cl(a, 1)))}, nil, nil},
		{"a claim in two places (I4)", []step{put(led("m1", cl(a, 1)), led("m2")), put(led("m2", cl(a, 1)))}, []string{"2 I4 ledgers/m1"}, nil},

		{"an end, acknowledged and forgotten (I5)", []step{
			put(led("m1", cl(a, 1)), rep("m1", at(a, cellstate.PhaseRunning))), put(led("m1", cl(a, 1, ended)), rep("m1", exit(a, 3))),
			put(led("m1")), put(rep("m1")),
		}, nil, nil},
		{"an end that changes (I5)", []step{put(led("m1", cl(a, 1, ended)), rep("m1", exit(a, 3))), put(rep("m1", exit(a, 0)))}, []string{"2 I5 reports/m1"}, nil},
		{"an end forgotten too early (I5)", []step{put(led("m1", cl(a, 1, ended)), rep("m1", exit(a, 3))), put(rep("m1"))}, []string{"2 I5 ledgers/m1", "2 I5 reports/m1"}, nil},
		{"an end taken back (I5)", []step{put(led("m1", cl(a, 1, ended)), rep("m1", exit(a, 3))), put(led("m1", cl(a, 1)), rep("m1", exit(a, 3)))}, []string{"2 I5 ledgers/m1", "2 I5 reports/m1"}, nil},
		{"marked ended without a report (I5)", []step{put(), put(led("m1", cl(a, 1, ended)), rep("m1"))}, []string{"2 I5 ledgers/m1"}, nil},
		{"reported and not marked (I5)", []step{put(led("m1", cl(a, 1))), put(rep("m1", exit(a, 3)))}, []string{"2 I5 reports/m1"}, nil},
		{"back after its end (I5)", []step{put(led("m1", cl(a, 1, ended)), rep("m1", exit(a, 3))), put(led("m1"), rep("m1")), put(led("m1", cl(a, 1)))}, []string{"3 I5 ledgers/m1"}, nil},
		{"started again by the agent (I5)", []step{put(rep("m1", at(a, cellstate.PhaseRunning))), put(rep("m1", at(a, cellstate.PhaseStarting)))}, nil, nil},
		{"a phase that goes back (I5)", []step{put(rep("m1", at(a, cellstate.PhaseStopping))), put(rep("m1", at(a, cellstate.PhaseRunning)))}, []string{"2 I5 reports/m1"}, nil},
		{"an agent of the past (I5)", []step{put(&cellstate.Report{Machine: "m1", Epoch: 2}), put(&cellstate.Report{Machine: "m1", Epoch: 1})}, []string{"2 I5 reports/m1"}, nil},
		{"a job that comes back to life (I5)", []step{put(job("a", 1, 1), st("a", cellstate.JobFailed, func(s *cellstate.JobStatus) { s.Message = "gave up" })), put(run)}, []string{"2 I5 jobs/batch/a/status"}, nil},
		{"a new run (I5)", []step{put(job("a", 1, 1), st("a", cellstate.JobStopped)), put(st("a", cellstate.JobPending, func(s *cellstate.JobStatus) { s.Run = 2 }))}, nil, nil},
		{"more done (I5)", []step{put(st("a", cellstate.JobRunning, tasksDone(0, 3))), put(st("a", cellstate.JobRunning, tasksDone(0, 4)))}, nil, nil},
		{"less done (I5)", []step{put(st("a", cellstate.JobRunning, tasksDone(0, 4))), put(st("a", cellstate.JobRunning, tasksDone(0, 3)))}, []string{"2 I5 jobs/batch/a/status"}, nil},

		{"admitted to the limit (I7)", []step{put(tenant(600, 0)), put(job("a", 2, 300), tenant(600, 600))}, nil, nil},
		{"admitted over it (I7)", []step{put(tenant(599, 0)), put(job("a", 2, 300), tenant(599, 600))}, []string{"2 I7 tenants/t"}, nil},
		{"a job not counted (I7)", []step{put(tenant(600, 0)), put(job("a", 2, 300))}, []string{"2 I7 tenants/t"}, nil},
		{"given back with the end (I7)", []step{put(tenant(600, 600), job("a", 2, 300)), put(st("a", cellstate.JobStopped), tenant(600, 0))}, nil, nil},
		{"not given back (I7)", []step{put(tenant(600, 600), job("a", 2, 300)), put(st("a", cellstate.JobStopped))}, []string{"2 I7 tenants/t"}, nil},
		{"a limit lowered below use (I7)", []step{put(tenant(600, 600), job("a", 2, 300)), put(tenant(500, 600))}, nil, []string{"2 I7 tenants/t"}},

		{"succeeded, all done (I10)", []step{put(job("a", 2, 1), st("a", cellstate.JobSucceeded, tasksDone(0, 2)))}, nil, nil},
		{"succeeded, one not done (I10)", []step{put(job("a", 3, 1), st("a", cellstate.JobSucceeded, tasksDone(0, 2)))}, []string{"1 I10 jobs/batch/a/status"}, nil},
		{"failed with a reason (I10)", []step{put(job("a", 1, 1), st("a", cellstate.JobFailed, func(s *cellstate.JobStatus) { s.Tasks = []cellstate.TaskState{{Task: 0, GaveUp: true}} }))}, nil, nil},
		{"failed without one (I10)", []step{put(job("a", 1, 1), st("a", cellstate.JobFailed))}, []string{"1 I10 jobs/batch/a/status"}, nil},
		{"every task has a state (I10)", []step{put(job("a", 3, 1), led("m1", cl(a, 1)), st("a", cellstate.JobRunning, tasksDone(1, 2), func(s *cellstate.JobStatus) { s.Tasks = []cellstate.TaskState{{Task: 2}} }))}, nil, nil},
		{"a task without one (I10)", []step{put(job("a", 3, 1), led("m1", cl(a, 1)), st("a", cellstate.JobRunning, tasksDone(1, 2)))}, []string{"1 I10 jobs/batch/a/status"}, nil},
		{"a job of which nothing is placed (I10)", []step{put(job("a", 3, 1), st("a", cellstate.JobPending))}, nil, nil},
		{"an explanation is one (I10)", []step{put(job("a", 3, 1), st("a", cellstate.JobRunning, func(s *cellstate.JobStatus) { s.Explanation = &cellstate.Explanation{} }))}, nil, nil},

		{"a value nobody can read", []step{put(), {bad: []string{"/omegacell/c/ledgers/m1"}}}, []string{"2 corrupt /omegacell/c/ledgers/m1"}, nil},
		{"a claim whose job is gone", []step{put(job("a", 1, 1), led("m1", cl(a, 1))), {delete: []cellstate.Key{cellstate.JobKey("batch", "a")}}}, []string{"2 orphan ledgers/m1"}, nil},
		{"a claim that never had a job", []step{put(led("m1", cl(a, 1)))}, nil, []string{"1 orphan jobs/"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// Jobs of no interest here stand in for those that the claims would lack.
			if !strings.Contains(tt.name, "job") && !strings.Contains(tt.name, "I7") {
				tt.steps = slices.Clone(tt.steps)
				tt.steps[0].put = append(slices.Clone(tt.steps[0].put), others(tt.steps[0].put)...)
			}
			r := check(tt.steps...)
			if got := brief(r.Violations); !slices.Equal(got, tt.violations) {
				t.Errorf("violations %q, want %q\n%v", got, tt.violations, r.Violations)
			}
			if got := brief(r.Notes); !slices.Equal(got, tt.notes) {
				t.Errorf("notes %q, want %q\n%v", got, tt.notes, r.Notes)
			}
			if r.Violated != len(r.Violations) || r.Noted != len(r.Notes) {
				t.Errorf("counted %d and %d, listed %d and %d", r.Violated, r.Noted, len(r.Violations), len(r.Notes))
			}
		})
	}
}

// others returns jobs by the names that claims have here, but for those that are given.
func others(given []cellstate.Value) []cellstate.Value {
	var out []cellstate.Value
	for _, name := range []string{"a", "b", "g"} {
		j := job(name, 1, 1)
		if !slices.ContainsFunc(given, func(v cellstate.Value) bool { return v.Key() == j.Key() }) {
			out = append(out, j)
		}
	}
	return out
}

func brief(all []Finding) []string {
	var out []string
	for _, f := range all {
		out = append(out, fmt.Sprintf("%d %s %s", f.Rev, f.Invariant, f.Key))
	}
	return out
}

func TestFindingsAreListedOnceAndBounded(t *testing.T) {
	over := led("m1", cl(id("a", 0, 0), 1001))
	steps := []step{put()}
	for range 5 {
		steps = append(steps, put(over))
	}
	var bad []string
	for n := range MaxFindings + 5 {
		bad = append(bad, fmt.Sprintf("/omegacell/c/x/%d", n))
	}
	r := check(append(steps, step{bad: bad})...)
	if len(r.Violations) != MaxFindings || r.Violated < MaxFindings+5 {
		t.Errorf("%d listed of %d", len(r.Violations), r.Violated)
	}
	if n := len(slices.DeleteFunc(r.Violations, func(f Finding) bool { return f.Invariant != "I1" || f.Rev == 2 })); n != 0 {
		t.Errorf("%d breaches of I1 were reported again at a later revision", n)
	}
}

func TestReportMayBeAskedForBetween(t *testing.T) {
	c := NewChecker()
	claim := led("m1", cl(id("a", 0, 0), 1))
	for rev := range int64(3) {
		c.Apply(history.Revision{Rev: rev + 1, Base: rev == 0, Entries: []history.Entry{{Record: cellstate.Record{Key: claim.Key(), Value: claim}}}})
		if r := c.Report(); len(r.Notes) != 1 || r.To != rev+1 || r.Claims != 1 || r.Keys != 1 {
			t.Errorf("after revision %d: %+v", rev+1, r)
		}
	}
}
