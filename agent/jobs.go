package agent

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/singleflight"

	"github.com/omegacell/omegacell/cellstate"
)

// Jobs reads jobs for agents, each version once. It holds the last maxJobs of them.
type Jobs struct {
	store   cellstate.Store
	reading singleflight.Group // hundreds of agents of one process ask for a job at once, when its tasks are placed

	mu   sync.Mutex
	have map[jobVersion]*cellstate.Job
	ring []jobVersion // in the order they came; the oldest at next, once it is full
	next int
}

type jobVersion struct {
	scheduler, job string
	run            uint32
	version        uint64
}

const maxJobs = 1024

// NewJobs returns a reader without any jobs yet.
func NewJobs(store cellstate.Store) *Jobs {
	return &Jobs{store: store, have: make(map[jobVersion]*cellstate.Job)}
}

// For returns the job of a claim, in the claim's run and version. ErrInvalid means that it will not come any more: it is gone
// or was changed.
func (j *Jobs) For(ctx context.Context, c *cellstate.Claim) (*cellstate.Job, error) {
	k := jobVersion{c.ID.Scheduler, c.ID.Job, c.ID.Run, c.JobVersion}
	j.mu.Lock()
	job := j.have[k]
	j.mu.Unlock()
	if job != nil {
		return job, nil
	}
	v, err, _ := j.reading.Do(fmt.Sprintf("%s/%s@%x/%d", k.scheduler, k.job, k.run, k.version), func() (any, error) { return j.read(ctx, c, k) })
	job, _ = v.(*cellstate.Job)
	return job, err
}

func (j *Jobs) read(ctx context.Context, c *cellstate.Claim, k jobVersion) (*cellstate.Job, error) {
	rec, err := cellstate.Get(ctx, j.store, cellstate.JobKey(c.ID.Scheduler, c.ID.Job))
	if err != nil {
		return nil, err
	}
	gone := func(format string, args ...any) (*cellstate.Job, error) {
		return nil, fmt.Errorf("job %s/%s: %s: %w", c.ID.Scheduler, c.ID.Job, fmt.Sprintf(format, args...), cellstate.ErrInvalid)
	}
	if rec.Rev == 0 {
		return gone("is not in the cell")
	}
	if rec.Err != nil {
		return gone("cannot be read: %v", rec.Err)
	}
	job, ok := rec.Value.(*cellstate.Job)
	switch {
	case !ok:
		return gone("its key holds something else")
	case job.Run != c.ID.Run:
		return gone("was submitted anew: run %x, the claim is of run %x", job.Run, c.ID.Run)
	case job.Version < c.JobVersion:
		return nil, fmt.Errorf("job %s/%s: version %d, the claim is of version %d: %w",
			c.ID.Scheduler, c.ID.Job, job.Version, c.JobVersion, cellstate.ErrUnavailable)
	case job.Version > c.JobVersion:
		return gone("was changed: version %d, the claim is of version %d", job.Version, c.JobVersion)
	}
	j.keep(k, job)
	return job, nil
}

func (j *Jobs) keep(k jobVersion, job *cellstate.Job) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.have[k] != nil {
		return
	}
	j.have[k] = job
	if len(j.ring) < maxJobs {
		j.ring = append(j.ring, k)
		return
	}
	delete(j.have, j.ring[j.next])
	j.ring[j.next] = k
	j.next = (j.next + 1) % maxJobs
}
