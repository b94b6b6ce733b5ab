// Package emulated is a driver that runs no processes: a task is an entry in an agenda, and lasts as long as its
// specification says. One process so stands for thousands of hosts, in tests, replays and `celld dev --emulated`.
//
// A task's environment says how it behaves:
//
//	OMEGACELL_EMULATED_RUNTIME  how long it runs, a Go duration; else it is read from a command such as ["sleep", "10"];
//	                            else it runs until it is stopped
//	OMEGACELL_EMULATED_EXIT     the exit code it ends with; default 0
//	OMEGACELL_EMULATED_STOP     how long it takes to stop, a Go duration; default 0s. It is killed at the end of its grace
//
// Many drivers share one [Clock], which has one goroutine whatever the number of tasks, and time from package time, so that
// it works in a synctest bubble. A host's tasks live in the clock: a second driver of the same host takes over from the
// first as a restarted agent does.
//
// It never looks at a task's resources: whether they fit has been decided.
package emulated
