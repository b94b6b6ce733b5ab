package history

import (
	"github.com/omegacell/omegacell/cellstate"
)

// Event is one thing that happened.
type Event struct {
	Rev     int64              // revision that brought it
	At      cellstate.Instant  // when, where the values say; else 0. Etcd keeps no times
	What    What               //
	Job     string             // "scheduler/job" that it is about, or ""
	Machine string             // that it is about, or ""
	Claim   *cellstate.ClaimID // that it is about, or nil
	Text    string             // the details, for people
}

// What is a kind of event.
type What uint8

const (
	JobSubmitted What = iota + 1
	JobChanged
	JobRestarted // submitted again after it had ended
	JobStopping
	JobPurged
	JobPending
	JobRunning
	JobSucceeded
	JobFailed
	JobStopped
	JobParked
	TaskRetried
	TaskGaveUp
	RolloutBegan
	RolloutEnded
	RolloutHalted
	ClaimPlaced
	ClaimMoved
	ClaimEvicted
	ClaimChanged
	ClaimRemoved
	TaskPending
	TaskStarting
	TaskRunning
	TaskStopping
	TaskEnded
	TaskHealthy
	TaskUnhealthy
	MachineAdded
	MachineGone
	MachineUp
	MachineLost
	MachineCordoned
	MachineUncordoned
	MachineDraining
	MachineUndrained
	MachineResized
	MachineChanged
	TenantChanged
	SchedulerChanged
	LeaderElected
	LeaderGone
	Corrupt
)

// Whats lists all kinds of events.
func Whats() []What {
	var all []What
	for w := JobSubmitted; w <= Corrupt; w++ {
		all = append(all, w)
	}
	return all
}

func (w What) String() string {
	switch w {
	case JobSubmitted:
		return "job-submitted"
	case JobChanged:
		return "job-changed"
	case JobRestarted:
		return "job-restarted"
	case JobStopping:
		return "job-stopping"
	case JobPurged:
		return "job-purged"
	case JobPending:
		return "job-pending"
	case JobRunning:
		return "job-running"
	case JobSucceeded:
		return "job-succeeded"
	case JobFailed:
		return "job-failed"
	case JobStopped:
		return "job-stopped"
	case JobParked:
		return "job-parked"
	case TaskRetried:
		return "task-retried"
	case TaskGaveUp:
		return "task-gave-up"
	case RolloutBegan:
		return "rollout-began"
	case RolloutEnded:
		return "rollout-ended"
	case RolloutHalted:
		return "rollout-halted"
	case ClaimPlaced:
		return "claim-placed"
	case ClaimMoved:
		return "claim-moved"
	case ClaimEvicted:
		return "claim-evicted"
	case ClaimChanged:
		return "claim-changed"
	case ClaimRemoved:
		return "claim-removed"
	case TaskPending:
		return "task-pending"
	case TaskStarting:
		return "task-starting"
	case TaskRunning:
		return "task-running"
	case TaskStopping:
		return "task-stopping"
	case TaskEnded:
		return "task-ended"
	case TaskHealthy:
		return "task-healthy"
	case TaskUnhealthy:
		return "task-unhealthy"
	case MachineAdded:
		return "machine-added"
	case MachineGone:
		return "machine-gone"
	case MachineUp:
		return "machine-up"
	case MachineLost:
		return "machine-lost"
	case MachineCordoned:
		return "machine-cordoned"
	case MachineUncordoned:
		return "machine-uncordoned"
	case MachineDraining:
		return "machine-draining"
	case MachineUndrained:
		return "machine-undrained"
	case MachineResized:
		return "machine-resized"
	case MachineChanged:
		return "machine-changed"
	case TenantChanged:
		return "tenant-changed"
	case SchedulerChanged:
		return "scheduler-changed"
	case LeaderElected:
		return "leader-elected"
	case LeaderGone:
		return "leader-gone"
	case Corrupt:
		return "corrupt"
	}
	return "unknown"
}

// String gives the event without its revision: "task-ended m1 batch/hello@1f/0.0 exited with code 0".
func (e Event) String() string {
	s := e.What.String()
	if e.Machine != "" {
		s += " " + e.Machine
	}
	switch {
	case e.Claim != nil:
		s += " " + e.Claim.String()
	case e.Job != "":
		s += " " + e.Job
	}
	if e.Text != "" {
		s += " " + e.Text
	}
	return s
}
