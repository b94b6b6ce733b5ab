package integration

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/omegacell/omegacell/cellstate"
)

// workload is one file of testdata/workloads: a cell, and what schedulers are given to do in it.
type workload struct {
	Kind       string   `yaml:"kind"`       // place, the default; start: real processes; big: build and mirror first
	Machines   int      `yaml:"machines"`   // equal ones, 40 to a rack
	Room       int      `yaml:"room"`       // claims that each has room for
	Filled     float64  `yaml:"filled"`     // share of the room taken before, the same on each machine
	Uneven     bool     `yaml:"uneven"`     // rather, each place is taken with that chance
	Schedulers int      `yaml:"schedulers"` // each with a mirror and a loop of its own
	Workers    int      `yaml:"workers"`    // jobs each has under way; 0 for the loop's default
	Stores     int      `yaml:"stores"`     // that they share, as in one process; 0 for 1
	Jobs       int      `yaml:"jobs"`       // dealt over the schedulers in turn, all there before they begin
	Tasks      int      `yaml:"tasks"`      // of each job
	Packing    string   `yaml:"packing"`    // spread, the default, or pack
	Mode       string   `yaml:"mode"`       // incremental, the default, or gang
	SpreadOver []string `yaml:"spreadOver"` // attributes
	Hot        int      `yaml:"hot"`        // all jobs must run on these machines; compared with so many for each scheduler alone
	Pace       float64  `yaml:"pace"`       // after it went as fast as it goes, once more at this share of that rate
	Report     []string `yaml:"report"`     // which figures
	Small      *struct {
		Machines, Schedulers, Jobs, Tasks, Hot int
	} `yaml:"small"` // what is less in a test
}

const machinesRack = 40

// readWorkloads returns all workloads by name.
func readWorkloads(tb testing.TB) map[string]workload {
	tb.Helper()
	files, err := filepath.Glob("testdata/workloads/*.yaml")
	if err != nil || len(files) == 0 {
		tb.Fatalf("no workloads: %v", err)
	}
	all := make(map[string]workload)
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			tb.Fatal(err)
		}
		var w workload
		if err := yaml.NewDecoder(bytes.NewReader(text), yaml.DisallowUnknownField()).Decode(&w); err != nil {
			tb.Fatalf("%s: %v", f, err)
		}
		if len(w.Report) == 0 || w.Small == nil || text[0] != '#' {
			tb.Fatalf("%s: it begins with the reason why it is there, says what it reports, and what is less in a test", f)
		}
		all[strings.TrimSuffix(filepath.Base(f), ".yaml")] = w
	}
	return all
}

// forTest returns the workload at the size of a test.
func (w workload) forTest() workload {
	for _, f := range []struct {
		to   *int
		less int
	}{
		{&w.Machines, w.Small.Machines}, {&w.Schedulers, w.Small.Schedulers}, {&w.Jobs, w.Small.Jobs}, {&w.Tasks, w.Small.Tasks}, {&w.Hot, w.Small.Hot},
	} {
		if f.less > 0 {
			*f.to = f.less
		}
	}
	return w
}

func (w *workload) claims() int { return w.Jobs * w.Tasks }

// What one task wants.
const (
	taskCPUMilli = 1000
	taskMemBytes = 1 << 30
)

func rackMachine(i int) string { return fmt.Sprintf("rack-%04d-%02d", i/machinesRack, i%machinesRack) }

func racer(i int) string { return fmt.Sprintf("sched-%03d", i) }

// job is job i of all. pool is the machines that it must run on; "" for any.
func (w *workload) job(i int, pool string) *cellstate.Job {
	j := &cellstate.Job{
		Scheduler: racer(i % w.Schedulers), Name: fmt.Sprintf("job-%06d", i), Run: 1, Version: 1, Tenant: cellstate.DefaultTenant,
		Precedence: cellstate.BandBatch.Lowest(), Tasks: uint32(w.Tasks), Packing: cellstate.SpreadLoad, SubmittedAt: now(),
		Task: cellstate.TaskSpec{Driver: "emulated", Resources: cellstate.Resources{CPUMilli: taskCPUMilli, MemBytes: taskMemBytes}},
	}
	if w.Packing == "pack" {
		j.Packing = cellstate.Pack
	}
	if w.Mode == "gang" {
		j.GangMin = j.Tasks
	}
	for _, a := range w.SpreadOver {
		j.Spread = append(j.Spread, cellstate.Spread{Attribute: a})
	}
	if pool != "" {
		j.Constraints = []cellstate.Constraint{{Attribute: "pool", Op: cellstate.OpEqual, Values: []string{pool}}}
	}
	return j
}

// figures are what a workload found, by name.
type figures map[string]float64

// run runs a workload. The figures may be more than those that its file asks for.
func (w workload) run(tb testing.TB, audit bool) figures {
	tb.Helper()
	switch w.Kind {
	case "":
		return placeWorkload(tb, w, audit)
	case "start":
		return startWorkload(tb, w)
	case "big":
		return bigWorkload(tb, w, audit)
	}
	tb.Fatalf("there is no kind %q", w.Kind)
	return nil
}

// BenchmarkWorkload runs every workload at its full size, with fsync.
func BenchmarkWorkload(b *testing.B) {
	all := readWorkloads(b)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		b.Run(name, func(b *testing.B) {
			w := all[name]
			for b.Loop() {
				f := w.run(b, false)
				for _, unit := range w.Report {
					v, ok := f[unit]
					if !ok {
						b.Fatalf("there is no figure %q, but %q", unit, slices.Sorted(maps.Keys(f)))
					}
					b.ReportMetric(v, unit)
				}
			}
		})
	}
}

// TestWorkload runs every workload at a small size, and audits every revision. It asserts no time.
func TestWorkload(t *testing.T) {
	all := readWorkloads(t)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		t.Run(name, func(t *testing.T) {
			w := all[name].forTest()
			f := w.run(t, true)
			for _, unit := range w.Report {
				if v, ok := f[unit]; !ok || v < 0 {
					t.Errorf("%s: %v, %t", unit, v, ok)
				}
			}
		})
	}
}
