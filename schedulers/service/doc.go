// Package service is the planner for jobs that run until they are stopped: it keeps a number of tasks running, spread over
// machines, replaces those that end or are lost, and goes from one version to the next a few tasks at a time, waiting for
// each to be healthy.
//
// It promises: at most MaxParallel tasks are down or unproven because of an update or a drain; an update stops by itself when
// a new task does not become healthy in time; a task has one live claim at a time (I3).
package service
