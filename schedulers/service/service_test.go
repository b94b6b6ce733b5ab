package service_test

import (
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/schedulers/schedtest"
	"github.com/omegacell/omegacell/schedulers/service"
)

// TestPlanner plays histories of services of 1 to 8 tasks, some too large for the machines there are.
func TestPlanner(t *testing.T) {
	schedtest.Run(t, schedtest.Config{
		Planner: service.Planner{},
		Job: func(rng *rand.Rand) *cellstate.Job {
			return &cellstate.Job{
				Tenant: cellstate.DefaultTenant, Precedence: cellstate.BandProduction.Lowest(), Tasks: 1 + uint32(rng.IntN(8)),
				Update: cellstate.UpdatePolicy{MaxParallel: uint32(rng.IntN(3))},
				Task: cellstate.TaskSpec{Resources: cellstate.Resources{
					CPUMilli: 500 * int64(1+rng.IntN(9)), MemBytes: int64(1+rng.IntN(4)) << 29,
				}},
			}
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
		t.Run(filepath.Base(path), func(t *testing.T) { schedtest.Script(t, path, service.Planner{}) })
	}
}
