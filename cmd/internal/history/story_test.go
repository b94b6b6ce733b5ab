package history

import (
	"slices"
	"strings"
	"testing"

	"github.com/omegacell/omegacell/cellstate"
)

func claimID(task, attempt uint32) cellstate.ClaimID {
	return cellstate.ClaimID{Scheduler: "batch", Job: "a", Run: 0xff, Task: task, Attempt: attempt}
}

func ledger(machine string, claims ...cellstate.Claim) *cellstate.Ledger {
	l := cellstate.NewLedger(machine, cellstate.Resources{CPUMilli: 1000})
	l.Claims = claims
	return l.Sum()
}

func claim(task uint32, change ...func(*cellstate.Claim)) cellstate.Claim {
	c := cellstate.Claim{ID: claimID(task, 0), Precedence: 100, Resources: cellstate.Resources{CPUMilli: 100}}
	for _, f := range change {
		f(&c)
	}
	return c
}

func report(s ...cellstate.ClaimStatus) *cellstate.Report {
	return &cellstate.Report{Machine: "m1", Epoch: 1, Claims: s}
}

func job(change ...func(*cellstate.Job)) *cellstate.Job {
	j := &cellstate.Job{Scheduler: "batch", Name: "a", Run: 1, Version: 1, Precedence: 100, Tasks: 2}
	for _, f := range change {
		f(j)
	}
	return j
}

func status(change ...func(*cellstate.JobStatus)) *cellstate.JobStatus {
	s := &cellstate.JobStatus{Scheduler: "batch", Job: "a", Run: 1, Version: 1, Phase: cellstate.JobPending}
	for _, f := range change {
		f(s)
	}
	return s
}

// from is a change from one value to another; nil is none.
func from(old, now cellstate.Value) cellstate.Change {
	c := cellstate.Change{}
	if old != nil {
		c.Key, c.Old = old.Key(), old
	}
	if now != nil {
		c.Key, c.New = now.Key(), now
	}
	return c
}

