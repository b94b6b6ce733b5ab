package cellstate

import (
	"fmt"
	"hash/fnv"
	"time"
)

// DefaultTenant is the tenant of a job that names none. It is unlimited until an operator sets a quota.
const DefaultTenant = "default"

// Job is what a team submits: a number of equal tasks and how to treat them.
type Job struct {
	Scheduler   string // who is to place it
	Name        string
	Rev         int64  // revision that wrote it; not part of what is stored
	Run         uint32 // chosen at random at submission; see ClaimID
	Version     uint64 // 1, 2 … by one with each change of what the tasks run or where; not of their number or of policies
	Tenant      string
	Precedence  Precedence
	Tasks       uint32
	GangMin     uint32 // 0: no gang; else so many tasks start together or none does
	Task        TaskSpec
	Constraints []Constraint
	Affinities  []Affinity
	Spread      []Spread
	Packing     Packing
	Retries     uint32 // batch: further attempts at a task that failed
	Update      UpdatePolicy
	Disconnect  DisconnectPolicy
	Stopped     bool // the submitter wants it ended
	SubmittedAt Instant
}

// Key returns the key that holds the job.
func (j *Job) Key() Key { return JobKey(j.Scheduler, j.Name) }

// Demand returns what all its tasks together ask for; admission counts it against the tenant's quota.
func (j *Job) Demand() Resources { return j.Task.Resources.Times(int64(j.Tasks)) }

// Shard returns which of n shards of its scheduler works on the job.
func (j *Job) Shard(n uint32) uint32 {
	if n <= 1 {
		return 0
	}
	h := fnv.New32a()
	h.Write([]byte(j.Name))
	return h.Sum32() % n
}

// TaskSpec is what each task of a job runs and needs.
type TaskSpec struct {
	Driver     string   // "exec", "emulated"; "" lets the agent use its default
	Command    []string // argv; no shell
	Env        map[string]string
	Dir        string // working directory; "" is the task's own
	User       string // "" is the agent's
	Resources  Resources
	StopSignal string        // "SIGTERM" by default
	StopGrace  time.Duration // from the stop signal to SIGKILL; default 10s
	MaxRunTime time.Duration // the claim's end after its start; 0 means none
	Restart    RestartPolicy
	Health     *HealthCheck
	Logs       LogPolicy
}

// RestartWhen says after which ends the agent starts a task again on the same machine, within the same claim.
type RestartWhen uint8

const (
	RestartNever     RestartWhen = iota + 1
	RestartOnFailure             // an exit code other than 0, a signal, out of memory
	RestartAlways
)

func (w RestartWhen) String() string {
	switch w {
	case RestartNever:
		return "never"
	case RestartOnFailure:
		return "on-failure"
	case RestartAlways:
		return "always"
	}
	return "unknown"
}

// RestartPolicy bounds the agent's own restarts. The wait doubles from BackoffMin to BackoffMax, with jitter.
type RestartPolicy struct {
	When       RestartWhen   // 0 means never: the scheduler decides about another attempt
	Max        uint32        // restarts before the claim ends; 0 means no bound
	BackoffMin time.Duration // default 1s
	BackoffMax time.Duration // default 1m
}

// HealthCheck is run by the agent beside a running task. Exactly one of Command, HTTP and TCP is set.
type HealthCheck struct {
	Command  []string      // healthy when it exits with 0
	HTTP     string        // URL; healthy on a status below 400
	TCP      string        // host:port; healthy when it accepts
	Interval time.Duration // default 5s
	Timeout  time.Duration // of one check; default 2s
	Failures uint32        // checks in a row that make it unhealthy; default 3
}

// LogPolicy bounds what is kept of a task's output. Standard output and error are counted apart.
type LogPolicy struct {
	MaxBytes int64  // of one file; default 10 MiB
	Files    uint32 // older files kept; default 2
}

// Op compares a machine's attribute with a constraint's values.
type Op uint8

const (
	OpEqual Op = iota + 1
	OpNotEqual
	OpIn
	OpNotIn
	OpLess    // numerically
	OpGreater // numerically
	OpExists
	OpRegexp  // RE2, anywhere in the value
	OpVersion // a comma-separated list such as ">= 5.10, < 7"
)

// Ops lists all operators.
func Ops() []Op {
	return []Op{OpEqual, OpNotEqual, OpIn, OpNotIn, OpLess, OpGreater, OpExists, OpRegexp, OpVersion}
}

func (o Op) String() string {
	switch o {
	case OpEqual:
		return "="
	case OpNotEqual:
		return "!="
	case OpIn:
		return "in"
	case OpNotIn:
		return "not in"
	case OpLess:
		return "<"
	case OpGreater:
		return ">"
	case OpExists:
		return "exists"
	case OpRegexp:
		return "regexp"
	case OpVersion:
		return "version"
	}
	return fmt.Sprintf("Op(%d)", uint8(o))
}

// Constraint must hold for a machine to be considered. A machine without the attribute satisfies only != and not in.
type Constraint struct {
	Attribute string
	Op        Op
	Values    []string // one value, except for in and not in (one or more) and exists (none)
}

