package schedulers

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/omegacell/omegacell/cellstate"
)

// ranges makes ranges of their bounds: from, to, from, to…
func ranges(bounds ...uint32) (out []cellstate.TaskRange) {
	for b := range slices.Chunk(bounds, 2) {
		out = append(out, cellstate.TaskRange{From: b[0], To: b[1]})
	}
	return out
}

func TestHistoryDone(t *testing.T) {
	for _, tt := range []struct {
		name string
		have []cellstate.TaskRange
		task uint32
		want []cellstate.TaskRange
	}{
		{"the first", nil, 3, ranges(3, 4)},
		{"again", ranges(3, 4), 3, ranges(3, 4)},
		{"the last of a range again", ranges(3, 6), 5, ranges(3, 6)},
		{"just before a range", ranges(3, 6), 2, ranges(2, 6)},
		{"one further before", ranges(3, 6), 1, ranges(1, 2, 3, 6)},
		{"just after a range", ranges(3, 6), 6, ranges(3, 7)},
		{"one further after", ranges(3, 6), 7, ranges(3, 6, 7, 8)},
		{"the gap between two", ranges(0, 2, 3, 6), 2, ranges(0, 6)},
		{"the highest there is", ranges(0, 2), 1<<32 - 2, ranges(0, 2, 1<<32-2, 1<<32-1)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := NewHistory(cellstate.JobStatus{Done: tt.have})
			h.SetDone(tt.task)
			if !slices.Equal(h.Done, tt.want) {
				t.Errorf("Done = %v, want %v", h.Done, tt.want)
			}
			if len(tt.have) > 0 && !h.IsDone(tt.have[0].From) || !h.IsDone(tt.task) {
				t.Error("IsDone does not agree")
			}
		})
	}
}

// TestHistoryAgainstASet compares the ranges with a plain set, tasks coming in any order.
func TestHistoryAgainstASet(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		tasks := 1 + uint32(rng.IntN(20))
		h, set := NewHistory(cellstate.JobStatus{}), make(map[uint32]bool)
		for range 30 {
			n := uint32(rng.IntN(int(tasks)))
			h.SetDone(n)
			set[n] = true
		}
		for shrunk := range tasks + 2 {
			want := uint32(0)
			for n := range set {
				if n < shrunk {
					want++
				}
			}
			if got := h.DoneCount(shrunk); got != want {
				t.Fatalf("DoneCount(%d) of %v = %d, want %d", shrunk, h.Done, got, want)
			}
			if h.IsDone(shrunk) != set[shrunk] {
				t.Fatalf("IsDone(%d) of %v = %v", shrunk, h.Done, h.IsDone(shrunk))
			}
		}
		for i := 1; i < len(h.Done); i++ {
			if h.Done[i-1].To >= h.Done[i].From {
				t.Fatalf("ranges %v overlap or touch", h.Done)
			}
		}
	}
}

// TestHistoryIsACopy: a snapshot's status is shared and not to be changed.
func TestHistoryIsACopy(t *testing.T) {
	s := cellstate.JobStatus{Done: make([]cellstate.TaskRange, 1, 4), Tasks: make([]cellstate.TaskState, 1, 4)}
	s.Done[0] = cellstate.TaskRange{From: 4, To: 5}
	h := NewHistory(s)
	h.SetDone(3)
	h.SetTask(cellstate.TaskState{Task: 0, Attempt: 2})
	if s.Done[0].From != 4 || s.Tasks[0].Attempt != 0 {
		t.Errorf("the original is now %+v", s)
	}
}

func TestHistoryAgain(t *testing.T) {
	const base, limit = time.Second, time.Minute
	for _, tt := range []struct {
		name     string
		failures uint32
		failed   bool
		wait     time.Duration
	}{
		{"first failure", 0, true, base},
		{"second", 1, true, 2 * base},
		{"the last that is doubled", 5, true, 32 * time.Second},
		{"the first at the limit", 6, true, limit},
		{"where doubling would overflow", 1 << 31, true, limit},
		{"no failure", 5, false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := NewHistory(cellstate.JobStatus{Tasks: []cellstate.TaskState{{Task: 2, Attempt: 3, Failures: tt.failures, NotBefore: 99}}})
			c := claimView(2, 3, nil)
			if h.Recorded(c.Claim.ID) {
				t.Error("recorded before it was")
			}
			got := h.Again(c, tt.failed, 1000, base, limit)
			want := tt.failures
			notBefore := cellstate.Instant(0)
			if tt.failed {
				want, notBefore = want+1, cellstate.Instant(1000).Add(tt.wait)
			}
			if got.Attempt != 4 || got.Failures != want || got.NotBefore != notBefore || got.Last.Outcome != cellstate.OutcomeLost {
				t.Errorf("%+v, want attempt 4, %d failures, not before %d", got, want, notBefore)
			}
			if next := claimView(2, 4, nil); !h.Recorded(c.Claim.ID) || h.Recorded(next.Claim.ID) {
				t.Error("want attempt 3 recorded and attempt 4 not")
			}
		})
	}
}