func TestStory(t *testing.T) {
	by := claimID(9, 0)
	cordoned, draining, small := ledger("m1"), ledger("m1"), ledger("m1")
	cordoned.Cordoned = true
	draining.Drain = &cellstate.Drain{Deadline: 1000, Reason: "disks"}
	small.Capacity.CPUMilli = 500
	running := cellstate.ClaimStatus{ID: claimID(0, 0), Phase: cellstate.PhaseRunning, PID: 7}
	for _, tt := range []struct {
		name    string
		changes []cellstate.Change
		want    []string
	}{
		{"submitted", []cellstate.Change{from(nil, job())}, []string{"job-submitted batch/a tasks 2 of nothing, precedence 100"}},
		{"changed", []cellstate.Change{from(job(), job(func(j *cellstate.Job) { j.Version, j.Tasks = 2, 5 }))}, []string{"job-changed batch/a to version 2: tasks 5 of nothing, precedence 100, tasks were 2"}},
		{"changed in place", []cellstate.Change{from(job(), job(func(j *cellstate.Job) { j.Tasks = 3 }))}, []string{"job-changed batch/a in place: tasks 3 of nothing, precedence 100, tasks were 2"}},
		{"submitted again", []cellstate.Change{from(job(), job(func(j *cellstate.Job) { j.Run = 2 }))}, []string{"job-restarted batch/a tasks 2 of nothing, precedence 100"}},
		{"to be stopped", []cellstate.Change{from(job(), job(func(j *cellstate.Job) { j.Stopped = true }))}, []string{"job-stopping batch/a"}},
		{"purged", []cellstate.Change{from(job(), nil), from(status(), nil)}, []string{"job-purged batch/a"}},
		{"nothing new", []cellstate.Change{from(job(), job()), from(status(), status()), from(ledger("m1", claim(0)), ledger("m1", claim(0))), from(report(running), report(running))}, nil},

		{"placed", []cellstate.Change{from(ledger("m1"), ledger("m1", claim(0)))}, []string{"claim-placed m1 batch/a@ff/0.0 cpu=100m, precedence 100, from -"}},
		{"moved", []cellstate.Change{from(ledger("m2"), ledger("m2", claim(0))), from(ledger("m1", claim(0)), ledger("m1"))}, []string{"claim-moved m2 batch/a@ff/0.0 from m1"}},
		{"removed alive", []cellstate.Change{from(ledger("m1", claim(0)), ledger("m1"))}, []string{"claim-removed m1 batch/a@ff/0.0 before it ended"}},
		{"acknowledged", []cellstate.Change{from(ledger("m1", claim(0, func(c *cellstate.Claim) { c.Ended = true })), ledger("m1"))}, []string{"claim-removed m1 batch/a@ff/0.0 after it had ended"}},
		{"evicted", []cellstate.Change{from(ledger("m1", claim(0)), ledger("m1", claim(0, func(c *cellstate.Claim) {
			c.Evict = &cellstate.Eviction{Deadline: 1000, Reason: "preempted", By: by}
		})))}, []string{"claim-evicted m1 batch/a@ff/0.0 deadline 1970-01-01T00:00:01.000Z, by batch/a@ff/9.0: preempted"}},
		{"cordoned", []cellstate.Change{from(ledger("m1"), cordoned)}, []string{"machine-cordoned m1"}},
		{"uncordoned", []cellstate.Change{from(cordoned, ledger("m1"))}, []string{"machine-uncordoned m1"}},
		{"drained", []cellstate.Change{from(ledger("m1"), draining)}, []string{"machine-draining m1 until 1970-01-01T00:00:01.000Z: disks"}},
		{"not drained", []cellstate.Change{from(draining, ledger("m1"))}, []string{"machine-undrained m1"}},
		{"resized", []cellstate.Change{from(ledger("m1"), small)}, []string{"machine-resized m1 from cpu=1000m to cpu=500m"}},
		{"gone with its claims", []cellstate.Change{from(ledger("m1", claim(0)), nil)}, []string{"claim-removed m1 batch/a@ff/0.0 before it ended", "machine-gone m1"}},

		{"started", []cellstate.Change{from(report(), report(running))}, []string{"task-running m1 batch/a@ff/0.0 pid 7"}},
		{"started again", []cellstate.Change{from(report(running), report(cellstate.ClaimStatus{ID: claimID(0, 0), Phase: cellstate.PhaseStarting, Restarts: 1}))}, []string{"task-starting m1 batch/a@ff/0.0 restart 1"}},
		{"ended", []cellstate.Change{from(report(running), report(cellstate.ClaimStatus{ID: claimID(0, 0), Phase: cellstate.PhaseEnded, Outcome: cellstate.OutcomeSignaled, Signal: 11}))}, []string{"task-ended m1 batch/a@ff/0.0 ended by SIGSEGV"}},
		{"unhealthy", []cellstate.Change{from(report(running), report(cellstate.ClaimStatus{ID: claimID(0, 0), Phase: cellstate.PhaseRunning, PID: 7, Health: cellstate.Unhealthy, Message: "no answer"}))}, []string{"task-unhealthy m1 batch/a@ff/0.0 no answer"}},

		{"agent up", []cellstate.Change{from(nil, &cellstate.Session{Machine: "m1", Epoch: 1, Version: "v1"})}, []string{"machine-up m1 epoch 1, agent v1"}},
		{"agent restarted", []cellstate.Change{from(&cellstate.Session{Machine: "m1", Epoch: 1}, &cellstate.Session{Machine: "m1", Epoch: 2})}, []string{"machine-up m1 epoch 2, agent "}},
		{"agent lost", []cellstate.Change{from(&cellstate.Session{Machine: "m1", Epoch: 1}, nil)}, []string{"machine-lost m1 epoch 1"}},

		{"parked", []cellstate.Change{from(status(), status(func(s *cellstate.JobStatus) {
			s.Explanation = &cellstate.Explanation{Parked: true, Unplaced: 2, Looked: 3, Rules: []cellstate.RuleCount{{Rule: "cordoned", Count: 3}}, Unblock: "uncordon"}
		}))}, []string{"job-parked batch/a unplaced 2; machines looked at 3, eligible 0; ruled out by cordoned 3; uncordon"}},
		{"runs", []cellstate.Change{from(status(), status(func(s *cellstate.JobStatus) { s.Phase = cellstate.JobRunning }))}, []string{"job-running batch/a"}},
		{"retried", []cellstate.Change{from(status(), status(func(s *cellstate.JobStatus) {
			s.Tasks = []cellstate.TaskState{{Task: 1, Attempt: 1, Failures: 1, NotBefore: 1000, Last: cellstate.ClaimStatus{ID: claimID(1, 0), Phase: cellstate.PhaseEnded, Outcome: cellstate.OutcomeExited, ExitCode: 2}}}
		}))}, []string{"task-retried batch/a@ff/1.0 failures 1, attempt 1 not before 1970-01-01T00:00:01.000Z, the last: exited with code 2"}},
		{"given up, then failed", []cellstate.Change{from(status(), status(func(s *cellstate.JobStatus) {
			s.Phase, s.Message = cellstate.JobFailed, "too often"
			s.Tasks = []cellstate.TaskState{{Task: 1, Failures: 3, GaveUp: true, Last: cellstate.ClaimStatus{ID: claimID(1, 2), Phase: cellstate.PhaseEnded, Outcome: cellstate.OutcomeOOM}}}
		}))}, []string{"task-gave-up batch/a@ff/1.2 failures 3, the last: out of memory", "job-failed batch/a too often"}},
		{"rollout", []cellstate.Change{from(status(), status(func(s *cellstate.JobStatus) {
			s.Rollout = &cellstate.Rollout{Version: 2, Phase: cellstate.RolloutHalted, Message: "unhealthy"}
		}))}, []string{"rollout-halted batch/a version 2: unhealthy"}},

		{"quota", []cellstate.Change{from(nil, &cellstate.Tenant{Name: "t", Bands: []cellstate.BandQuota{{Band: cellstate.BandBatch, Limit: cellstate.Resources{CPUMilli: 5}}}})}, []string{"tenant-changed t may use cpu=5m in band batch"}},
		{"leader", []cellstate.Change{from(nil, &cellstate.Leader{Scheduler: "batch", Holder: "h:1"})}, []string{"leader-elected of batch shard 0: h:1"}},
		{"causes come before effects", []cellstate.Change{from(report(), report(running)), from(ledger("m1"), ledger("m1", claim(0))), from(nil, job())}, []string{
			"job-submitted batch/a tasks 2 of nothing, precedence 100", "claim-placed m1 batch/a@ff/0.0 cpu=100m, precedence 100, from -", "task-running m1 batch/a@ff/0.0 pid 7",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, e := range Story(5, tt.changes) {
				if e.Rev != 5 {
					t.Errorf("event of revision %d", e.Rev)
				}
				got = append(got, e.String())
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

func TestWhatsPrint(t *testing.T) {
	seen := make(map[string]bool)
	for _, w := range Whats() {
		if s := w.String(); s == "unknown" || seen[s] {
			t.Errorf("event %d prints %q", w, s)
		}
		seen[w.String()] = true
	}
}

// TestCorruptValueIsPassedOver: what comes after it is compared with what was before.
func TestCorruptValueIsPassedOver(t *testing.T) {
	c := NewCell()
	entry := func(v cellstate.Value) Entry { return Entry{Record: cellstate.Record{Key: v.Key(), Value: v}} }
	c.Apply(Revision{Rev: 1, Base: true, Entries: []Entry{entry(ledger("m1", claim(0)))}})
	bad := Entry{Record: cellstate.Record{Key: cellstate.LedgerKey("m1"), Raw: "ledgers/m1", Err: cellstate.ErrInvalid}}
	if e := c.Apply(Revision{Rev: 2, Entries: []Entry{bad}}); len(e) != 1 || e[0].What != Corrupt {
		t.Errorf("a value that cannot be read: %v", e)
	}
	if e := c.Apply(Revision{Rev: 3, Entries: []Entry{entry(ledger("m1", claim(0), claim(1)))}}); len(e) != 1 || e[0].What != ClaimPlaced {
		t.Errorf("after it: %v", e)
	}
}