func (c Constraint) String() string {
	switch c.Op {
	case OpExists:
		return c.Attribute + " exists"
	case OpIn, OpNotIn:
		return fmt.Sprintf("%s %s %v", c.Attribute, c.Op, c.Values)
	}
	v := ""
	if len(c.Values) > 0 {
		v = c.Values[0]
	}
	return c.Attribute + " " + c.Op.String() + " " + v
}

// Affinity is a constraint that is only preferred. Weight is −100 … 100; a negative one repels.
type Affinity struct {
	Constraint
	Weight int32
}

// Spread asks for the job's tasks to be even over the values of an attribute.
type Spread struct {
	Attribute string
	Weight    int32  // 1 … 100 against the other parts of the score; default 50
	MaxSkew   uint32 // 0: only a preference; else no value may have more than so many tasks more than the emptiest one
}

// Packing says which machines a job prefers among those that fit.
type Packing uint8

const (
	Pack       Packing = iota + 1 // the fullest: leaves whole machines free
	SpreadLoad                    // the emptiest: leaves room to grow
)

func (p Packing) String() string {
	switch p {
	case Pack:
		return "pack"
	case SpreadLoad:
		return "spread"
	}
	return "unknown"
}

// UpdatePolicy says how a service goes from one version to the next.
type UpdatePolicy struct {
	MaxParallel   uint32        // tasks down or not yet healthy at a time; default 1
	HealthyFor    time.Duration // how long a new task must run healthy before the next is touched; default 5s
	HealthTimeout time.Duration // after which a new task that is not healthy stops the update; default 5m
}

// DisconnectPolicy says what becomes of tasks on a machine whose agent cannot reach the cell.
type DisconnectPolicy struct {
	StopAfter    time.Duration // the agent ends them; 0: it keeps them running
	ReplaceAfter time.Duration // the scheduler starts others elsewhere; default 1m, never where negative
}

// JobPhase is how far a job has come. The last three are final, until the submitter changes the job.
type JobPhase uint8

const (
	JobPending JobPhase = iota + 1 // no task placed yet
	JobRunning
	JobSucceeded
	JobFailed
	JobStopped
)

// JobPhases lists all phases of a job.
func JobPhases() []JobPhase {
	return []JobPhase{JobPending, JobRunning, JobSucceeded, JobFailed, JobStopped}
}

// Final reports whether nothing more happens to the job by itself.
func (p JobPhase) Final() bool { return p >= JobSucceeded }

func (p JobPhase) String() string {
	switch p {
	case JobPending:
		return "pending"
	case JobRunning:
		return "running"
	case JobSucceeded:
		return "succeeded"
	case JobFailed:
		return "failed"
	case JobStopped:
		return "stopped"
	}
	return "unknown"
}

// JobStatus is what the owning scheduler knows of a job beyond its live claims. Only that scheduler writes it.
type JobStatus struct {
	Scheduler   string
	Job         string
	Rev         int64  // revision that wrote it; not part of what is stored
	Run         uint32 // the submission it is about
	Version     uint64 // of the job it is about
	Phase       JobPhase
	Running     uint32      // tasks with a live claim whose process runs
	Placed      uint32      // tasks with a live claim
	Done        []TaskRange // tasks that succeeded, ascending, disjoint, not adjacent
	Tasks       []TaskState // tasks with a history worth keeping, ascending
	Rollout     *Rollout    // service: the update under way, or the last one
	Explanation *Explanation
	Message     string
	UpdatedAt   Instant
}

// Key returns the key that holds the status.
func (s *JobStatus) Key() Key { return StatusKey(s.Scheduler, s.Job) }

// TaskRange is the tasks From ≤ n < To.
type TaskRange struct{ From, To uint32 }

// TaskState is the history of a task that ended at least once without success.
type TaskState struct {
	Task      uint32
	Attempt   uint32 // of the next claim
	Failures  uint32
	NotBefore Instant // earliest time of the next attempt
	GaveUp    bool    // no further attempt
	Last      ClaimStatus
}

// Rollout is a service's way from one version to another.
type Rollout struct {
	Version uint64
	Phase   RolloutPhase
	Message string
}

// RolloutPhase is how far an update has come.
type RolloutPhase uint8

const (
	RolloutRunning RolloutPhase = iota + 1
	RolloutDone
	RolloutHalted // a new task did not become healthy in time; the rest keep the old version
)

func (p RolloutPhase) String() string {
	switch p {
	case RolloutRunning:
		return "running"
	case RolloutDone:
		return "done"
	case RolloutHalted:
		return "halted"
	}
	return "unknown"
}

// Explanation says why tasks wait. The counts of Rules add up to Looked − Eligible.
type Explanation struct {
	At         Instant
	Rev        int64  // revision of the snapshot it speaks of
	Unplaced   uint32 // tasks
	Attempts   uint32 // commits tried before the job was parked
	Parked     bool   // it waits for a change that could help, not for a timer alone
	Looked     uint32 // machines
	Eligible   uint32 // machines that no rule excluded
	Rules      []RuleCount
	NearMisses []NearMiss
	Unblock    string // what would help, for people
}

// RuleCount counts the machines that one rule excluded, each machine under the first rule that did.
type RuleCount struct {
	Rule  string // "constraint os = linux", "full: memory", "cordoned", "no session"
	Count uint32
}

// NearMiss is a machine that nearly fitted, and what it lacks.
type NearMiss struct {
	Machine string
	Lacks   string
}
