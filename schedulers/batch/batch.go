package batch

import (
	"fmt"
	"math/rand/v2"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/schedulers"
	"github.com/omegacell/omegacell/schedulers/place"
)

// Planner plans batch jobs. The zero value is ready.
type Planner struct{}

// Plan is the decision about one job; see the package comment.
func (Planner) Plan(snap cellstate.Snapshot, job schedulers.Job, rng *rand.Rand) schedulers.Plan {
	plan, todo := schedulers.RunToCompletion(snap, job)
	if len(todo) == 0 {
		return plan
	}
	req := place.Request{Job: job.Job, Tasks: todo, Start: job.Now, Width: job.Width, Limits: job.Limits}
	if missing := gang(&job, &plan); missing > 0 {
		if len(todo) < missing {
			plan.Explanation = &cellstate.Explanation{At: job.Now, Rev: snap.Rev(), Unplaced: uint32(len(todo)), Unblock: fmt.Sprintf(
				"%d of the gang's %d tasks wait for their next attempt", missing-len(todo), missing)}
			return plan
		}
		req.Min = missing
		plan.Mode = cellstate.AllOrNothing
	}
	if job.Hopeless != nil {
		plan.Explanation = job.Explain(len(todo))
		return plan
	}
	r := place.Place(snap, req, rng)
	plan.Add, plan.Explanation = r.Claims, r.Explanation
	return plan
}

// gang is how many more members have to get claims together: the gang needs its minimum of them, or what is left to do.
func gang(job *schedulers.Job, plan *schedulers.Plan) int {
	h := schedulers.NewHistory(plan.Status)
	return int(min(job.GangMin, job.Tasks-h.DoneCount(job.Tasks))) - int(h.Placed)
}
