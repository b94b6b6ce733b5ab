package submit

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/memstore"
)

// cell is a cell with scheduler batch, up to precedence 199, and a way to look at it.
type cell struct {
	t *testing.T
	*memstore.Store
}

func newCell(t *testing.T) cell {
	c := cell{t, memstore.New(memstore.Config{})}
	c.put(&cellstate.Scheduler{Name: "batch", MaxPrecedence: 199, Shards: 1})
	c.put(&cellstate.Scheduler{Name: "off", MaxPrecedence: 199, Shards: 1, Disabled: true})
	return c
}

func (c cell) put(v cellstate.Value) {
	c.t.Helper()
	now, err := cellstate.Get(c.t.Context(), c, v.Key())
	if err != nil {
		c.t.Fatal(err)
	}
	s := cellstate.Swap{Guards: []cellstate.Guard{{Key: v.Key(), Rev: now.Rev}}, Put: []cellstate.Put{{Value: v}}}
	if done, err := c.Swap(c.t.Context(), s); err != nil || !done.OK {
		c.t.Fatal(done, err)
	}
}

func (c cell) get(k cellstate.Key) cellstate.Value {
	c.t.Helper()
	r, err := cellstate.Get(c.t.Context(), c, k)
	if err != nil {
		c.t.Fatal(err)
	}
	return r.Value
}

func (c cell) quota(limit int64) {
	c.t.Helper()
	if _, err := SetQuota(c.t.Context(), c, Quota{"t", cellstate.BandBatch, &cellstate.Resources{CPUMilli: limit}}); err != nil {
		c.t.Fatal(err)
	}
}

func (c cell) admitted() int64 {
	return c.get(cellstate.TenantKey("t")).(*cellstate.Tenant).Bands[0].Admitted.CPUMilli
}

// end makes a job final as its scheduler would, which gives the quota back.
func (c cell) end(name string, p cellstate.JobPhase) {
	c.t.Helper()
	j := c.get(cellstate.JobKey("batch", name)).(*cellstate.Job)
	if t, ok := c.get(cellstate.TenantKey("t")).(*cellstate.Tenant); ok {
		c.put(t.Release(j.Precedence, j.Demand()))
	}
	c.put(&cellstate.JobStatus{Scheduler: "batch", Job: name, Run: j.Run, Version: j.Version, Phase: p})
}

func aJob(name string, tasks uint32) *cellstate.Job {
	return &cellstate.Job{
		Scheduler: "batch", Name: name, Tenant: "t", Precedence: 100, Tasks: tasks,
		Task: cellstate.TaskSpec{Command: []string{"true"}, Resources: cellstate.Resources{CPUMilli: 100}},
	}
}

func TestSubmit(t *testing.T) {
	c := newCell(t)
	c.quota(1000)
	want := func(name string, tasks uint32, o Outcome, run uint32, version uint64, admitted int64) {
		t.Helper()
		r, err := Job(t.Context(), c, aJob(name, tasks), 500, 77)
		if err != nil {
			t.Fatal(err)
		}
		j := c.get(cellstate.JobKey("batch", name)).(*cellstate.Job)
		if r.Outcome != o || j.Run != run || j.Version != version || j.Tasks != tasks || j.SubmittedAt != 500 || c.admitted() != admitted {
			t.Errorf("%s with %d tasks: %s, run %d, version %d, admitted %d; want %s, %d, %d, %d", name, tasks, r.Outcome, j.Run, j.Version, c.admitted(), o, run, version, admitted)
		}
		if (r.Rev == 0) != (o == Unchanged) || o != Unchanged && r.Rev != j.Rev {
			t.Errorf("%s: result says revision %d, the job is of %d", name, r.Rev, j.Rev)
		}
	}
	want("a", 4, Created, 77, 1, 400)
	want("a", 4, Unchanged, 77, 1, 400)
	want("a", 6, Updated, 77, 1, 600)
	want("a", 2, Updated, 77, 1, 200)
	want("b", 8, Created, 77, 1, 1000)

	if _, err := Job(t.Context(), c, aJob("a", 3), 500, 78); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "quota") {
		t.Errorf("one task over the quota: %v", err)
	}
	if j := c.get(cellstate.JobKey("batch", "a")).(*cellstate.Job); j.Tasks != 2 || c.admitted() != 1000 {
		t.Errorf("a refusal left %d tasks, %dm admitted", j.Tasks, c.admitted())
	}

	c.end("b", cellstate.JobSucceeded)
	r, err := Job(t.Context(), c, aJob("b", 8), 600, 79)
	if err != nil || r.Outcome != Restarted || r.Job.Run != 79 || r.Job.Version != 1 || c.admitted() != 1000 {
		t.Errorf("again: %+v, %v, admitted %d", r, err, c.admitted())
	}
	if s := c.get(cellstate.StatusKey("batch", "b")).(*cellstate.JobStatus); s.Phase != cellstate.JobPending || s.Run != 79 {
		t.Errorf("the old run's status stands: %+v", s)
	}
}

