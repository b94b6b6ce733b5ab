// Package exec is the driver that runs tasks as processes of the host.
//
// Each task has a shim: a small process, in a session of its own, that starts the task, waits for it, keeps its output files
// small and writes down how it ended: see package shim. It is the binary cellshim where that lies beside the agent's, else the
// agent's binary itself, which takes several times as long to start and as much memory. The task lives as long as it wants,
// whatever becomes of the agent; after a restart the driver adopts it by its shim's PID together with that shim's start time and
// the host's boot ID, never by a bare PID.
//
// A task is started so that it can be checkpointed and moved later: it is PID 1 of a PID namespace and leads a session; its
// mount namespace has a root of its own, with the host's file systems as single binds at their usual paths; its output files
// are opened inside that namespace; it inherits no descriptor but 0, 1 and 2; its network does without MPTCP unless asked.
// Every path and cgroup of it is the same on every host, given the same configuration. It has its own SysV IPC, /dev/shm and
// /dev/pts too, so that all it leaves behind goes with it (I11).
//
// Being PID 1 has two effects that submitters notice. The kernel keeps signals that PID 1 neither handles nor ignores from
// it; the shim therefore ends the task itself where the stop signal would have ended any other process. And a task that
// starts others in the background has to wait for them, or they stay zombies until it ends.
//
// On disk, under [Config].DataDir:
//
//	cellshim                    the shim that is used, where it is not the agent's binary
//	tasks/<claim>/spec.json     what to run
//	tasks/<claim>/state.json    which processes: the shim, the task
//	tasks/<claim>/result.json   how it ended; written before the shim ends
//	tasks/<claim>/work/         its working directory, unless the job names one
//	logs/<scheduler>/<job>@<run>/<task>.<attempt>/{stdout,stderr}[.n]
//
// Records are replaced at once. Only what says how a task ended, or that it is being stopped, is also made to survive a crash
// of the host, along with what it is about: of what ran, nothing is left then, and a start need not wait for the disk. After a crash the
// records of the incarnation before may be back; the agent tells by the number of restarts.
//
// It never decides whether a task is to run, restart or stop, and never reads cell state.
package exec
