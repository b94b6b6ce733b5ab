// Package batch is the planner for jobs that run to completion: each task runs until it exits with 0, is tried again a
// bounded number of times when it fails, and starts together with the others where the job is a gang.
//
// It promises: a task that was evicted, drained away or lost with its machine is tried again and that does not count as a
// failure (I10); a gang is placed with at least its minimum of members in one transaction or not at all (I2).
package batch
