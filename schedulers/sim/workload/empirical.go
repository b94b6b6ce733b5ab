package workload

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/schedulers/sim"
)

// Traces names the files of observed values that Google's cluster-scheduler-simulator reads: lines of cluster, assignment
// policy, scheduler (0 batch, 1 service) and the value, between spaces. The policy may be left out.
type Traces struct {
	Gaps      string // seconds from one job to the next
	Tasks     string // tasks of a job
	Durations string // seconds
}

// Empirical draws gaps, tasks and durations independently from the values observed, by the inverse of their distribution
// function, straight between two of them. A class of which no gap was observed has no jobs.
type Empirical struct {
	gaps, tasks, durations sim.PerClass[sample]
	demand                 sim.PerClass[cellstate.Resources]
}

// ReadEmpirical reads the observed values; demand is what a task of each class asks for, which they do not tell.
func ReadEmpirical(files Traces, demand sim.PerClass[cellstate.Resources]) (*Empirical, error) {
	e := &Empirical{demand: demand}
	for _, f := range []struct {
		file  string
		into  *sim.PerClass[sample]
		value func(text string) (float64, error)
	}{
		{files.Gaps, &e.gaps, func(text string) (float64, error) { return amount("interarrival time", text, maxSeconds) }},
		{files.Tasks, &e.tasks, func(text string) (float64, error) {
			n, err := count("tasks", text, 1, sim.MaxTasks)
			return float64(n), err
		}},
		{files.Durations, &e.durations, func(text string) (float64, error) { return amount("runtime", text, maxSeconds) }},
	} {
		if err := readObserved(f.file, f.into, f.value); err != nil {
			return nil, err
		}
	}
	for _, c := range sim.Classes() {
		gaps := *e.gaps.Of(c)
		switch {
		case len(gaps) == 0:
			continue
		case len(*e.tasks.Of(c)) == 0:
			return nil, fmt.Errorf("%s: no values for %s: %w", files.Tasks, c, cellstate.ErrInvalid)
		case len(*e.durations.Of(c)) == 0:
			return nil, fmt.Errorf("%s: no values for %s: %w", files.Durations, c, cellstate.ErrInvalid)
		case gaps[len(gaps)-1] == 0:
			return nil, fmt.Errorf("%s: every gap between %s jobs is 0: %w", files.Gaps, c, cellstate.ErrInvalid)
		}
	}
	if len(e.gaps.Batch)+len(e.gaps.Service) == 0 {
		return nil, fmt.Errorf("%s: no values: %w", files.Gaps, cellstate.ErrInvalid)
	}
	return e, nil
}

func readObserved(file string, into *sim.PerClass[sample], value func(string) (float64, error)) error {
	err := eachLine(file, func(text string) error {
		fields := strings.Fields(text)
		n := len(fields)
		if n == 0 {
			return nil
		}
		if n != 3 && n != 4 {
			return fmt.Errorf("%d columns, not cluster, policy, scheduler and value", n)
		}
		class, ok := map[string]sim.Class{"0": sim.Batch, "1": sim.Service}[fields[n-2]]
		if !ok {
			return fmt.Errorf("scheduler %q is not 0 or 1", fields[n-2])
		}
		v, err := value(fields[n-1])
		s := into.Of(class)
		*s = append(*s, v)
		return err
	})
	for _, c := range sim.Classes() {
		slices.Sort(*into.Of(c))
	}
	return err
}

// Jobs draws the jobs submitted before the horizon. Each class has a source of its own.
func (e *Empirical) Jobs(horizon time.Duration, rng *rand.Rand) ([]sim.Job, error) {
	var all []sim.Job
	for _, c := range sim.Classes() {
		own := rand.New(rand.NewPCG(rng.Uint64(), rng.Uint64()))
		gaps, tasks, durations := *e.gaps.Of(c), *e.tasks.Of(c), *e.durations.Of(c)
		if len(gaps) == 0 {
			continue
		}
		var err error
		all, err = arrive(all, c, horizon, drawn{
			gap:      func() time.Duration { return gaps.seconds(own) },
			tasks:    func() int { return int(tasks.draw(own) + 0.5) },
			duration: func() time.Duration { return max(1, durations.seconds(own)) },
			demand:   *e.demand.Of(c),
		})
		if err != nil {
			return nil, err
		}
	}
	sortBySubmission(all)
	return all, nil
}

// sample is what was observed, ascending.
type sample []float64

// at returns the value below which the share p lies, 0 ≤ p < 1: the observed values stand at 0, 1/(n−1), …, 1.
func (s sample) at(p float64) float64 {
	place := p * float64(len(s)-1)
	i := int(place)
	if i+1 >= len(s) {
		return s[len(s)-1]
	}
	return s[i] + (place-float64(i))*(s[i+1]-s[i])
}

func (s sample) draw(rng *rand.Rand) float64 { return s.at(rng.Float64()) }

func (s sample) seconds(rng *rand.Rand) time.Duration {
	return time.Duration(s.draw(rng) * float64(time.Second))
}
