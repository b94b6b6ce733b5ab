package sim

import (
	"fmt"
	"time"

	"github.com/omegacell/omegacell/cellstate"
)

// Job is what is submitted: a number of equal tasks that run for the same time each.
type Job struct {
	Name     string // for people; may be empty
	Class    Class
	Submit   time.Duration // after the beginning of the run
	Duration time.Duration // of every task, from its placement on; below 0: until the end of the run
	Tasks    int
	Demand   cellstate.Resources // of one task
}

// Class says which scheduler a job goes to (Omega, §2.1: two kinds of jobs differ most).
type Class uint8

const (
	Batch   Class = iota + 1 // many, short, started soon or not at all
	Service                  // few, long, worth a longer decision
)

// Classes lists all classes.
func Classes() []Class { return []Class{Batch, Service} }

func (c Class) String() string {
	switch c {
	case Batch:
		return "batch"
	case Service:
		return "service"
	}
	return fmt.Sprintf("Class(%d)", uint8(c))
}

// PerClass holds one T for each class.
type PerClass[T any] struct{ Batch, Service T }

// Of returns the T of class c.
func (p *PerClass[T]) Of(c Class) *T {
	if c == Service {
		return &p.Service
	}
	return &p.Batch
}

// MaxTasks bounds the tasks of one job; MaxJobs the jobs of one run.
const (
	MaxTasks = 1 << 20
	MaxJobs  = 1 << 26
)

// Check returns an error that names what no job may have.
func (j *Job) Check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("sim: job %q: %w", j.Name, fmt.Errorf(format+": %w", append(args, cellstate.ErrInvalid)...))
	}
	switch {
	case j.Class != Batch && j.Class != Service:
		return bad("%s", j.Class)
	case j.Submit < 0:
		return bad("submitted at %v, before the run begins", j.Submit)
	case j.Tasks < 1 || j.Tasks > MaxTasks:
		return bad("%d tasks, not 1 to %d", j.Tasks, MaxTasks)
	case j.Demand.IsZero():
		return bad("a task asks for nothing")
	}
	if err := j.Demand.Check(); err != nil {
		return fmt.Errorf("sim: job %q: %w", j.Name, err)
	}
	return nil
}