func TestSubmitRefused(t *testing.T) {
	c := newCell(t)
	for _, tt := range []struct {
		name   string
		change func(*cellstate.Job)
		kind   error
		says   string
	}{
		{"unknown scheduler", func(j *cellstate.Job) { j.Scheduler = "bath" }, ErrRefused, `["batch" "off"]`},
		{"disabled scheduler", func(j *cellstate.Job) { j.Scheduler = "off" }, ErrRefused, "disabled"},
		{"precedence", func(j *cellstate.Job) { j.Precedence = 200 }, ErrRefused, "199"},
		{"no tasks", func(j *cellstate.Job) { j.Tasks = 0 }, cellstate.ErrInvalid, "0 tasks"},
		{"gang", func(j *cellstate.Job) { j.GangMin = j.Tasks + 1 }, cellstate.ErrInvalid, "gang"},
		{"constraint", func(j *cellstate.Job) {
			j.Constraints = []cellstate.Constraint{{Attribute: "os", Op: cellstate.OpRegexp, Values: []string{"("}}}
		}, cellstate.ErrInvalid, "os regexp ("},
		{"name", func(j *cellstate.Job) { j.Name = "a/b" }, cellstate.ErrInvalid, "a/b"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j := aJob("a", 1)
			tt.change(j)
			if _, err := Job(t.Context(), c, j, 1, 1); !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want %v about %q", err, tt.kind, tt.says)
			}
		})
	}
	if l, err := c.List(t.Context(), cellstate.Range{Kind: cellstate.KindJob}, 0); err != nil || len(l.Records) != 0 {
		t.Errorf("refused jobs are there: %v, %v", l, err)
	}
}

func TestStopAndPurge(t *testing.T) {
	c := newCell(t)
	if _, err := Stop(t.Context(), c, "batch", "a"); !errors.Is(err, ErrNotFound) {
		t.Errorf("stop of what is not there: %v", err)
	}
	if _, err := Job(t.Context(), c, aJob("a", 1), 1, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := Purge(t.Context(), c, "batch", "a"); !errors.Is(err, ErrRefused) {
		t.Errorf("purge of a live job: %v", err)
	}
	for _, o := range []Outcome{Stopping, Unchanged} {
		if r, err := Stop(t.Context(), c, "batch", "a"); err != nil || r.Outcome != o || !r.Job.Stopped || r.Job.Version != 1 {
			t.Errorf("stop: %+v, %v, want %s", r, err, o)
		}
	}
	if _, err := Job(t.Context(), c, aJob("a", 1), 1, 1); !errors.Is(err, ErrRefused) {
		t.Errorf("submitting a job that is being stopped: %v", err)
	}
	l := cellstate.NewLedger("m1", cellstate.Resources{CPUMilli: 100})
	l.Claims = []cellstate.Claim{{ID: cellstate.ClaimID{Scheduler: "batch", Job: "a", Run: 1}}}
	c.put(l.Sum())
	c.end("a", cellstate.JobStopped)
	if _, err := Purge(t.Context(), c, "batch", "a"); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "m1") {
		t.Errorf("purge of a job with a claim left: %v", err)
	}
	c.put(cellstate.NewLedger("m1", cellstate.Resources{CPUMilli: 100}))
	if r, err := Purge(t.Context(), c, "batch", "a"); err != nil || r.Outcome != Purged {
		t.Errorf("purge: %+v, %v", r, err)
	}
	if c.get(cellstate.JobKey("batch", "a")) != nil || c.get(cellstate.StatusKey("batch", "a")) != nil {
		t.Error("a purged job is still there")
	}
}

func TestTenantChange(t *testing.T) {
	c := newCell(t)
	c.quota(1000)
	if _, err := Job(t.Context(), c, aJob("a", 4), 1, 1); err != nil {
		t.Fatal(err)
	}
	j := aJob("a", 4)
	j.Tenant = "other"
	if _, err := Job(t.Context(), c, j, 1, 1); err != nil || c.admitted() != 0 {
		t.Errorf("%v; the tenant it left has %dm admitted", err, c.admitted())
	}
}

