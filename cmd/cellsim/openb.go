package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/schedulers/sim/workload"
)

// trace is a recorded cell: machines, and tasks in the order in which they arrived.
type trace struct {
	machines []traceMachine
	tasks    []traceTask
}

type traceMachine struct {
	name     string
	capacity cellstate.Resources
	model    string // of its GPUs; "" where it has none
}

type traceTask struct {
	name       string
	arrived    int64 // seconds of the trace's own time
	resources  cellstate.Resources
	models     []string // GPU models it may use; none: any
	precedence cellstate.Precedence
}

// readOpenb reads Alibaba's openb trace (cluster-trace-gpu-v2023): nodes as sn,cpu_milli,memory_mib,gpu,model and pods as
// name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,…,creation_time,…. Columns are found by their names; others are
// passed over. Errors name file and line.
func readOpenb(machines, tasks string) (*trace, error) {
	var t trace
	err := workload.ReadTable(machines, []string{"sn", "cpu_milli", "memory_mib", "gpu", "model"}, func(r workload.Row) {
		t.machines = append(t.machines, traceMachine{name: r.Name("sn"), model: r.Text("model"), capacity: workload.OpenbCapacity(r)})
	})
	if err != nil {
		return nil, err
	}
	columns := []string{"name", "cpu_milli", "memory_mib", "num_gpu", "gpu_milli", "gpu_spec", "qos", "creation_time"}
	err = workload.ReadTable(tasks, columns, func(r workload.Row) {
		p := traceTask{
			name: r.Name("name"), arrived: r.Number("creation_time"), precedence: precedenceOf(r, "qos"), resources: workload.OpenbDemand(r),
		}
		if spec := r.Text("gpu_spec"); spec != "" {
			p.models = strings.Split(spec, "|")
		}
		t.tasks = append(t.tasks, p)
	})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(t.tasks, func(a, b traceTask) int { return int(a.arrived - b.arrived) })
	return &t, t.check(machines, tasks)
}

// check reports names that stand twice, and an empty trace.
func (t *trace) check(machines, tasks string) error {
	if len(t.machines) == 0 {
		return fmt.Errorf("%s: no machines: %w", machines, cellstate.ErrInvalid)
	}
	seen := make(map[string]bool)
	for _, m := range t.machines {
		if seen[m.name] {
			return fmt.Errorf("%s: machine %s stands there twice: %w", machines, m.name, cellstate.ErrInvalid)
		}
		seen[m.name] = true
	}
	clear(seen)
	for _, p := range t.tasks {
		if seen[p.name] {
			return fmt.Errorf("%s: %s stands there twice: %w", tasks, p.name, cellstate.ErrInvalid)
		}
		seen[p.name] = true
	}
	return nil
}

// precedenceOf gives the precedence that a Kubernetes quality of service stands for.
func precedenceOf(r workload.Row, column string) cellstate.Precedence {
	switch s := r.Text(column); s {
	case "BE":
		return cellstate.BandBestEffort.Lowest()
	case "Burstable", "":
		return cellstate.BandBatch.Lowest()
	case "LS", "Guaranteed":
		return cellstate.BandProduction.Lowest()
	default:
		r.Fail(column, fmt.Sprintf("unknown class %q", s))
	}
	return 0
}
