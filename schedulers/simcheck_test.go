package schedulers_test

import (
	"context"
	"testing"
	"time"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/schedulers"
)

// checker follows a cell from its first revision on and checks what must hold in each. It shares no code with what it checks but
// the sweep over a ledger and the reading of a job's history.
type checker struct {
	t      *testing.T
	seed   uint64
	faults *faults
	values map[cellstate.Key]cellstate.Value
	where  map[cellstate.ClaimID]string // "" once it has been there and is gone
	shown  map[run]bool                 // gangs of which something was shown
	back   map[string]time.Time         // when a machine's agent came or went
}

// farBehind is more than a scheduler's snapshot can be behind while it leads: then it may still take an agent to be away.
const farBehind = 5 * time.Second

// run is one submission of a job.
type run struct {
	scheduler, job string
	run            uint32
}

func runOf(id cellstate.ClaimID) run { return run{id.Scheduler, id.Job, id.Run} }

func (c *checker) follow(ctx context.Context, s cellstate.Store) {
	for b, err := range s.Watch(ctx, cellstate.Range{}, 2) {
		if err != nil {
			return
		}
		c.batch(b)
	}
}

func (c *checker) failf(rev int64, format string, args ...any) {
	c.t.Errorf("seed %d, revision %d: "+format, append([]any{c.seed, rev}, args...)...)
}

func (c *checker) batch(b cellstate.Batch) {
	old := make(map[cellstate.Key]cellstate.Value)
	for _, e := range b.Events {
		k := e.Record.Key
		old[k] = c.values[k]
		if e.Deleted {
			delete(c.values, k)
		} else {
			c.values[k] = e.Record.Value
		}
	}
	came := make(map[run]uint32)
	for k, was := range old {
		switch k.Kind {
		case cellstate.KindLedger:
			c.ledger(b.Rev, k, was, came)
		case cellstate.KindStatus:
			c.status(b.Rev, k, was)
		case cellstate.KindSession:
			c.back[k.Name] = time.Now()
		case cellstate.KindLeader:
			c.faults.count("leaderships", 1)
		}
	}
	c.tasks(b.Rev)
	c.gangs(b.Rev, came)
	c.quota(b.Rev)
}

func (c *checker) job(scheduler, name string) *cellstate.Job {
	j, _ := c.values[cellstate.JobKey(scheduler, name)].(*cellstate.Job)
	return j
}

func (c *checker) statusOf(scheduler, name string) *cellstate.JobStatus {
	s, _ := c.values[cellstate.StatusKey(scheduler, name)].(*cellstate.JobStatus)
	return s
}

// ledger checks one machine's claims against those before.
func (c *checker) ledger(rev int64, k cellstate.Key, was cellstate.Value, came map[run]uint32) {
	is := c.values[k].(*cellstate.Ledger)
	if s := is.Overcommitted(0); s != (cellstate.Shortage{}) {
		c.failf(rev, "I1: %s holds more than it has: %s", is.Machine, s)
	}
	before, _ := was.(*cellstate.Ledger)
	if before == nil {
		before = cellstate.NewLedger(is.Machine, is.Capacity)
	}
	for i := range before.Claims {
		if o := &before.Claims[i]; is.Find(o.ID) == nil {
			c.where[o.ID] = ""
			c.removed(rev, o)
		}
	}
	for i := range is.Claims {
		n := &is.Claims[i]
		o := before.Find(n.ID)
		if o != nil {
			if o.Ended && !n.Ended {
				c.failf(rev, "I5: %s had ended on %s and is live again", n.ID, is.Machine)
			}
			continue
		}
		c.faults.count("placed", 1)
		if at, known := c.where[n.ID]; known {
			c.failf(rev, "I4: %s comes to %s and was on %q before", n.ID, is.Machine, at)
		}
		c.where[n.ID] = is.Machine
		if n.GangMin > 0 {
			came[runOf(n.ID)]++
		}
	}
}