func claimView(task, attempt uint32, s *cellstate.ClaimStatus) cellstate.ClaimView {
	return cellstate.ClaimView{
		Claim:   &cellstate.Claim{ID: cellstate.ClaimID{Scheduler: "s", Job: "j", Run: 1, Task: task, Attempt: attempt}, Machine: "m"},
		Status:  s,
		Machine: &cellstate.MachineView{Ledger: cellstate.NewLedger("m", cellstate.Resources{})},
	}
}

func TestFailed(t *testing.T) {
	for _, tt := range []struct {
		name    string
		status  *cellstate.ClaimStatus
		end     cellstate.Instant
		evicted bool
		want    bool
	}{
		{"nobody saw how", nil, 0, false, false},
		{"exit 0", &cellstate.ClaimStatus{Outcome: cellstate.OutcomeExited}, 0, false, false},
		{"exit 1", &cellstate.ClaimStatus{Outcome: cellstate.OutcomeExited, ExitCode: 1}, 0, false, true},
		{"exit 1 while asked to go", &cellstate.ClaimStatus{Outcome: cellstate.OutcomeExited, ExitCode: 1}, 0, true, true},
		{"a signal", &cellstate.ClaimStatus{Outcome: cellstate.OutcomeSignaled}, 0, false, true},
		{"out of memory", &cellstate.ClaimStatus{Outcome: cellstate.OutcomeOOM}, 0, false, true},
		{"could not be started", &cellstate.ClaimStatus{Outcome: cellstate.OutcomeFailed}, 0, false, true},
		{"lost", &cellstate.ClaimStatus{Outcome: cellstate.OutcomeLost}, 0, false, false},
		{"stopped without a reason of its own", &cellstate.ClaimStatus{Outcome: cellstate.OutcomeStopped, EndedAt: 50}, 0, false, false},
		{"stopped at its end", &cellstate.ClaimStatus{Outcome: cellstate.OutcomeStopped, EndedAt: 50}, 50, false, true},
		{"stopped just before its end", &cellstate.ClaimStatus{Outcome: cellstate.OutcomeStopped, EndedAt: 49}, 50, false, false},
		{"evicted, and stopped after its end", &cellstate.ClaimStatus{Outcome: cellstate.OutcomeStopped, EndedAt: 50}, 50, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.status != nil {
				tt.status.Phase = cellstate.PhaseEnded
			}
			c := claimView(0, 0, tt.status)
			c.Claim.End = tt.end
			if tt.evicted {
				c.Claim.Evict = &cellstate.Eviction{Deadline: 40}
			}
			if got := Failed(c); got != tt.want {
				t.Errorf("Failed = %v, want %v", got, tt.want)
			}
		})
	}
}

// claims is a snapshot with some claims of one job and nothing else.
type claims struct {
	cellstate.Snapshot
	views []cellstate.ClaimView
}

func (c claims) Claims(string, string) iter.Seq[cellstate.ClaimView] { return slices.Values(c.views) }

func TestClaimsOfLostMachines(t *testing.T) {
	const minute = cellstate.Instant(60_000)
	for _, tt := range []struct {
		name   string
		after  time.Duration // the job's ReplaceAfter
		lostAt cellstate.Instant
		now    cellstate.Instant
		lost   bool
		next   cellstate.Instant
	}{
		{"the agent is there", 0, 0, 5 * minute, false, 0},
		{"the moment before the default", 0, 1, minute, false, minute + 1},
		{"the default", 0, 1, minute + 1, true, 0},
		{"the moment before its own time", time.Second, 1, 1000, false, 1001},
		{"its own time", time.Second, 1, 1001, true, 0},
		{"never", -1, 1, 1000 * minute, false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := claimView(0, 0, nil)
			c.Machine.LostAt = tt.lostAt
			job := Job{Now: tt.now, Job: &cellstate.Job{Run: 1, Disconnect: cellstate.DisconnectPolicy{ReplaceAfter: tt.after}}}
			got := job.Claims(claims{views: []cellstate.ClaimView{c}})
			if lost := len(got.Lost) == 1; lost != tt.lost || lost == (len(got.Live) == 1) || got.LostNext != tt.next {
				t.Errorf("lost %v, live %v, next %d; want lost: %v, next %d", got.Lost, got.Live, got.LostNext, tt.lost, tt.next)
			}
		})
	}
}

