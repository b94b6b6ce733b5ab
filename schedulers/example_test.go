package schedulers_test

import (
	"fmt"
	"math/rand/v2"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/schedulers"
)

// emptiest is a whole scheduler for jobs that run to completion: it puts each task on the machine with the most free CPU.
type emptiest struct{}

func (emptiest) Plan(snap cellstate.Snapshot, job schedulers.Job, _ *rand.Rand) schedulers.Plan {
	plan, todo := schedulers.RunToCompletion(snap, job)
	used := make(map[string]bool) // by this plan; a machine gets one task at a time, so that no sums are kept here
	for _, task := range todo {
		claim := cellstate.Claim{
			ID:         cellstate.ClaimID{Scheduler: job.Scheduler, Job: job.Name, Run: job.Run, Task: task.Task, Attempt: task.Attempt},
			JobVersion: job.Version, Precedence: job.Precedence, Resources: job.Task.Resources, Start: job.Now,
		}
		best, most := "", int64(-1)
		full := uint32(0)
		for i := range snap.Len() {
			m := snap.At(i)
			if m == nil || m.Session == nil || used[m.Name()] || m.Ledger.Fit(&claim, job.Limits) != (cellstate.Shortage{}) {
				full++
				continue
			}
			if free := m.Ledger.Free(job.Now, cellstate.Forever); free.CPUMilli > most {
				best, most = m.Name(), free.CPUMilli
			}
		}
		if best == "" {
			plan.Explanation = &cellstate.Explanation{At: job.Now, Rev: snap.Rev(), Unplaced: 1, Looked: full,
				Rules: []cellstate.RuleCount{{Rule: "does not fit", Count: full}}, Unblock: "free room on any machine"}
			break
		}
		claim.Machine, used[best] = best, true
		plan.Add = append(plan.Add, claim)
	}
	return plan
}

// A scheduler team's main function is schedmain.Main("emptiest", emptiest{}), from cmd/schedmain; what every planner must
// show, schedtest.Run checks. Here the planner decides about one job on an empty cell.
func ExamplePlanner() {
	job := schedulers.Job{Now: 1000, Job: &cellstate.Job{Scheduler: "emptiest", Name: "hello", Tasks: 1, Version: 1}}
	plan := emptiest{}.Plan(emptyCell(), job, rand.New(rand.NewPCG(1, 1)))
	fmt.Println(plan.Explanation.Unplaced, "waits:", plan.Explanation.Unblock)
	// Output: 1 waits: free room on any machine
}
