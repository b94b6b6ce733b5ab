package submit

import (
	"errors"
	"fmt"

	"github.com/omegacell/omegacell/cellstate"
)

// ErrRefused is what every refusal wraps: the request is well-formed, and the cell does not take it as things are.
var ErrRefused = errors.New("refused")

// ErrNotFound is wrapped where there is no job of the name.
var ErrNotFound = errors.New("not found")

// Outcome is what became of a request.
type Outcome uint8

const (
	Created   Outcome = iota + 1 // a new name
	Updated                      // a live job got another version
	Restarted                    // a job that had ended runs again, as a new run
	Unchanged                    // it was so already
	Stopping                     // the wish to end the job is written
	Purged                       // job and status are gone
)

// Outcomes lists all outcomes.
func Outcomes() []Outcome {
	return []Outcome{Created, Updated, Restarted, Unchanged, Stopping, Purged}
}

func (o Outcome) String() string {
	switch o {
	case Created:
		return "created"
	case Updated:
		return "updated"
	case Restarted:
		return "restarted"
	case Unchanged:
		return "unchanged"
	case Stopping:
		return "stopping"
	case Purged:
		return "purged"
	}
	return "unknown"
}

// Result says what a request did.
type Result struct {
	Outcome Outcome
	Job     *cellstate.Job // as it stands in the cell now; after Purged, as it stood
	Rev     int64          // the revision that wrote it; 0 where nothing was written
}

// facts are the records that a submission depends on. Each but the schedulers is guarded at the revision read.
type facts struct {
	scheduler cellstate.Record
	job       cellstate.Record
	status    cellstate.Record
	tenant    cellstate.Record // of the submitted job
	before    cellstate.Record // the tenant that the present job counts against, where it is another
	known     []string         // names of all registered schedulers, for the refusal
}

// plan is a decision: what to write, on which conditions. An empty swap writes nothing.
type plan struct {
	outcome Outcome
	job     *cellstate.Job
	swap    cellstate.Swap
}

// decide says what becomes of a submission of want. now and run are used only where it is a new run.
func decide(f *facts, want *cellstate.Job, now cellstate.Instant, run uint32) (plan, error) {
	if err := f.accepts(want); err != nil {
		return plan{}, err
	}
	old, _ := f.job.Value.(*cellstate.Job)
	status, _ := f.status.Value.(*cellstate.JobStatus)
	n := *want
	n.Rev, n.Stopped, n.Tenant = 0, false, tenantOf(want)
	p := plan{job: &n}
	switch {
	case old == nil:
		p.outcome, n.Run, n.Version, n.SubmittedAt = Created, run, 1, now
	case Final(old, status):
		p.outcome, n.Run, n.Version, n.SubmittedAt = Restarted, run, 1, now
		old = nil // its quota was released when it became final
	case old.Stopped:
		return plan{}, fmt.Errorf("job %s/%s is being stopped; submit it again when it has ended: %w", n.Scheduler, n.Name, ErrRefused)
	case SameSpec(old, &n):
		return plan{outcome: Unchanged, job: old}, nil
	default:
		p.outcome, n.Run, n.Version, n.SubmittedAt = Updated, old.Run, old.Version, old.SubmittedAt
		if !sameTasks(old, want) {
			n.Version++
		}
	}
	tenants, err := f.admit(old, &n)
	if err != nil {
		return plan{}, err
	}
	p.swap.Guards = f.guards()
	p.swap.Put = append(tenants, cellstate.Put{Value: &n})
	if old == nil && f.status.Rev != 0 {
		p.swap.Put = append(p.swap.Put, cellstate.Put{Value: &cellstate.JobStatus{
			Scheduler: n.Scheduler, Job: n.Name, Run: n.Run, Version: n.Version, Phase: cellstate.JobPending, UpdatedAt: now,
		}})
	}
	return p, nil
}

// accepts reports whether the job's scheduler is there and takes such a job.
func (f *facts) accepts(j *cellstate.Job) error {
	s, _ := f.scheduler.Value.(*cellstate.Scheduler)
	switch {
	case s == nil && len(f.known) == 0:
		return fmt.Errorf("scheduler %q is not registered, nor is any other: %w", j.Scheduler, ErrRefused)
	case s == nil:
		return fmt.Errorf("scheduler %q is not registered; registered are %q: %w", j.Scheduler, f.known, ErrRefused)
	case s.Disabled:
		return fmt.Errorf("scheduler %q is disabled: %w", j.Scheduler, ErrRefused)
	case j.Precedence > s.MaxPrecedence:
		return fmt.Errorf("precedence %d is above the %d that scheduler %q may use: %w", j.Precedence, s.MaxPrecedence, j.Scheduler, ErrRefused)
	}
	return nil
}

// admit gives back what old counts for, admits n, and returns the tenants that changed. A tenant without a record is
// unlimited.
func (f *facts) admit(old, n *cellstate.Job) ([]cellstate.Put, error) {
	tenant, _ := f.tenant.Value.(*cellstate.Tenant)
	before := tenant
	if old != nil && f.before.Key != (cellstate.Key{}) {
		before, _ = f.before.Value.(*cellstate.Tenant)
	}
	after, released := tenant, before
	if old != nil {
		released = before.Release(old.Precedence, old.Demand())
		if before == tenant {
			after = released
		}
	}
	after, short := after.Admit(n.Precedence, n.Demand())
	if short != (cellstate.QuotaRefusal{}) {
		return nil, fmt.Errorf("%s: %w", short, ErrRefused)
	}
	var puts []cellstate.Put
	if after != tenant {
		puts = append(puts, cellstate.Put{Value: after})
	}
	if before != tenant && released != before {
		puts = append(puts, cellstate.Put{Value: released})
	}
	return puts, nil
}

func (f *facts) guards() []cellstate.Guard {
	var g []cellstate.Guard
	for _, r := range []*cellstate.Record{&f.scheduler, &f.job, &f.status, &f.tenant, &f.before} {
		if r.Key != (cellstate.Key{}) {
			g = append(g, cellstate.Guard{Key: r.Key, Rev: r.Rev})
		}
	}
	return g
}

// Final reports whether the present run of the job is over. A status of another run or version says nothing about it.
func Final(j *cellstate.Job, s *cellstate.JobStatus) bool {
	return s != nil && s.Run == j.Run && s.Version == j.Version && s.Phase.Final()
}