func TestSetQuotaCountsLiveJobs(t *testing.T) {
	c := newCell(t)
	for _, n := range []string{"a", "b", "c"} {
		if _, err := Job(t.Context(), c, aJob(n, 2), 1, 1); err != nil {
			t.Fatal(err)
		}
	}
	c.end("c", cellstate.JobFailed)
	c.quota(100)
	if c.admitted() != 400 {
		t.Errorf("admitted %d, want the 400 of two live jobs", c.admitted())
	}
	if _, err := SetQuota(t.Context(), c, Quota{"t", cellstate.BandBatch, nil}); err != nil {
		t.Fatal(err)
	}
	if n := c.get(cellstate.TenantKey("t")).(*cellstate.Tenant); len(n.Bands) != 0 {
		t.Errorf("the quota is still there: %v", n.Bands)
	}
	if _, err := SetQuota(t.Context(), c, Quota{"t", cellstate.BandBestEffort, nil}); !errors.Is(err, cellstate.ErrInvalid) {
		t.Errorf("a quota for best effort: %v", err)
	}
}

// TestQuotaUnderContention is I7 where many submit at once: no more is admitted than the quota holds, and each job there
// is counts.
func TestQuotaUnderContention(t *testing.T) {
	c := newCell(t)
	c.quota(500)
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			_, err := Job(context.Background(), c, aJob(string(rune('a'+n)), 1), 1, uint32(n))
			if err != nil && !errors.Is(err, ErrRefused) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	l, err := c.List(t.Context(), cellstate.Range{Kind: cellstate.KindJob}, 0)
	if err != nil || int64(len(l.Records))*100 != c.admitted() || c.admitted() > 500 {
		t.Errorf("%v: %d jobs of 100m, %dm admitted of 500m", err, len(l.Records), c.admitted())
	}
}

// racing lets somebody else be faster once: between what a request read and what it writes.
type racing struct {
	cell
	before func()
}

func (r *racing) Swap(ctx context.Context, s cellstate.Swap) (cellstate.Swapped, error) {
	if f := r.before; f != nil {
		r.before = nil
		f()
	}
	return r.cell.Swap(ctx, s)
}

