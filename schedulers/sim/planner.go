package sim

import (
	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/schedulers/place"
)

// planner is how one scheduler chooses machines: by the real kernel, on a snapshot.
type planner struct {
	cfg  *Config
	s    *scheduler
	job  cellstate.Job
	snap snapshot

	// Its width follows recent conflicts, as in the loop of package schedulers, unless the configuration gives one.
	width, sent, refused int
}

// So many claims are judged together, as in package schedulers.
const widthSample = 64

func newPlanner(cfg *Config, s *scheduler, c *cell) *planner {
	p := &planner{cfg: cfg, s: s, snap: snapshot{cell: c}, width: cfg.Width}
	p.job = cellstate.Job{Scheduler: s.name, Name: "job", Version: 1, Tenant: cellstate.DefaultTenant, Precedence: cellstate.BandBatch.Lowest()}
	return p
}

// slots numbers n tasks.
func slots(n int) []place.Slot {
	out := make([]place.Slot, n)
	for i := range out {
		out[i].Task = uint32(i)
	}
	return out
}

// choose finds machines for these tasks of j, for all of them at once if all is set, on the planner's snapshot. It returns what is
// placed.
func (p *planner) choose(j *job, tasks []place.Slot, all bool, now clock) []cellstate.Claim {
	p.job.Tasks, p.job.Task.Resources = uint32(j.Tasks), j.Demand
	req := place.Request{
		Job: &p.job, Tasks: tasks, Start: cellstate.Instant(now * 1000), Width: p.width, Limits: p.snap.cell.limits,
	}
	p.job.GangMin = 0
	if all {
		req.Min, p.job.GangMin = len(tasks), uint32(j.Tasks)
	}
	return place.Place(&p.snap, req, p.s.rng).Claims
}

// learn lets the width follow what the commit made of claims. What revalidation finds is not counted: that snapshots age while
// schedulers think, no width helps against.
func (p *planner) learn(sent, refused int) {
	p.sent += sent
	p.refused += refused
	if p.cfg.Width == 0 && p.sent >= widthSample {
		p.width = place.NextWidth(p.width, p.refused, p.sent)
		p.sent, p.refused = 0, 0
	}
}
