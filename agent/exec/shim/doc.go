// Package shim is the small process that keeps one task: it starts the task in namespaces and cgroups of its own, waits for
// it, keeps its output files small and writes down how it ended, whatever becomes of the agent meanwhile. The driver in the
// parent package starts it and tells it, through files and pipes, what to do; the records they share are here.
//
// There is one of these processes for each task, and a second one is executed on the way to each task. So this package and
// all that it imports stay small: starting it must cost a millisecond or two, not the start of an agent.
//
// It promises that nothing is started before the driver has recorded the shim, that the end of a task is on disk before its
// shim ends, and that nothing of the task is left then but its directory, its logs and its empty cgroups.
//
// It never decides what runs, makes or removes no cgroup, and reads no configuration but its task's records.
package shim
