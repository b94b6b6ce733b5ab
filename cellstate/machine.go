package cellstate

import "sort"

// Machine is what a machine is, as its agent and the operators describe it. How much it has is in its Ledger.
type Machine struct {
	Name       string
	Attributes map[string]string // what constraints and affinities ask about: "os", "arch", "gpu.model", "rack"
	Domains    []string          // failure and sharing domains it belongs to, most local first: "rack-7", "row-2"
	Labels     map[string]string // the operators' own; an agent leaves them alone
}

// Attribute returns the attribute or label of that name. "name" is the machine's name itself.
func (m *Machine) Attribute(name string) (string, bool) {
	if name == "name" {
		return m.Name, true
	}
	if v, ok := m.Attributes[name]; ok {
		return v, true
	}
	v, ok := m.Labels[name]
	return v, ok
}

// Session says that a machine's agent lives. It stands under an etcd lease: it is gone when the agent is.
type Session struct {
	Machine   string
	Epoch     uint64 // one higher at every start of the agent, so that a late message of an earlier one is told apart
	Address   string // host:port of the agent's own endpoint (logs), "" where it has none
	Version   string // of the agent
	Drivers   []string
	StartedAt Instant
}

// Report is what a machine's agent observes of its claims. Only the agent writes it.
type Report struct {
	Machine string
	Epoch   uint64
	Claims  []ClaimStatus // sorted by ID; those in the ledger, and ended ones not removed from it yet
}

// Find returns the status of a claim, or nil.
func (r *Report) Find(id ClaimID) *ClaimStatus {
	if r == nil {
		return nil
	}
	i, found := sort.Find(len(r.Claims), func(i int) int { return id.Compare(r.Claims[i].ID) })
	if !found {
		return nil
	}
	return &r.Claims[i]
}

// Phase is how far a claim's task has come. It never goes back, except from Running to Starting when the agent restarts
// the task under the job's restart policy.
type Phase uint8

const (
	PhasePending  Phase = iota + 1 // seen by the agent; not started: too early, or its room is not free yet
	PhaseStarting                  // being started, or waiting to be started again
	PhaseRunning
	PhaseStopping // told to stop; its grace runs
	PhaseEnded    // final (I5)
)

// Phases lists all phases in order.
func Phases() []Phase {
	return []Phase{PhasePending, PhaseStarting, PhaseRunning, PhaseStopping, PhaseEnded}
}

func (p Phase) String() string {
	switch p {
	case PhasePending:
		return "pending"
	case PhaseStarting:
		return "starting"
	case PhaseRunning:
		return "running"
	case PhaseStopping:
		return "stopping"
	case PhaseEnded:
		return "ended"
	}
	return "unknown"
}

// Health is what the task's health check says.
type Health uint8

const (
	HealthUnknown Health = iota // no check, or none has finished yet
	Healthy
	Unhealthy
)

func (h Health) String() string {
	switch h {
	case Healthy:
		return "healthy"
	case Unhealthy:
		return "unhealthy"
	}
	return "unknown"
}

// Outcome is how a task ended.
type Outcome uint8

const (
	OutcomeExited   Outcome = iota + 1 // by itself; see ExitCode
	OutcomeSignaled                    // by a signal that the agent did not send; see Signal
	OutcomeOOM                         // the kernel ended it at its memory limit
	OutcomeStopped                     // the agent ended it: evicted, stopped, its end reached
	OutcomeFailed                      // it could not be started; see Message
	OutcomeLost                        // it is gone and nobody saw how, such as after the host restarted
)

// Outcomes lists all outcomes.
func Outcomes() []Outcome {
	return []Outcome{OutcomeExited, OutcomeSignaled, OutcomeOOM, OutcomeStopped, OutcomeFailed, OutcomeLost}
}

func (o Outcome) String() string {
	switch o {
	case OutcomeExited:
		return "exited"
	case OutcomeSignaled:
		return "signaled"
	case OutcomeOOM:
		return "oom"
	case OutcomeStopped:
		return "stopped"
	case OutcomeFailed:
		return "failed"
	case OutcomeLost:
		return "lost"
	}
	return "unknown"
}

// ClaimStatus is what the agent observes of one claim.
type ClaimStatus struct {
	ID        ClaimID
	Phase     Phase
	Health    Health
	Restarts  uint32  // by the agent, on this machine
	PID       int32   // on the host, while it runs
	StartedAt Instant // the current start; 0 before the first
	EndedAt   Instant // 0 until PhaseEnded
	Outcome   Outcome // 0 until PhaseEnded
	ExitCode  int32   // of OutcomeExited
	Signal    int32   // of OutcomeSignaled
	Message   string  // for people
}

// Succeeded reports whether the task ended by itself with exit code 0.
func (s *ClaimStatus) Succeeded() bool {
	return s.Phase == PhaseEnded && s.Outcome == OutcomeExited && s.ExitCode == 0
}

// Scheduler is one registered scheduler: who it is and what it may use.
type Scheduler struct {
	Name          string
	MaxPrecedence Precedence // of the jobs it accepts
	Disabled      bool       // an operator lets it commit nothing new
	Shards        uint32     // number of parts that its jobs are hashed over; at least 1
	PublicKey     []byte     // with which peers verify it; empty where none is set
}

// Leader says which process leads one shard of a scheduler. It stands under that process's lease; its create revision
// fences the leader's transactions.
type Leader struct {
	Scheduler string
	Shard     uint32
	Holder    string // host and PID, for people
	Since     Instant
}