// TestLostRaces: what another writer did in between is what a request is then decided on.
func TestLostRaces(t *testing.T) {
	c := newCell(t)
	c.quota(500)
	submit := func(s cellstate.Store, name string, tasks uint32, run uint32) (Result, error) {
		return Job(t.Context(), s, aJob(name, tasks), 1, run)
	}
	must := func(r Result, err error) Result {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	// The quota goes to another.
	_, err := submit(&racing{c, func() { must(submit(c, "a", 3, 1)) }}, "b", 3, 2)
	if !errors.Is(err, ErrRefused) || c.admitted() != 300 {
		t.Errorf("both were admitted, or neither: %v, %dm", err, c.admitted())
	}
	// Another specification comes first: ours replaces it.
	r := must(submit(&racing{c, func() { must(submit(c, "a", 1, 1)) }}, "a", 2, 2))
	if r.Job.Tasks != 2 || c.admitted() != 200 {
		t.Errorf("%d tasks, admitted %dm", r.Job.Tasks, c.admitted())
	}
	// The job ends, which gives its quota back: ours is a new run.
	r = must(submit(&racing{c, func() { c.end("a", cellstate.JobFailed) }}, "a", 4, 9))
	if r.Outcome != Restarted || r.Job.Run != 9 || c.admitted() != 400 {
		t.Errorf("%s, run %d, admitted %dm", r.Outcome, r.Job.Run, c.admitted())
	}
	// The scheduler is disabled.
	_, err = submit(&racing{c, func() { c.put(&cellstate.Scheduler{Name: "batch", MaxPrecedence: 199, Shards: 1, Disabled: true}) }}, "d", 1, 1)
	if !errors.Is(err, ErrRefused) {
		t.Errorf("taken by a disabled scheduler: %v", err)
	}
	c.put(&cellstate.Scheduler{Name: "batch", MaxPrecedence: 199, Shards: 1})
}

// TestLostRacesWithoutQuota is the same where no tenant's record is written by all who race.
func TestLostRacesWithoutQuota(t *testing.T) {
	c := newCell(t)
	must := func(s cellstate.Store, name string, tasks uint32, run uint32) Result {
		t.Helper()
		r, err := Job(t.Context(), s, aJob(name, tasks), 1, run)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	must(&racing{c, func() { must(c, "a", 1, 1) }}, "a", 2, 2)
	if j := c.get(cellstate.JobKey("batch", "a")).(*cellstate.Job); j.Tasks != 2 || j.Run != 1 {
		t.Errorf("%d tasks of run %d", j.Tasks, j.Run)
	}
	r := must(&racing{c, func() { c.end("a", cellstate.JobFailed) }}, "a", 4, 9)
	if r.Outcome != Restarted || r.Job.Run != 9 {
		t.Errorf("%s, run %d", r.Outcome, r.Job.Run)
	}
	for _, other := range []func(){func() { must(c, "b", 1, 1) }, func() { c.end("b", cellstate.JobFailed) }} {
		if _, err := SetQuota(t.Context(), &racing{c, other}, Quota{"t", cellstate.BandBatch, &cellstate.Resources{CPUMilli: 900}}); err != nil {
			t.Fatal(err)
		}
		want := int64(400)
		if s, _ := c.get(cellstate.StatusKey("batch", "b")).(*cellstate.JobStatus); s == nil {
			want = 500
		}
		if c.admitted() != want {
			t.Errorf("admitted %dm, live jobs ask for %dm", c.admitted(), want)
		}
		s := cellstate.Swap{Delete: []cellstate.Key{cellstate.TenantKey("t")}}
		if _, err := c.Swap(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRacesAreBounded: who always loses gives up, and says so.
func TestRacesAreBounded(t *testing.T) {
	c := newCell(t)
	if _, err := Job(t.Context(), losing{c}, aJob("a", 1), 1, 1); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "16 times") {
		t.Errorf("got %v", err)
	}
}

// losing refuses every write, as if somebody were always faster.
type losing struct{ cell }

func (losing) Swap(context.Context, cellstate.Swap) (cellstate.Swapped, error) {
	return cellstate.Swapped{}, nil
}

func TestDryRun(t *testing.T) {
	c := newCell(t)
	r, err := DryRun(t.Context(), c, aJob("a", 1), 1, 1)
	if err != nil || r.Outcome != Created || c.get(cellstate.JobKey("batch", "a")) != nil {
		t.Errorf("%+v, %v; there now: %v", r, err, c.get(cellstate.JobKey("batch", "a")))
	}
}

// TestVersion: a new version is what restarts tasks, so only what they run or where makes one.
func TestVersion(t *testing.T) {
	for name, tt := range map[string]struct {
		change  func(*cellstate.Job)
		version uint64
	}{
		"tasks":      {func(j *cellstate.Job) { j.Tasks = 9 }, 1},
		"retries":    {func(j *cellstate.Job) { j.Retries = 9 }, 1},
		"update":     {func(j *cellstate.Job) { j.Update.MaxParallel = 9 }, 1},
		"disconnect": {func(j *cellstate.Job) { j.Disconnect.ReplaceAfter = 9 }, 1},
		"command":    {func(j *cellstate.Job) { j.Task.Command = []string{"false"} }, 2},
		"resources":  {func(j *cellstate.Job) { j.Task.Resources.CPUMilli = 9 }, 2},
		"precedence": {func(j *cellstate.Job) { j.Precedence = 9 }, 2},
		"spread":     {func(j *cellstate.Job) { j.Spread = []cellstate.Spread{{Attribute: "rack", Weight: 1}} }, 2},
	} {
		c := newCell(t)
		if _, err := Job(t.Context(), c, aJob("a", 4), 1, 1); err != nil {
			t.Fatal(err)
		}
		j := aJob("a", 4)
		tt.change(j)
		r, err := Job(t.Context(), c, j, 1, 2)
		if err != nil || r.Outcome != Updated || r.Job.Version != tt.version {
			t.Errorf("another %s: %+v, %v; want version %d", name, r, err, tt.version)
		}
	}
}

func TestSameSpec(t *testing.T) {
	a, b := aJob("a", 1), aJob("a", 1)
	a.Task.Env, b.Task.Env = nil, map[string]string{}
	a.Constraints = []cellstate.Constraint{}
	a.Run, a.Version, a.SubmittedAt, a.Rev = 1, 2, 3, 4
	if !SameSpec(a, b) {
		t.Error("empty and nil, or what admission sets, make a difference")
	}
	for name, change := range map[string]func(*cellstate.Job){
		"env":      func(j *cellstate.Job) { j.Task.Env = map[string]string{"A": "1"} },
		"command":  func(j *cellstate.Job) { j.Task.Command = []string{"false"} },
		"health":   func(j *cellstate.Job) { j.Task.Health = &cellstate.HealthCheck{TCP: ":1"} },
		"affinity": func(j *cellstate.Job) { j.Affinities = []cellstate.Affinity{{Weight: 1}} },
		"tasks":    func(j *cellstate.Job) { j.Tasks++ },
	} {
		b := aJob("a", 1)
		change(b)
		if SameSpec(a, b) || SameSpec(b, a) {
			t.Errorf("another %s is the same", name)
		}
	}
}

func TestOutcomesPrint(t *testing.T) {
	seen := make(map[string]bool)
	for _, o := range Outcomes() {
		if s := o.String(); s == "unknown" || seen[s] {
			t.Errorf("outcome %d prints %q", o, s)
		}
		seen[o.String()] = true
	}
}