// removed checks that a claim that is gone had ended and its status says so, or that nobody wants it any more, or that its
// machine was away.
func (c *checker) removed(rev int64, o *cellstate.Claim) {
	j, s := c.job(o.ID.Scheduler, o.ID.Job), c.statusOf(o.ID.Scheduler, o.ID.Job)
	if j == nil || j.Run != o.ID.Run || s != nil && s.Phase.Final() {
		return
	}
	if !o.Ended {
		c.faults.count("lost", 1)
		if c.values[cellstate.SessionKey(o.Machine)] != nil && time.Since(c.back[o.Machine]) > farBehind {
			c.failf(rev, "I5: %s was live on %s, which has an agent, and was removed", o.ID, o.Machine)
		}
	}
	if s == nil || s.Run != o.ID.Run || !schedulers.NewHistory(*s).Recorded(o.ID) {
		c.failf(rev, "I5: %s was removed and the status does not tell of its end: %+v", o.ID, s)
	}
}

// status checks that nothing that a status said is lost.
func (c *checker) status(rev int64, k cellstate.Key, was cellstate.Value) {
	o, _ := was.(*cellstate.JobStatus)
	n := c.statusOf(k.Scope, k.Name)
	if o == nil || n == nil || o.Run != n.Run {
		return
	}
	if o.Phase.Final() && n.Version == o.Version {
		c.failf(rev, "I5: the final status of %s changed from %+v to %+v", k, o, n)
	}
	if n.Phase.Final() {
		c.faults.count("finished", 1)
	}
	before, now := schedulers.NewHistory(*o), schedulers.NewHistory(*n)
	for task := range uint32(20) {
		if before.IsDone(task) && !now.IsDone(task) || before.Task(task).Attempt > now.Task(task).Attempt {
			c.failf(rev, "I5: %s forgot about task %d", k, task)
		}
	}
}

// tasks checks that no task has two live claims.
func (c *checker) tasks(rev int64) {
	live := make(map[cellstate.ClaimID]string)
	for _, v := range c.values {
		l, ok := v.(*cellstate.Ledger)
		if !ok {
			continue
		}
		for i := range l.Claims {
			id := l.Claims[i].ID
			id.Attempt = 0
			if l.Claims[i].Ended {
				continue
			}
			if at, twice := live[id]; twice {
				c.failf(rev, "I3: task %s is live on %s and %s", id, at, l.Machine)
			}
			live[id] = l.Machine
		}
	}
}

// gangs checks that a gang is first shown with at least its minimum.
func (c *checker) gangs(rev int64, came map[run]uint32) {
	for r, n := range came {
		j := c.job(r.scheduler, r.job)
		if !c.shown[r] && j != nil && j.Run == r.run && n < j.GangMin {
			c.failf(rev, "I2: gang %v begins with %d of at least %d", r, n, j.GangMin)
		}
		c.shown[r] = true
		c.faults.count("gangs", 1)
	}
}

// quota checks that what is admitted is what the jobs that have not ended ask for.
func (c *checker) quota(rev int64) {
	t, ok := c.values[cellstate.TenantKey(cellstate.DefaultTenant)].(*cellstate.Tenant)
	if !ok {
		return
	}
	for _, band := range t.Bands {
		var sum cellstate.Resources
		for _, v := range c.values {
			j, ok := v.(*cellstate.Job)
			if !ok || j.Precedence.Band() != band.Band {
				continue
			}
			if s := c.statusOf(j.Scheduler, j.Name); s == nil || s.Run != j.Run || !s.Phase.Final() {
				sum = sum.Add(j.Demand())
			}
		}
		if !sum.Equal(band.Admitted) {
			c.failf(rev, "I7: %s admitted in band %s, and the live jobs ask for %s", band.Admitted, band.Band, sum)
		}
	}
}

// settled checks that every task has its state, when the cell was quiet for long (I10).
func (c *checker) settled() {
	claims := make(map[run]uint32)
	for _, v := range c.values {
		if l, ok := v.(*cellstate.Ledger); ok {
			for i := range l.Claims {
				claims[runOf(l.Claims[i].ID)]++
			}
		}
	}
	for _, v := range c.values {
		j, ok := v.(*cellstate.Job)
		if !ok {
			continue
		}
		r := run{j.Scheduler, j.Name, j.Run}
		s := c.statusOf(j.Scheduler, j.Name)
		final := s != nil && s.Run == j.Run && s.Phase.Final()
		want := uint32(0)
		if j.Scheduler == "service" && !j.Stopped {
			want = j.Tasks
		}
		if final != (want == 0) || claims[r] != want {
			c.failf(0, "I10: job %v (stopped: %v) holds %d claims, want %d; status %+v", r, j.Stopped, claims[r], want, s)
		}
		delete(claims, r)
	}
	if len(claims) > 0 {
		c.failf(0, "claims without a job: %v", claims)
	}
}
