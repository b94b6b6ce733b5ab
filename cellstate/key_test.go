package cellstate

import (
	"fmt"
	"slices"
	"testing"
)

func TestKeys(t *testing.T) {
	values := []struct {
		v    Value
		key  Key
		text string
	}{
		{&Ledger{Machine: "m1"}, LedgerKey("m1"), "ledger m1"},
		{&Report{Machine: "m1"}, ReportKey("m1"), "report m1"},
		{&Session{Machine: "m1"}, SessionKey("m1"), "session m1"},
		{&Machine{Name: "m1"}, MachineKey("m1"), "machine m1"},
		{&Tenant{Name: "team"}, TenantKey("team"), "tenant team"},
		{&Job{Scheduler: "batch", Name: "hello"}, JobKey("batch", "hello"), "job batch/hello"},
		{&JobStatus{Scheduler: "batch", Job: "hello"}, StatusKey("batch", "hello"), "status batch/hello"},
		{&Scheduler{Name: "batch"}, SchedulerKey("batch"), "scheduler batch"},
		{&Leader{Scheduler: "batch", Shard: 7}, LeaderKey("batch", 7), "leader batch/7"},
	}
	var kinds []Kind
	for i, v := range values {
		if v.v.Key() != v.key || v.key.String() != v.text {
			t.Errorf("%T is under %q, want %q", v.v, v.v.Key(), v.text)
		}
		kinds = append(kinds, v.key.Kind)
		for j, o := range values {
			if want := j == i; v.key.Only().Contains(o.key) != want || (v.key.Compare(o.key) == 0) != want {
				t.Errorf("%s alone contains %s, or is equal to it", v.key, o.key)
			}
		}
		if i > 0 && values[i-1].key.Compare(v.key) >= 0 {
			t.Errorf("%s is not before %s", values[i-1].key, v.key)
		}
	}
	if !slices.Equal(kinds, Kinds()) {
		t.Errorf("values of kinds %v, want one of each of %v", kinds, Kinds())
	}
}

func TestRange(t *testing.T) {
	for _, tt := range []struct {
		r  Range
		k  Key
		in bool
	}{
		{Range{}, LedgerKey("m1"), true},
		{Range{Kind: KindLedger}, LedgerKey("m1"), true},
		{Range{Kind: KindLedger}, ReportKey("m1"), false},
		{Range{Kind: KindJob, Scope: "batch"}, JobKey("batch", "a"), true},
		{Range{Kind: KindJob, Scope: "batch"}, JobKey("batch2", "a"), false},
		{Range{Kind: KindJob, Scope: "batch"}, StatusKey("batch", "a"), false},
		{Range{Kind: KindJob, Scope: "batch", Name: "a"}, JobKey("batch", "a"), true},
		{Range{Kind: KindJob, Scope: "batch", Name: "a"}, JobKey("batch", "ab"), false},
	} {
		if tt.r.Contains(tt.k) != tt.in {
			t.Errorf("%+v contains %s = %v, want %v", tt.r, tt.k, !tt.in, tt.in)
		}
	}
}

// TestWithRev: who keeps a revision gets it in a copy; the others are shared.
func TestWithRev(t *testing.T) {
	for _, v := range []Value{&Ledger{}, &Job{}, &JobStatus{}, &Tenant{}, &Report{}, &Session{}, &Machine{}, &Scheduler{}, &Leader{}} {
		n := WithRev(v, 7)
		var was, is int64
		switch n := n.(type) {
		case *Ledger:
			was, is = v.(*Ledger).Rev, n.Rev
		case *Job:
			was, is = v.(*Job).Rev, n.Rev
		case *JobStatus:
			was, is = v.(*JobStatus).Rev, n.Rev
		case *Tenant:
			was, is = v.(*Tenant).Rev, n.Rev
		default:
			if n != v {
				t.Errorf("%T keeps no revision but was copied", v)
			}
			continue
		}
		if n == v || was != 0 || is != 7 {
			t.Errorf("%T: revision %d, and %d in the original", v, is, was)
		}
	}
}

// TestWith: a planner that reckons with its own decision sees what the commit will make of it.
func TestWith(t *testing.T) {
	there := claimOf("s", "b", 0, Resources{CPUMilli: 100, GPUMilli: 300})
	there.GPUs = []GPUShare{{1, 300}}
	l := ledgerOf(Resources{CPUMilli: 1000, GPUMilli: 2000}, there)
	for _, task := range []string{"a", "c"} { // before and after what is there
		c := claimOf("s", task, 0, Resources{CPUMilli: 100, GPUMilli: 500})
		got := l.With(c)
		o, err := Commit(newCell(l), &Txn{ID: "t", Scheduler: "s", Mode: Incremental, Rule: FitRule, Add: []Claim{c}}, Limits{})
		if err != nil || len(o.Ledgers) != 1 {
			t.Fatal(o, err)
		}
		if want := o.Ledgers[0]; fmt.Sprint(got.Claims) != fmt.Sprint(want.Claims) || !got.Used().Equal(want.Used()) {
			t.Errorf("With %s = %+v, the commit makes %+v", task, got, want)
		}
	}
	if len(l.Claims) != 1 || l.Used().CPUMilli != 100 || l.Live() != 1 {
		t.Errorf("With changed the ledger it was asked about: %+v", l)
	}
}

func TestLookUps(t *testing.T) {
	m := &Machine{Name: "m1", Attributes: map[string]string{"os": "linux", "name": "x"}, Labels: map[string]string{"os": "mine", "team": "a"}}
	for name, want := range map[string]string{"name": "m1", "os": "linux", "team": "a"} {
		if got, ok := m.Attribute(name); got != want || !ok {
			t.Errorf("attribute %s = %q, %v", name, got, ok)
		}
	}
	if _, ok := m.Attribute("arch"); ok {
		t.Error("an attribute that is not there was found")
	}
	id := ClaimID{Scheduler: "s", Job: "a"}
	r := &Report{Claims: []ClaimStatus{{ID: id, Phase: PhaseEnded, Outcome: OutcomeExited}}}
	if s := r.Find(id); s != &r.Claims[0] || !s.Succeeded() {
		t.Errorf("status %+v", s)
	}
	if r.Find(ClaimID{}) != nil || (*Report)(nil).Find(id) != nil {
		t.Error("a status that is not there was found")
	}
	for _, s := range []ClaimStatus{{Phase: PhaseStopping, Outcome: OutcomeExited}, {Phase: PhaseEnded, Outcome: OutcomeOOM},
		{Phase: PhaseEnded, Outcome: OutcomeExited, ExitCode: 1}} {
		if s.Succeeded() {
			t.Errorf("%+v succeeded", s)
		}
	}
}

// TestShards: every job belongs to one shard, for as long as their number stays, and no shard is left idle.
func TestShards(t *testing.T) {
	jobs := map[uint32]int{}
	for i := range 400 {
		j := &Job{Scheduler: "batch", Name: fmt.Sprintf("job-%d", i), Tasks: 3, Task: TaskSpec{Resources: cpu(100)}}
		s := j.Shard(4)
		if s != j.Shard(4) || s > 3 || j.Shard(1) != 0 || j.Shard(0) != 0 {
			t.Fatalf("%s is in shard %d of 4, %d of 1", j.Name, s, j.Shard(1))
		}
		jobs[s]++
		if d := j.Demand(); !d.Equal(cpu(300)) {
			t.Fatalf("three tasks of 100m demand %s", d)
		}
	}
	for s, n := range jobs {
		if n < 50 || len(jobs) != 4 {
			t.Errorf("shard %d has %d of 400 jobs: %v", s, n, jobs)
		}
	}
}
