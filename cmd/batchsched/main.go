// Batchsched is the scheduler for jobs that run to completion.
package main

import (
	"github.com/omegacell/omegacell/cmd/schedmain"
	"github.com/omegacell/omegacell/schedulers/batch"
)

func main() { schedmain.Main("batch", batch.Planner{}) }
