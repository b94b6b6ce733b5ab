package agent

import (
	"context"

	"github.com/omegacell/omegacell/cellstate"
)

// Driver runs tasks on the host. Each method may be called from many goroutines, for different tasks at the same time.
//
// What a driver promises: a task outlives the process that called Start; nothing it learnt about a task's end is lost until
// Forget; after Forget no process, cgroup, mount or file of the task is left, but for its logs.
type Driver interface {
	// Name is what jobs call the driver: "exec", "emulated".
	Name() string

	// Recover returns every task that an earlier process of the agent started and did not forget, running or ended. It is
	// called once, before anything else. What cannot be adopted, because its shim is gone, is cleared away and returned
	// as ended with OutcomeLost. Of what a crash of the host left only in part, nothing is returned; and what is returned may
	// be an earlier incarnation than the last one reported.
	Recover(ctx context.Context) ([]TaskState, error)

	// Start starts one incarnation of a task and returns once its process runs. An error means that nothing of it is left
	// running; it says what to tell the submitter.
	Start(ctx context.Context, t Task) (TaskState, error)

	// Stop sends the task its stop signal, and SIGKILL to all of it when its grace is over, even if the agent dies
	// meanwhile. It does not wait: the end comes through Events. Stopping one that has ended, or that the driver does not
	// know, does nothing.
	Stop(ctx context.Context, id cellstate.ClaimID) error

	// Forget clears away what is left of an ended task. Its logs stay for the retention period.
	Forget(ctx context.Context, id cellstate.ClaimID) error

	// Events carries every end of a task that Recover did not return as ended. It is never closed.
	Events() <-chan TaskState

	// Close ends the driver's own goroutines. Tasks go on.
	Close() error
}

// Task is one incarnation of a task: all that a driver needs to run it.
type Task struct {
	ID        cellstate.ClaimID
	Restart   uint32             // 0 for the first start on this machine
	Spec      cellstate.TaskSpec // defaults filled in
	Env       map[string]string  // the whole environment: the job's own and OMEGACELL_*
	Resources cellstate.Resources
}

// TaskState is what a driver knows of one incarnation.
type TaskState struct {
	ID        cellstate.ClaimID
	Restart   uint32
	Phase     cellstate.Phase // PhaseRunning, PhaseStopping or PhaseEnded
	PID       int32           // on the host, while it runs
	StartedAt cellstate.Instant
	EndedAt   cellstate.Instant
	Outcome   cellstate.Outcome // where ended: exited, signaled, oom, stopped (by Stop), failed, lost
	ExitCode  int32
	Signal    int32
	Message   string
}
