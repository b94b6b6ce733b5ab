package sim

import (
	"fmt"
	"time"

	"github.com/omegacell/omegacell/cellstate"
)

// Config configures a run. Machines and Horizon are required; a zero in any other field means the default its comment states.
type Config struct {
	Machines []cellstate.Resources // the capacity of each; see Uniform
	Prefill  []Job                 // running from the beginning on, as far as they fit: Submit is not read, nothing is counted
	Horizon  time.Duration         // the run ends here, whatever is under way

	Architecture Architecture    // default SharedState
	Schedulers   PerClass[int]   // of shared state and two-level, 1..MaxSchedulers for each class; default 1 each
	Think        PerClass[Think] // default 100 ms and 5 ms; of MonolithicSinglePath Service is for all jobs
	Offer        time.Duration   // two-level: what the allocator takes for an offer; default 1 ms

	Rule   cellstate.Rule // of shared state: what is a conflict; default FitRule
	Mode   cellstate.Mode // AllOrNothing: all tasks of a job start together, under every architecture; default Incremental
	Repair Repair         // of shared state; the zero Repair is the paper's way
	// Width is the number of near-best machines that a task is drawn among; 0 means one that follows recent conflicts, for
	// each scheduler apart (place.NextWidth). See place.Request.
	Width int
	// Pause is how long a job that found no room for all of its tasks waits before it is queued again; default 1 s. Neither
	// wait counts it.
	Pause time.Duration
	// Attempts is how often a job is tried before it is given up; one of which nothing is placed, a tenth of it. Default 1000.
	Attempts int

	Compat Compat // default CompatNone
	Seed   uint64 // of every choice
}

// MaxSchedulers bounds the schedulers of one class.
const MaxSchedulers = 1024

// MaxMachines bounds the machines of one run.
const MaxMachines = 1 << 20

// Think is what a decision takes: Job + n·Task for n tasks (Omega, §4).
type Think struct{ Job, Task time.Duration }

// For returns the decision time for n tasks.
func (t Think) For(n int) time.Duration { return t.Job + time.Duration(n)*t.Task }

// over is For in virtual time.
func (t Think) over(n int) clock { return clockOf(t.Job) + clockOf(t.Task)*clock(n) }

// Repair says what a shared-state scheduler does about losing races, besides deciding again from the beginning as in the
// paper.
type Repair struct {
	// Revalidate compares the decision with the newest snapshot when it is made, right before the commit, and decides again
	// just about the tasks whose machines were taken meanwhile, for so many rounds at most; 0: never. A round takes t_task
	// for each loser, and no t_job: what was thought about the job still holds.
	Revalidate int
	// Losers lets every attempt at a job but the first take t_task for each task that is not placed, and no t_job. Of a gang
	// that was refused it keeps the places that were not what it was refused for.
	Losers bool
	// Lag is how old the newest snapshot is: other schedulers see a commit only so long after it. Default 0. A scheduler sees
	// its own commits, and with them all before, at once.
	Lag time.Duration
}

// Architecture is who decides, and on what (Omega, §3).
type Architecture uint8

const (
	MonolithicSinglePath Architecture = iota + 1 // one scheduler, one decision time for all jobs
	MonolithicMultiPath                          // one scheduler, a decision time for each class
	TwoLevel                                     // an allocator offers all that is free to one framework at a time
	SharedState                                  // every scheduler sees everything and commits optimistically
)

// Architectures lists all architectures.
func Architectures() []Architecture {
	return []Architecture{MonolithicSinglePath, MonolithicMultiPath, TwoLevel, SharedState}
}

func (a Architecture) String() string {
	switch a {
	case MonolithicSinglePath:
		return "monolithic-single"
	case MonolithicMultiPath:
		return "monolithic-multi"
	case TwoLevel:
		return "two-level"
	case SharedState:
		return "shared-state"
	}
	return fmt.Sprintf("Architecture(%d)", uint8(a))
}

// Compat says whose quirks are reproduced.
type Compat uint8

const (
	CompatNone Compat = iota + 1
	// CompatGoogle reproduces cluster-scheduler-simulator (commit b882f26), shared state only: a task goes to the first
	// machine that has room, drawn uniformly from a list that keeps its order between jobs, all schedulers draw the same
	// numbers, and more; see compat.go. Repair, Width, Pause and Attempts are not read.
	CompatGoogle
)

func (c Compat) String() string {
	switch c {
	case CompatNone:
		return "none"
	case CompatGoogle:
		return "google"
	}
	return fmt.Sprintf("Compat(%d)", uint8(c))
}

// Uniform returns n machines of one capacity.
func Uniform(n int, capacity cellstate.Resources) []cellstate.Resources {
	m := make([]cellstate.Resources, n)
	for i := range m {
		m[i] = capacity
	}
	return m
}

func (c Config) withDefaults() (Config, error) {
	fill(&c.Architecture, SharedState)
	fill(&c.Rule, cellstate.FitRule)
	fill(&c.Mode, cellstate.Incremental)
	fill(&c.Compat, CompatNone)
	fill(&c.Offer, time.Millisecond)
	fill(&c.Pause, time.Second)
	fill(&c.Attempts, 1000)
	for _, class := range Classes() {
		fill(c.Schedulers.Of(class), 1)
		fill(c.Think.Of(class), Think{Job: 100 * time.Millisecond, Task: 5 * time.Millisecond})
	}
	return c, c.check()
}

func fill[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (c *Config) check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("sim: config: %w", fmt.Errorf(format+": %w", append(args, cellstate.ErrInvalid)...))
	}
	switch {
	case len(c.Machines) == 0 || len(c.Machines) > MaxMachines:
		return bad("%d machines, not 1 to %d", len(c.Machines), MaxMachines)
	case c.Horizon <= 0:
		return bad("horizon %v is not above 0", c.Horizon)
	case c.Architecture > SharedState:
		return bad("%s", c.Architecture)
	case c.Rule != cellstate.FitRule && c.Rule != cellstate.SeqRule:
		return bad("rule %s", c.Rule)
	case c.Mode != cellstate.Incremental && c.Mode != cellstate.AllOrNothing:
		return bad("mode %s", c.Mode)
	case c.Compat != CompatNone && c.Compat != CompatGoogle:
		return bad("compat %s", c.Compat)
	case c.Compat == CompatGoogle && c.Architecture != SharedState:
		return bad("compat google simulates shared-state, not %s", c.Architecture)
	case c.Offer < 0 || c.Pause < 0 || c.Repair.Lag < 0 || c.Repair.Revalidate < 0 || c.Width < 0 || c.Attempts < 1:
		return bad("a time, count or width is below zero")
	}
	for i := range c.Machines {
		if err := c.Machines[i].Check(); err != nil {
			return fmt.Errorf("sim: config: machine %d: %w", i, err)
		}
	}
	for _, class := range Classes() {
		if n := *c.Schedulers.Of(class); n < 1 || n > MaxSchedulers {
			return bad("%d %s schedulers, not 1 to %d", n, class, MaxSchedulers)
		}
		if t := c.Think.Of(class); t.Job < 0 || t.Task < 0 {
			return bad("%s: a decision time is below zero", class)
		}
	}
	return nil
}
