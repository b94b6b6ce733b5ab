package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/omegacell/omegacell/cellstate"
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
	err := readCSV(machines, []string{"sn", "cpu_milli", "memory_mib", "gpu", "model"}, func(r row) {
		t.machines = append(t.machines, traceMachine{
			name: r.name("sn"), model: r.text("model"),
			capacity: cellstate.Resources{
				CPUMilli: r.number("cpu_milli"), MemBytes: r.number("memory_mib") << 20,
				GPUMilli: r.number("gpu") * cellstate.GPUDevice,
			},
		})
	})
	if err != nil {
		return nil, err
	}
	columns := []string{"name", "cpu_milli", "memory_mib", "num_gpu", "gpu_milli", "gpu_spec", "qos", "creation_time"}
	err = readCSV(tasks, columns, func(r row) {
		p := traceTask{
			name: r.name("name"), arrived: r.number("creation_time"), precedence: r.qos("qos"),
			resources: cellstate.Resources{
				CPUMilli: r.number("cpu_milli"), MemBytes: r.number("memory_mib") << 20,
				GPUMilli: r.number("num_gpu") * r.number("gpu_milli"),
			},
		}
		if spec := r.text("gpu_spec"); spec != "" {
			p.models = strings.Split(spec, "|")
		}
		if err := p.resources.Check(); err != nil {
			r.fail("gpu_milli", err.Error())
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

// row is one line of a CSV file. Its methods keep the first error, which names the place.
type row struct {
	file   string
	line   int
	column map[string]int
	fields []string
	err    *error
}

func (r row) fail(column, why string) {
	if *r.err == nil {
		*r.err = fmt.Errorf("%s:%d: %s: %s: %w", r.file, r.line, column, why, cellstate.ErrInvalid)
	}
}

func (r row) text(column string) string { return strings.TrimSpace(r.fields[r.column[column]]) }

func (r row) name(column string) string {
	s := r.text(column)
	if err := cellstate.CheckName(s); err != nil {
		r.fail(column, err.Error())
	}
	return s
}

func (r row) number(column string) int64 {
	n, err := strconv.ParseInt(r.text(column), 10, 40)
	if err != nil || n < 0 {
		r.fail(column, fmt.Sprintf("%q is not a number from 0 to 2^39", r.text(column)))
	}
	return n
}

// qos gives the precedence that a Kubernetes quality of service stands for.
func (r row) qos(column string) cellstate.Precedence {
	switch s := r.text(column); s {
	case "BE":
		return cellstate.BandBestEffort.Lowest()
	case "Burstable", "":
		return cellstate.BandBatch.Lowest()
	case "LS", "Guaranteed":
		return cellstate.BandProduction.Lowest()
	default:
		r.fail(column, fmt.Sprintf("unknown class %q", s))
	}
	return 0
}

// maxLines bounds a trace file.
const maxLines = 10_000_000

// readCSV calls f for every line after the heading, which must have the columns.
func readCSV(file string, columns []string, f func(row)) error {
	in, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("%w: %w", err, cellstate.ErrInvalid)
	}
	defer in.Close()
	c := csv.NewReader(in)
	c.ReuseRecord = true
	heading, err := c.Read()
	if err != nil {
		return fmt.Errorf("%s:1: no heading: %v: %w", file, err, cellstate.ErrInvalid)
	}
	at := make(map[string]int)
	for i, h := range heading {
		at[strings.TrimSpace(h)] = i
	}
	for _, name := range columns {
		if _, ok := at[name]; !ok {
			return fmt.Errorf("%s:1: no column %s: %w", file, name, cellstate.ErrInvalid)
		}
	}
	var bad error
	for line := 2; ; line++ {
		fields, err := c.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s:%d: %v: %w", file, line, err, cellstate.ErrInvalid)
		}
		if line > maxLines {
			return fmt.Errorf("%s: more than %d lines: %w", file, maxLines, cellstate.ErrInvalid)
		}
		f(row{file: file, line: line, column: at, fields: fields, err: &bad})
		if bad != nil {
			return bad
		}
	}
}
