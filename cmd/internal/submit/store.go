package submit

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/omegacell/omegacell/cellstate"
)

// attempts bounds how often a request is decided anew after a lost race.
const attempts = 16

// Job submits a job: a new one, another version of a live one, or a new run of one that has ended. now and run, which has
// to be random, are what a new run is marked with.
//
// Errors wrap ErrRefused (unknown or disabled scheduler, precedence, quota, a job being stopped, a race lost too often),
// cellstate.ErrInvalid (no job could be like this), or what the store returned.
func Job(ctx context.Context, store cellstate.Store, job *cellstate.Job, now cellstate.Instant, run uint32) (Result, error) {
	if err := Check(job); err != nil {
		return Result{}, err
	}
	return race(ctx, store, "job "+job.Scheduler+"/"+job.Name, func() (plan, error) {
		f, err := read(ctx, store, job)
		if err != nil {
			return plan{}, err
		}
		return decide(&f, job, now, run)
	})
}

// DryRun says what Job would do now, and writes nothing.
func DryRun(ctx context.Context, store cellstate.Store, job *cellstate.Job, now cellstate.Instant, run uint32) (Result, error) {
	if err := Check(job); err != nil {
		return Result{}, err
	}
	f, err := read(ctx, store, job)
	if err != nil {
		return Result{}, err
	}
	p, err := decide(&f, job, now, run)
	return Result{Outcome: p.outcome, Job: p.job}, err
}

// Stop writes the wish to have a job ended. It is Unchanged for one that has ended or is being stopped. Errors wrap
// ErrNotFound, ErrRefused (a race lost too often), or what the store returned.
func Stop(ctx context.Context, store cellstate.Store, scheduler, name string) (Result, error) {
	return race(ctx, store, "job "+scheduler+"/"+name, func() (plan, error) {
		job, status, guards, err := present(ctx, store, scheduler, name)
		if err != nil {
			return plan{}, err
		}
		if job.Stopped || Final(job, status) {
			return plan{outcome: Unchanged, job: job}, nil
		}
		n := *job
		n.Stopped = true
		return plan{outcome: Stopping, job: &n, swap: cellstate.Swap{Guards: guards, Put: []cellstate.Put{{Value: &n}}}}, nil
	})
}

// Purge deletes a job that has ended, and its status. Errors are those of Stop; it is refused while the job has not ended
// or a ledger still holds claims of it, which would be left without an owner.
func Purge(ctx context.Context, store cellstate.Store, scheduler, name string) (Result, error) {
	return race(ctx, store, "job "+scheduler+"/"+name, func() (plan, error) {
		job, status, guards, err := present(ctx, store, scheduler, name)
		if err != nil {
			return plan{}, err
		}
		if !Final(job, status) {
			return plan{}, fmt.Errorf("job %s/%s has not ended: %w", scheduler, name, ErrRefused)
		}
		ledgers, err := store.List(ctx, cellstate.Range{Kind: cellstate.KindLedger}, 0)
		if err != nil {
			return plan{}, err
		}
		for _, r := range ledgers.Records {
			if l, ok := r.Value.(*cellstate.Ledger); ok {
				for i := range l.Claims {
					if id := l.Claims[i].ID; id.Scheduler == scheduler && id.Job == name {
						return plan{}, fmt.Errorf("job %s/%s: machine %s still holds claim %s: %w", scheduler, name, l.Machine, id, ErrRefused)
					}
				}
			}
		}
		return plan{outcome: Purged, job: job, swap: cellstate.Swap{Guards: guards, Delete: []cellstate.Key{job.Key(), status.Key()}}}, nil
	})
}

// race writes what decide plans, and asks it again when somebody else was faster.
func race(ctx context.Context, store cellstate.Store, on string, decide func() (plan, error)) (Result, error) {
	for n := range attempts {
		p, err := decide()
		if err != nil {
			return Result{}, err
		}
		if len(p.swap.Put) == 0 && len(p.swap.Delete) == 0 {
			return Result{Outcome: p.outcome, Job: p.job}, nil
		}
		done, err := store.Swap(ctx, p.swap)
		if err != nil {
			return Result{}, err
		}
		if done.OK {
			return Result{Outcome: p.outcome, Job: p.job, Rev: done.Rev}, nil
		}
		select {
		case <-ctx.Done():
			return Result{}, fmt.Errorf("%s: %w", on, ctx.Err())
		case <-time.After(min(time.Millisecond<<n, 100*time.Millisecond)):
		}
	}
	return Result{}, fmt.Errorf("%s: lost the race against other writers %d times: %w", on, attempts, ErrRefused)
}

// read returns what a submission depends on. The records may be of different revisions: the guards make them one.
func read(ctx context.Context, store cellstate.Store, job *cellstate.Job) (facts, error) {
	var f facts
	for _, r := range []struct {
		into *cellstate.Record
		key  cellstate.Key
	}{
		{&f.scheduler, cellstate.SchedulerKey(job.Scheduler)}, {&f.job, job.Key()},
		{&f.status, cellstate.StatusKey(job.Scheduler, job.Name)}, {&f.tenant, cellstate.TenantKey(tenantOf(job))},
	} {
		var err error
		if *r.into, err = get(ctx, store, r.key); err != nil {
			return facts{}, err
		}
	}
	if old, ok := f.job.Value.(*cellstate.Job); ok && tenantOf(old) != tenantOf(job) {
		var err error
		if f.before, err = get(ctx, store, cellstate.TenantKey(tenantOf(old))); err != nil {
			return facts{}, err
		}
	}
	if f.scheduler.Rev != 0 {
		return f, nil
	}
	all, err := store.List(ctx, cellstate.Range{Kind: cellstate.KindScheduler}, 0)
	for _, r := range all.Records {
		f.known = append(f.known, r.Key.Name)
	}
	slices.Sort(f.known)
	return f, err
}

// present returns a job that is there, with its status, and guards on both.
func present(ctx context.Context, store cellstate.Store, scheduler, name string) (*cellstate.Job, *cellstate.JobStatus, []cellstate.Guard, error) {
	j, err := get(ctx, store, cellstate.JobKey(scheduler, name))
	if err != nil {
		return nil, nil, nil, err
	}
	s, err := get(ctx, store, cellstate.StatusKey(scheduler, name))
	if err != nil {
		return nil, nil, nil, err
	}
	job, ok := j.Value.(*cellstate.Job)
	if !ok {
		return nil, nil, nil, fmt.Errorf("job %s/%s: %w", scheduler, name, ErrNotFound)
	}
	status, _ := s.Value.(*cellstate.JobStatus)
	return job, status, []cellstate.Guard{{Key: j.Key, Rev: j.Rev}, {Key: s.Key, Rev: s.Rev}}, nil
}

// get is cellstate.Get, but a value that cannot be read is an error: nothing is decided on it, nor written over it.
func get(ctx context.Context, store cellstate.Store, k cellstate.Key) (cellstate.Record, error) {
	r, err := cellstate.Get(ctx, store, k)
	if err == nil && r.Err != nil {
		err = fmt.Errorf("%s cannot be read: %v", k, r.Err) // not our request is invalid
	}
	return r, err
}

func tenantOf(j *cellstate.Job) string {
	if j.Tenant == "" {
		return cellstate.DefaultTenant
	}
	return j.Tenant
}
