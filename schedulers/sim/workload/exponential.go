package workload

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/schedulers/sim"
)

// Exponential draws gaps between jobs and durations from exponential distributions, and numbers of tasks from the geometric
// one, the exponential's whole-numbered counterpart. All tasks of a class ask for the same.
type Exponential sim.PerClass[Arrivals]

// Arrivals are the jobs of one class. A zero Gap means that there are none.
type Arrivals struct {
	Gap      time.Duration // mean, from one job to the next
	Tasks    float64       // mean, of one job; at least 1
	Duration time.Duration // mean, of one job; all of its tasks run for the same time
	Demand   cellstate.Resources
}

// Default returns the example workload of Google's cluster-scheduler-simulator: a batch job of 100 tasks every 10 s that run
// for 100 s, a service job of 10 tasks every 20 s that run for 500 s, 1 CPU and 2 GiB each.
func Default() Exponential {
	task := cellstate.Resources{CPUMilli: 1000, MemBytes: 2 << 30}
	return Exponential{
		Batch:   Arrivals{Gap: 10 * time.Second, Tasks: 100, Duration: 100 * time.Second, Demand: task},
		Service: Arrivals{Gap: 20 * time.Second, Tasks: 10, Duration: 500 * time.Second, Demand: task},
	}
}

// Jobs draws the jobs submitted before the horizon. Each class has a source of its own, so that one class's jobs stay the same
// when the other's change.
func (e Exponential) Jobs(horizon time.Duration, rng *rand.Rand) ([]sim.Job, error) {
	var all []sim.Job
	for _, class := range sim.Classes() {
		a := *(*sim.PerClass[Arrivals])(&e).Of(class)
		own := rand.New(rand.NewPCG(rng.Uint64(), rng.Uint64()))
		if a.Gap == 0 {
			continue
		}
		if err := a.check(class); err != nil {
			return nil, err
		}
		var err error
		all, err = arrive(all, class, horizon, drawn{
			gap:      func() time.Duration { return exponential(own, a.Gap) },
			tasks:    func() int { return geometric(own, a.Tasks) },
			duration: func() time.Duration { return exponential(own, a.Duration) },
			demand:   a.Demand,
		})
		if err != nil {
			return nil, err
		}
	}
	sortBySubmission(all)
	return all, nil
}

// Running draws the jobs that run at any one time while all are placed at once, with what is left of their durations: the
// distribution has no memory. Their number is Poisson's.
func (e Exponential) Running(rng *rand.Rand) ([]sim.Job, error) {
	var all []sim.Job
	for _, class := range sim.Classes() {
		a := *(*sim.PerClass[Arrivals])(&e).Of(class)
		own := rand.New(rand.NewPCG(rng.Uint64(), rng.Uint64()))
		if a.Gap == 0 {
			continue
		}
		if err := a.check(class); err != nil {
			return nil, err
		}
		for at := own.ExpFloat64() * float64(a.Gap); at < float64(a.Duration); at += own.ExpFloat64() * float64(a.Gap) {
			if len(all) == sim.MaxJobs {
				return nil, fmt.Errorf("workload: more than %d jobs run at a time: %w", sim.MaxJobs, cellstate.ErrInvalid)
			}
			all = append(all, sim.Job{Class: class, Tasks: geometric(own, a.Tasks), Duration: exponential(own, a.Duration), Demand: a.Demand})
		}
	}
	return all, nil
}

// Asked returns how much CPU, in thousandths of a core, the jobs of the class ask for on average at any one time.
func (a *Arrivals) Asked() float64 {
	if a.Gap == 0 {
		return 0
	}
	return a.Tasks * float64(a.Demand.CPUMilli) * float64(a.Duration) / float64(a.Gap)
}

func (a *Arrivals) check(class sim.Class) error {
	if a.Gap < 0 || a.Tasks < 1 || a.Tasks > sim.MaxTasks || a.Duration <= 0 {
		return fmt.Errorf("workload: %s: a job of %g tasks for %v every %v: %w", class, a.Tasks, a.Duration, a.Gap, cellstate.ErrInvalid)
	}
	return nil
}

// drawn draws what a job consists of, in the order of the fields.
type drawn struct {
	gap      func() time.Duration
	tasks    func() int
	duration func() time.Duration
	demand   cellstate.Resources
}

// arrive appends the jobs of one class that are submitted before the horizon.
func arrive(jobs []sim.Job, class sim.Class, horizon time.Duration, d drawn) ([]sim.Job, error) {
	for at := d.gap(); at < horizon; at += d.gap() {
		if len(jobs) == sim.MaxJobs {
			return nil, fmt.Errorf("workload: more than %d jobs within %v: %w", sim.MaxJobs, horizon, cellstate.ErrInvalid)
		}
		jobs = append(jobs, sim.Job{Class: class, Submit: at, Tasks: d.tasks(), Duration: d.duration(), Demand: d.demand})
	}
	return jobs, nil
}

// exponential draws a time of at least a nanosecond: a job that takes none would run for ever.
func exponential(rng *rand.Rand, mean time.Duration) time.Duration {
	return max(1, time.Duration(rng.ExpFloat64()*float64(mean)))
}

// geometric draws 1, 2, … with the given mean: one more than the whole part of an exponential draw with rate −ln(1−1/mean).
func geometric(rng *rand.Rand, mean float64) int {
	if mean <= 1 {
		return 1
	}
	return min(sim.MaxTasks, 1+int(rng.ExpFloat64()/-math.Log1p(-1/mean)))
}

// sortBySubmission keeps the order of jobs submitted at one time.
func sortBySubmission(jobs []sim.Job) {
	slices.SortStableFunc(jobs, func(a, b sim.Job) int { return cmp.Compare(a.Submit, b.Submit) })
}
