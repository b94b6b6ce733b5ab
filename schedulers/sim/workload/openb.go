package workload

import (
	"fmt"
	"time"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/schedulers/sim"
)

// ReadOpenb reads the pods of Alibaba's openb trace (cluster-trace-gpu-v2023) as jobs of one task, submitted when they were
// created, the first at 0, that run as long as they did once they were scheduled. Those that were latency-sensitive or
// guaranteed are of class service, the others batch. Pods of which it is not known when they were scheduled or deleted run on
// until the end. Which GPU models a pod may use is not read: a simulated cell's machines differ in nothing but capacity.
func ReadOpenb(file string) ([]sim.Job, error) {
	columns := []string{"name", "cpu_milli", "memory_mib", "num_gpu", "gpu_milli", "qos", "creation_time", "deletion_time", "scheduled_time"}
	var jobs []sim.Job
	err := ReadTable(file, columns, func(r Row) {
		j := sim.Job{Name: r.Name("name"), Class: sim.Batch, Submit: openbTime(r, "creation_time"), Tasks: 1, Demand: OpenbDemand(r)}
		if qos := r.Text("qos"); qos == "LS" || qos == "Guaranteed" {
			j.Class = sim.Service
		}
		if r.Text("deletion_time") != "" && r.Text("scheduled_time") != "" {
			j.Duration = max(openbTime(r, "deletion_time")-openbTime(r, "scheduled_time"), time.Second)
		}
		jobs = append(jobs, j)
	})
	if err != nil {
		return nil, err
	}
	if len(jobs) == 0 {
		return nil, fmt.Errorf("%s: no pods: %w", file, cellstate.ErrInvalid)
	}
	sortBySubmission(jobs)
	first := jobs[0].Submit
	for i := range jobs {
		jobs[i].Submit -= first
	}
	return jobs, nil
}

// OpenbDemand returns what a pod asks for: gpu_milli of each of num_gpu devices.
func OpenbDemand(r Row) cellstate.Resources {
	d := cellstate.Resources{
		CPUMilli: r.Number("cpu_milli"), MemBytes: r.Number("memory_mib") << 20, GPUMilli: r.Number("num_gpu") * r.Number("gpu_milli"),
	}
	if err := d.Check(); err != nil {
		r.Fail("gpu_milli", err.Error())
	}
	return d
}

// openbTime reads seconds of the trace's own time. Some have a fraction of zero.
func openbTime(r Row, column string) time.Duration {
	at, err := seconds(column, r.Text(column))
	if err != nil {
		r.Fail(column, fmt.Sprintf("%q is not a number of seconds", r.Text(column)))
	}
	return at
}

// OpenbCapacity returns what a node of the openb trace has, of a row with its columns.
func OpenbCapacity(r Row) cellstate.Resources {
	return cellstate.Resources{
		CPUMilli: r.Number("cpu_milli"), MemBytes: r.Number("memory_mib") << 20, GPUMilli: r.Number("gpu") * cellstate.GPUDevice,
	}
}

// ReadOpenbNodes reads the trace's machines.
func ReadOpenbNodes(file string) ([]cellstate.Resources, error) {
	var machines []cellstate.Resources
	err := ReadTable(file, []string{"cpu_milli", "memory_mib", "gpu"}, func(r Row) { machines = append(machines, OpenbCapacity(r)) })
	if err == nil && len(machines) == 0 {
		err = fmt.Errorf("%s: no machines: %w", file, cellstate.ErrInvalid)
	}
	return machines, err
}
