// Package sim is a discrete-event simulator of cluster scheduling architectures, after the lightweight simulator of Omega
// (Schwarzkopf et al., EuroSys 2013, §4): monolithic schedulers with one path or one for each class of jobs, two-level
// scheduling by offers, and shared state with optimistic transactions.
//
// A scheduler takes t_job + n·t_task of virtual time to decide about a job of which n tasks are not placed. Where the tasks
// go is decided by the real planner kernels (schedulers/place) on a snapshot of the cell, and whether they get there by the
// real commit rule ([cellstate.Commit]); there is no second fit rule here. The one exception is [CompatGoogle], which walks
// Google's own simulator's way so that the two can be compared; its fit is [cellstate.Resources.Fits].
//
// [Run] promises: the result is a function of the configuration and the jobs, seed included; no machine is ever given more
// than it has (I1), save where Google's simulator does that too. It runs in the caller's goroutine; to use more cores, run
// more points at a time.
//
// What it never does: read a clock, write anything, run a task, or keep state between calls.
package sim
