package schedulers_test

import (
	"math/rand/v2"
	"testing"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/schedulers/schedtest"
)

func emptyCell() cellstate.Snapshot { return schedtest.NewSnapshot(cellstate.Listing{Rev: 1}, nil) }

// TestExample holds the example to what every planner must show.
func TestExample(t *testing.T) {
	schedtest.Run(t, schedtest.Config{
		Planner:          emptiest{},
		RunsToCompletion: true,
		Job: func(rng *rand.Rand) *cellstate.Job {
			return &cellstate.Job{
				Precedence: cellstate.BandBatch.Lowest(), Tasks: 1 + uint32(rng.IntN(8)), Retries: uint32(rng.IntN(4)),
				Task: cellstate.TaskSpec{Resources: cellstate.Resources{CPUMilli: 500 * int64(1+rng.IntN(9))}},
			}
		},
	})
}
