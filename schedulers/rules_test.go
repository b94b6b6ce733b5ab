package schedulers

import (
	"testing"
	"time"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/schedulers/place"
)

func TestDelay(t *testing.T) {
	for _, tt := range []struct {
		min, max time.Duration
		times    int
		want     time.Duration
	}{
		{5, 1000, 0, 5},
		{5, 1000, 1, 10},
		{5, 1280, 8, 1280}, // the last that is doubled
		{5, 1279, 8, 1279}, // the first that is cut
		{5, 1000, 1 << 40, 1000},
		{time.Hour, 1 << 62, 30, 1 << 62}, // the shift overflows
		{10, 5, 0, 5},
	} {
		if got := delay(tt.min, tt.max, tt.times); got != tt.want {
			t.Errorf("delay(%d, %d, %d) = %d, want %d", tt.min, tt.max, tt.times, got, tt.want)
		}
	}
}

func TestJitter(t *testing.T) {
	for _, d := range []time.Duration{0, 1, 1000} {
		lowest, highest := d, time.Duration(0)
		for range 20_000 {
			got := jitter(d)
			lowest, highest = min(lowest, got), max(highest, got)
		}
		if lowest != d/2 || highest != d/2+d/2 {
			t.Errorf("jitter(%d) is within [%d, %d], want the upper half", d, lowest, highest)
		}
	}
	b := backoff{min: 8, max: 16}
	for i, most := range []time.Duration{8, 16, 16} {
		if got := b.next(); got < most/2 || got > most {
			t.Errorf("wait %d = %d, want %d to %d", i, got, most/2, most)
		}
	}
}

func TestRoomier(t *testing.T) {
	ledger := func(change func(l *cellstate.Ledger)) *cellstate.Ledger {
		l := cellstate.NewLedger("m", cellstate.Resources{CPUMilli: 1000})
		for i := range uint32(2) {
			l.Claims = append(l.Claims, cellstate.Claim{ID: cellstate.ClaimID{Scheduler: "s", Job: "j", Task: i}, Resources: cellstate.Resources{CPUMilli: 300}})
		}
		if change != nil {
			change(l)
		}
		return l.Sum()
	}
	cordoned := func(l *cellstate.Ledger) { l.Cordoned = true }
	drained := func(l *cellstate.Ledger) { l.Drain = &cellstate.Drain{Deadline: 1} }
	ended := func(l *cellstate.Ledger) { l.Claims[0].Ended = true }
	removed := func(l *cellstate.Ledger) { l.Claims = l.Claims[1:] }
	for _, tt := range []struct {
		name    string
		was, is func(l *cellstate.Ledger)
		most    int // claims a machine
		want    bool
	}{
		{name: "nothing", want: false},
		{name: "a claim came", was: removed, want: false},
		{name: "a claim ended", is: ended, want: true},
		{name: "an ended claim was removed", was: ended, is: removed, most: 3, want: false},
		{name: "an ended claim was removed where there were as many as may be", was: ended, is: removed, most: 2, want: true},
		{name: "cordoned", is: cordoned, want: false},
		{name: "no longer cordoned", was: cordoned, want: true},
		{name: "no longer drained", was: drained, want: true},
		{name: "smaller", is: func(l *cellstate.Ledger) { l.Capacity.CPUMilli-- }, want: true}, // it may have more of another thing
	} {
		t.Run(tt.name, func(t *testing.T) {
			lim := cellstate.Limits{ClaimsPerMachine: tt.most}.WithDefaults()
			if got := roomier(ledger(tt.was), ledger(tt.is), lim); got != tt.want {
				t.Errorf("roomier = %v, want %v", got, tt.want)
			}
		})
	}
}

func TestSameStatus(t *testing.T) {
	base := cellstate.JobStatus{Scheduler: "s", Job: "j", Run: 1, Version: 1, Phase: cellstate.JobPending, Explanation: &cellstate.Explanation{Unplaced: 2}}
	for _, tt := range []struct {
		name   string
		change func(s *cellstate.JobStatus)
		same   bool // in all that is written down
		only   bool // in all but the explanation
	}{
		{"nothing", func(*cellstate.JobStatus) {}, true, true},
		{"counts of live tasks", func(s *cellstate.JobStatus) { s.Placed, s.Running, s.Phase = 2, 1, cellstate.JobRunning }, true, true},
		{"when and where", func(s *cellstate.JobStatus) { s.Rev, s.UpdatedAt = 9, 9 }, true, true},
		{"empty lists", func(s *cellstate.JobStatus) { s.Done, s.Tasks = []cellstate.TaskRange{}, []cellstate.TaskState{} }, true, true},
		{"when the explanation was made", func(s *cellstate.JobStatus) {
			s.Explanation = &cellstate.Explanation{Unplaced: 2, At: 9, Rev: 9, Attempts: 9}
		}, true, true},
		{"another explanation", func(s *cellstate.JobStatus) { s.Explanation = &cellstate.Explanation{Unplaced: 3} }, false, true},
		{"no explanation", func(s *cellstate.JobStatus) { s.Explanation = nil }, false, true},
		{"a final phase", func(s *cellstate.JobStatus) { s.Phase = cellstate.JobStopped }, false, false},
		{"a task done", func(s *cellstate.JobStatus) { s.Done = []cellstate.TaskRange{{From: 0, To: 1}} }, false, false},
		{"a task's history", func(s *cellstate.JobStatus) { s.Tasks = []cellstate.TaskState{{Attempt: 1}} }, false, false},
		{"a version", func(s *cellstate.JobStatus) { s.Version = 2 }, false, false},
		{"a message", func(s *cellstate.JobStatus) { s.Message = "stopped" }, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := base
			tt.change(&s)
			if got := sameStatus(&base, &s); got != tt.same {
				t.Errorf("sameStatus = %v, want %v", got, tt.same)
			}
			if got := onlyExplanation(&base, &s); got != tt.only {
				t.Errorf("onlyExplanation = %v, want %v", got, tt.only)
			}
		})
	}
}

