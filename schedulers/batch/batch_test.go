package batch_test

import (
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/schedulers/batch"
	"github.com/omegacell/omegacell/schedulers/schedtest"
)

// TestPlanner plays histories of jobs of 1 to 8 tasks, a third of them gangs, some too large for the machines there are.
func TestPlanner(t *testing.T) {
	schedtest.Run(t, schedtest.Config{
		Planner:          batch.Planner{},
		RunsToCompletion: true,
		Job: func(rng *rand.Rand) *cellstate.Job {
			j := &cellstate.Job{
				Tenant: cellstate.DefaultTenant, Precedence: cellstate.BandBatch.Lowest(), Tasks: 1 + uint32(rng.IntN(8)),
				Retries: uint32(rng.IntN(4)),
				Task: cellstate.TaskSpec{Resources: cellstate.Resources{
					CPUMilli: 500 * int64(1+rng.IntN(9)), MemBytes: int64(1+rng.IntN(4)) << 29, GPUMilli: 500 * int64(rng.IntN(2)),
				}},
			}
			if rng.IntN(3) == 0 {
				j.GangMin = j.Tasks
			}
			if rng.IntN(3) == 0 {
				j.Task.MaxRunTime = time.Duration(1+rng.IntN(60)) * time.Minute
			}
			return j
		},
	})
}

// TestScripts plays the histories in testdata; each begins with the reason that it exists.
func TestScripts(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("scripts: %v, %v", paths, err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) { schedtest.Script(t, path, batch.Planner{}) })
	}
}