// TestClaimsSortedOut: of two live claims of a task the later attempt counts, in whatever order they are found; those of
// another run do not.
func TestClaimsSortedOut(t *testing.T) {
	views := []cellstate.ClaimView{claimView(0, 1, nil), claimView(0, 0, nil), claimView(1, 0, nil), claimView(2, 0, nil), claimView(2, 1, nil), claimView(3, 0, nil)}
	views[3].Claim.Ended = true
	views[5].Claim.ID.Run = 2
	want := "live [0.1 1.0 2.1] ended [2.0] extra [0.0]"
	for range 2 {
		slices.Reverse(views)
		got := (Job{Job: &cellstate.Job{Run: 1}}).Claims(claims{views: views})
		if s := fmt.Sprintf("live %v ended %v extra %v", ids(got.Live), ids(got.Ended), ids(got.Extra)); s != want {
			t.Errorf("%s, want %s", s, want)
		}
	}
}

func ids(views []cellstate.ClaimView) []string {
	var out []string
	for _, c := range views {
		out = append(out, fmt.Sprintf("%d.%d", c.Claim.ID.Task, c.Claim.ID.Attempt))
	}
	return out
}

// TestEndCountsOnce: an end that the status tells of already, because the claim's removal failed, is not counted again (I5); the
// removal is repeated.
func TestEndCountsOnce(t *testing.T) {
	failed := claimView(0, 0, &cellstate.ClaimStatus{Phase: cellstate.PhaseEnded, Outcome: cellstate.OutcomeExited, ExitCode: 1})
	failed.Claim.Ended = true
	gone := claimView(1, 0, nil)
	gone.Machine.LostAt = 1
	snap := claims{views: []cellstate.ClaimView{failed, gone}}
	job := Job{Now: 1_000_000, Job: &cellstate.Job{Run: 1, Tasks: 2, Retries: 1}}
	for i := range 3 {
		plan, _ := RunToCompletion(snap, job)
		h := NewHistory(plan.Status)
		if a, b := h.Task(0), h.Task(1); a.Attempt != 1 || a.Failures != 1 || a.GaveUp || b.Attempt != 1 || b.Failures != 0 {
			t.Fatalf("plan %d: tasks %+v, want one failure of task 0 and one loss of task 1", i, h.Tasks)
		}
		if len(plan.Remove) != 2 {
			t.Errorf("plan %d removes %v, want both claims", i, plan.Remove)
		}
		job.Status = plan.Status
	}
}

func TestWithout(t *testing.T) {
	for _, tt := range []struct {
		name string
		live []uint32
		done []cellstate.TaskRange
		n    uint32
		want []uint32
	}{
		{"nothing", nil, nil, 0, nil},
		{"all", nil, nil, 3, []uint32{0, 1, 2}},
		{"the first and the last live", []uint32{0, 3}, nil, 4, []uint32{1, 2}},
		{"live beyond the job", []uint32{1, 4}, nil, 4, []uint32{0, 2, 3}},
		{"done", nil, []cellstate.TaskRange{{From: 1, To: 3}, {From: 4, To: 6}}, 7, []uint32{0, 3, 6}},
		{"done to the end, and beyond", nil, []cellstate.TaskRange{{From: 2, To: 9}}, 4, []uint32{0, 1}},
		{"live and done", []uint32{1, 5}, []cellstate.TaskRange{{From: 0, To: 2}, {From: 4, To: 7}}, 8, []uint32{2, 3, 7}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var tasks Tasks
			for _, n := range tt.live {
				tasks.Live = append(tasks.Live, cellstate.ClaimView{Claim: &cellstate.Claim{ID: cellstate.ClaimID{Task: n}}})
			}
			if got := slices.Collect(tasks.Without(tt.n, tt.done)); !slices.Equal(got, tt.want) {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}
