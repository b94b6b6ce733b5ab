package workload

import (
	"fmt"
	"math"
	"strings"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/schedulers/sim"
)

const (
	maxCPUs   = 1e6 // of one task
	maxMemGiB = 1e6
)

// ReadList reads jobs from lines of workload,submit_s,tasks,duration_s,cpus,mem: batch or service, seconds, a count, seconds,
// cores and GiB of one task. A first line with those names is passed over, and so are empty ones. Jobs keep the file's order,
// which counts where they are dealt over several schedulers.
func ReadList(file string) ([]sim.Job, error) {
	const heading = "workload,submit_s,tasks,duration_s,cpus,mem"
	var jobs []sim.Job
	first := true
	err := eachLine(file, func(text string) error {
		text = strings.TrimSpace(text)
		if text == "" || first && text == heading {
			first = false
			return nil
		}
		first = false
		j, err := parseJob(strings.Split(text, ","))
		if err != nil {
			return err
		}
		jobs = append(jobs, j)
		return j.Check()
	})
	if err != nil {
		return nil, err
	}
	if len(jobs) == 0 {
		return nil, fmt.Errorf("%s: no jobs: %w", file, cellstate.ErrInvalid)
	}
	return jobs, nil
}

func parseJob(fields []string) (j sim.Job, err error) {
	if len(fields) != 6 {
		return j, fmt.Errorf("%d fields, not the 6 of workload,submit_s,tasks,duration_s,cpus,mem", len(fields))
	}
	if j.Class, err = class(fields[0]); err != nil {
		return j, err
	}
	if j.Submit, err = seconds("submit_s", fields[1]); err != nil {
		return j, err
	}
	if j.Tasks, err = count("tasks", fields[2], 1, sim.MaxTasks); err != nil {
		return j, err
	}
	if j.Duration, err = seconds("duration_s", fields[3]); err != nil {
		return j, err
	}
	j.Duration = max(j.Duration, 1) // 0 would be for ever
	cpus, err := amount("cpus", fields[4], maxCPUs)
	if err != nil {
		return j, err
	}
	mem, err := amount("mem", fields[5], maxMemGiB)
	j.Demand = Amounts(cpus, mem)
	return j, err
}

func class(text string) (sim.Class, error) {
	for _, c := range sim.Classes() {
		if strings.EqualFold(text, c.String()) {
			return c, nil
		}
	}
	return 0, fmt.Errorf("workload: %q is not batch or service", text)
}

// Amounts returns so many cores and GiB, to the nearest thousandth and byte.
func Amounts(cpus, memGiB float64) cellstate.Resources {
	return cellstate.Resources{CPUMilli: int64(math.Round(cpus * 1000)), MemBytes: int64(math.Round(memGiB * (1 << 30)))}
}