func TestWidths(t *testing.T) {
	var w widths
	w.record(0, sample-1)
	if w.now() != 0 {
		t.Errorf("width %d before there was a sample", w.now())
	}
	w.record(sample/2, 1)
	wide := place.NextWidth(0, sample/2, sample)
	if w.now() != wide {
		t.Errorf("width %d after a sample with conflicts, want %d", w.now(), wide)
	}
	w.record(0, sample)
	if want := place.NextWidth(wide, 0, sample); w.now() != want || want >= wide {
		t.Errorf("width %d after a sample without conflicts, want %d, which is less than %d", w.now(), want, wide)
	}
}

// fixed is a snapshot with one scheduler record and nothing else.
type fixed struct {
	cellstate.Snapshot
	scheduler *cellstate.Scheduler
}

func (f fixed) Rev() int64 { return 5 }
func (f fixed) Scheduler(string) (*cellstate.Scheduler, bool) {
	return f.scheduler, f.scheduler != nil
}

func TestHold(t *testing.T) {
	all := &cellstate.Scheduler{MaxPrecedence: 100}
	for _, tt := range []struct {
		name      string
		scheduler *cellstate.Scheduler
		state     jobState
		add       int
		held      bool
		conflicts int // afterwards
	}{
		{"nothing is wrong", all, jobState{}, 2, false, 0},
		{"no record", nil, jobState{}, 2, false, 0},
		{"the last attempt", all, jobState{conflicts: 7}, 2, false, 7},
		{"one conflict too many", all, jobState{conflicts: 8}, 2, true, 0},
		{"too many, and nothing to add", all, jobState{conflicts: 8}, 0, false, 8},
		{"disabled", &cellstate.Scheduler{Disabled: true, MaxPrecedence: 399}, jobState{}, 2, true, 0},
		{"disabled, and nothing to add", &cellstate.Scheduler{Disabled: true, MaxPrecedence: 399}, jobState{}, 0, false, 0},
		{"precedence too high by one", &cellstate.Scheduler{MaxPrecedence: 99}, jobState{}, 2, true, 0},
		{"refused", all, jobState{refused: "bad"}, 2, true, 0},
		{"refused for what it removes", all, jobState{refused: "bad"}, 0, true, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := &Loop{cfg: Config{Name: "s", Attempts: 8}}
			job := &Job{Job: &cellstate.Job{Precedence: 100}}
			plan := &Plan{
				Add: make([]cellstate.Claim, tt.add), Remove: make([]cellstate.ClaimRef, 1),
				Evict: []cellstate.Evict{{Eviction: cellstate.Eviction{Reason: "drain"}}},
			}
			if tt.add > 0 {
				plan.Evict = append(plan.Evict, cellstate.Evict{Eviction: cellstate.Eviction{By: cellstate.ClaimID{Scheduler: "s"}}})
			}
			st := tt.state
			l.hold(fixed{scheduler: tt.scheduler}, job, plan, &st)
			if held := plan.Explanation != nil; held != tt.held || st.conflicts != tt.conflicts {
				t.Fatalf("held: %v, %d conflicts; want %v, %d", held, st.conflicts, tt.held, tt.conflicts)
			}
			if len(plan.Remove) != 1 {
				t.Error("an acknowledgement was taken out")
			}
			if !tt.held {
				if len(plan.Add) != tt.add {
					t.Errorf("%d claims, want the planner's %d", len(plan.Add), tt.add)
				}
				return
			}
			if len(plan.Add) != 0 || len(plan.Evict) != 1 {
				t.Errorf("%d claims and %d evictions are left, want only the eviction that makes room for nothing", len(plan.Add), len(plan.Evict))
			}
			if e := plan.Explanation; !e.Parked || e.Unblock == "" || e.Unplaced != uint32(tt.add) {
				t.Errorf("explanation %+v", e)
			}
		})
	}
}
