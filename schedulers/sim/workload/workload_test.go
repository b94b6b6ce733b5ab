package workload

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/schedulers/sim"
)

func source(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

// jobLines writes jobs as a reader of the tests sees them.
func jobLines(jobs []sim.Job) []string {
	var all []string
	for _, j := range jobs {
		all = append(all, fmt.Sprintf("%s %s %v %d×%v %s", j.Name, j.Class, j.Submit, j.Tasks, j.Duration, j.Demand))
	}
	return all
}

// TestExponentialMeans compares what is drawn with what was asked for, to within 4 standard errors.
func TestExponentialMeans(t *testing.T) {
	e := Default()
	const horizon = 40 * 24 * time.Hour
	jobs, err := e.Jobs(horizon, source(1))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		class sim.Class
		want  Arrivals
	}{{sim.Batch, e.Batch}, {sim.Service, e.Service}} {
		var n, tasks, duration float64
		for _, j := range jobs {
			if j.Class != tt.class {
				continue
			}
			if err := j.Check(); err != nil || !j.Demand.Equal(tt.want.Demand) {
				t.Fatalf("job %+v: %v", j, err)
			}
			n++
			tasks += float64(j.Tasks)
			duration += j.Duration.Seconds()
		}
		for _, m := range []struct {
			name       string
			got, want  float64
			standardOf float64 // standard deviation of one draw, as a share of the mean
		}{
			{"gap", horizon.Seconds() / n, tt.want.Gap.Seconds(), 1},
			{"tasks", tasks / n, tt.want.Tasks, 1},
			{"duration", duration / n, tt.want.Duration.Seconds(), 1},
		} {
			if off := math.Abs(m.got/m.want - 1); off > 4*m.standardOf/math.Sqrt(n) {
				t.Errorf("%s: mean %s %g, want %g: off by %.4f of it", tt.class, m.name, m.got, m.want, off)
			}
		}
	}
	if !slices.IsSortedFunc(jobs, func(a, b sim.Job) int { return int(a.Submit - b.Submit) }) {
		t.Error("not in the order of submission")
	}
}

// TestExponentialStreams: one class's jobs do not change with the other's, nor with the horizon; another seed gives others.
func TestExponentialStreams(t *testing.T) {
	draw := func(e Exponential, seed uint64, horizon time.Duration) (service []string) {
		jobs, err := e.Jobs(horizon, source(seed))
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range jobs {
			if j.Class == sim.Service && j.Submit < time.Hour {
				service = append(service, jobLines([]sim.Job{j})...)
			}
		}
		return service
	}
	want := draw(Default(), 1, time.Hour)
	faster := Default()
	faster.Batch.Gap /= 10
	without := Default()
	without.Batch.Gap = 0
	for name, got := range map[string][]string{
		"again": draw(Default(), 1, time.Hour), "longer": draw(Default(), 1, 2*time.Hour),
		"more batch": draw(faster, 1, time.Hour), "no batch": draw(without, 1, time.Hour),
	} {
		if !slices.Equal(got, want) {
			t.Errorf("%s: %d service jobs differ from the %d before", name, len(got), len(want))
		}
	}
	if slices.Equal(draw(Default(), 2, time.Hour), want) {
		t.Error("another seed gave the same jobs")
	}
}

// TestRunning: what runs at a time asks for as much as Asked says.
func TestRunning(t *testing.T) {
	e := Default()
	var got, n float64
	for seed := range uint64(400) {
		jobs, err := e.Running(source(seed))
		if err != nil {
			t.Fatal(err)
		}
		n++
		for _, j := range jobs {
			got += float64(int64(j.Tasks) * j.Demand.CPUMilli)
		}
	}
	want := e.Batch.Asked() + e.Service.Asked()
	if want != 1_250_000 {
		t.Errorf("asked for %g, want 1000 + 250 cores", want)
	}
	if off := math.Abs(got/n/want - 1); off > 0.1 {
		t.Errorf("%g on average, want %g", got/n, want)
	}
}

func TestGeometric(t *testing.T) {
	for _, mean := range []float64{1, 1.2, 3, 1000} {
		rng, sum, least := source(3), 0.0, math.MaxInt
		const n = 100_000
		for range n {
			v := geometric(rng, mean)
			sum += float64(v)
			least = min(least, v)
		}
		if off := math.Abs(sum/n/mean - 1); off > 0.02 || least < 1 {
			t.Errorf("mean %g: got %g, least %d", mean, sum/n, least)
		}
	}
}

func TestExponentialRefuses(t *testing.T) {
	for name, change := range map[string]func(*Arrivals){
		"less than a task": func(a *Arrivals) { a.Tasks = 0.5 },
		"too many tasks":   func(a *Arrivals) { a.Tasks = sim.MaxTasks + 1 },
		"no duration":      func(a *Arrivals) { a.Duration = 0 },
		"before the last":  func(a *Arrivals) { a.Gap = -1 },
	} {
		e := Default()
		change(&e.Service)
		if _, err := e.Jobs(time.Hour, source(1)); !errors.Is(err, cellstate.ErrInvalid) || !strings.Contains(err.Error(), "service") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// TestSample: the inverse of the distribution function, at the observed values and between them.
func TestSample(t *testing.T) {
	s := sample{10, 20, 40}
	for _, tt := range []struct{ p, want float64 }{{0, 10}, {0.25, 15}, {0.5, 20}, {0.75, 30}, {1, 40}} {
		if got := s.at(tt.p); got != tt.want {
			t.Errorf("at(%g) = %g, want %g", tt.p, got, tt.want)
		}
	}
	if got := (sample{7}).at(0.9); got != 7 {
		t.Errorf("the only value: %g", got)
	}
}

func demand() sim.PerClass[cellstate.Resources] {
	return sim.PerClass[cellstate.Resources]{Batch: Amounts(1, 2), Service: Amounts(2, 4)}
}

func TestEmpirical(t *testing.T) {
	e, err := ReadEmpirical(Traces{Gaps: "testdata/gaps.log", Tasks: "testdata/tasks.log", Durations: "testdata/durations.log"}, demand())
	if err != nil {
		t.Fatal(err)
	}
	jobs, err := e.Jobs(10*time.Hour, source(1))
	if err != nil {
		t.Fatal(err)
	}
	var n, tasks sim.PerClass[int]
	last := sim.PerClass[time.Duration]{}
	for _, j := range jobs {
		*n.Of(j.Class)++
		*tasks.Of(j.Class) += j.Tasks
		gap := j.Submit - *last.Of(j.Class)
		*last.Of(j.Class) = j.Submit
		d := demand()
		switch {
		case !j.Demand.Equal(*d.Of(j.Class)):
			t.Fatalf("%s asks for %s", j.Class, j.Demand)
		case j.Class == sim.Batch && (gap < 500*time.Millisecond || gap > 2500*time.Millisecond || j.Tasks > 10 || j.Duration < 20500*time.Millisecond || j.Duration > time.Minute):
			t.Fatalf("batch, %v after the last: %+v", gap, j)
		case j.Class == sim.Service && (gap < 100*time.Second || gap > 300*time.Second || j.Tasks != 3 || j.Duration != 4000*time.Second):
			t.Fatalf("service, %v after the last: %+v", gap, j)
		}
	}
	// The means of the distributions are 1.5 s and 200 s, and (1+5.5)/2 tasks.
	if math.Abs(float64(n.Batch)/24000-1) > 0.02 || math.Abs(float64(n.Service)/180-1) > 0.1 {
		t.Errorf("%d batch and %d service jobs in 10 h, want about 24000 and 180", n.Batch, n.Service)
	}
	if mean := float64(tasks.Batch) / float64(n.Batch); math.Abs(mean-3.25) > 0.1 {
		t.Errorf("%g tasks to a batch job, want about 3.25", mean)
	}
	again, err := e.Jobs(10*time.Hour, source(1))
	if err != nil || !slices.Equal(jobLines(again), jobLines(jobs)) {
		t.Errorf("the same seed gave other jobs (%v)", err)
	}
}

func TestReadSWF(t *testing.T) {
	jobs, left, err := ReadSWF("testdata/small.swf", 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"1 batch 0s 56×1s " + Amounts(1, 2.0/1024).String(), // the processors allocated, the memory used, less than a second
		"3 batch 3m20s 8×1m37s " + Amounts(1, 1).String(),   // neither memory known
		"5 batch 3m20s 2×30s " + Amounts(1, 4.0/1024).String(),
	}
	if got := jobLines(jobs); !slices.Equal(got, want) || left != 2 {
		t.Errorf("%d left out, read\n%s\nwant 2 and\n%s", left, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestReadList(t *testing.T) {
	jobs, err := ReadList("testdata/jobs.csv")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{ // in the file's order
		" batch 4.5s 12×1m0.25s " + Amounts(0.5, 3).String(),
		" service 1s 2×1ns " + Amounts(1, 0).String(),
		" batch 2s 1×7s " + cellstate.Resources{CPUMilli: 2002, MemBytes: 512 << 20}.String(),
	}
	if got := jobLines(jobs); !slices.Equal(got, want) {
		t.Errorf("read\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

const podsHeading = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time\n"

func TestReadOpenb(t *testing.T) {
	file := write(t, podsHeading+
		"late,4000,1024,2,1000,G2|T4,BE,Running,1020,1030,1025\nearly,1000,512,1,460,,LS,Running,1010,1400.0,1010\nended,1,1,0,0,,Burstable,Failed,1010,1030,\n")
	jobs, err := ReadOpenb(file)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"early service 0s 1×6m30s " + cellstate.Resources{CPUMilli: 1000, MemBytes: 512 << 20, GPUMilli: 460}.String(),
		"ended batch 0s 1×0s " + cellstate.Resources{CPUMilli: 1, MemBytes: 1 << 20}.String(),
		"late batch 10s 1×5s " + cellstate.Resources{CPUMilli: 4000, MemBytes: 1 << 30, GPUMilli: 2000}.String(),
	}
	if got := jobLines(jobs); !slices.Equal(got, want) {
		t.Errorf("read\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "input")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestBadInput: every error names the file, and the line where one is to blame.
func TestBadInput(t *testing.T) {
	list := func(file string) error { _, err := ReadList(file); return err }
	swf := func(file string) error { _, _, err := ReadSWF(file, 0); return err }
	pods := func(file string) error { _, err := ReadOpenb(file); return err }
	nodes := func(file string) error { _, err := ReadOpenbNodes(file); return err }
	traces := func(change func(t *Traces, file string)) func(string) error {
		return func(file string) error {
			f := Traces{Gaps: "testdata/gaps.log", Tasks: "testdata/tasks.log", Durations: "testdata/durations.log"}
			change(&f, file)
			_, err := ReadEmpirical(f, demand())
			return err
		}
	}
	gaps := traces(func(t *Traces, file string) { t.Gaps = file })
	tasks := traces(func(t *Traces, file string) { t.Tasks = file })
	durations := traces(func(t *Traces, file string) { t.Durations = file })
	const processors = "1 0 0 1 1 -1 -1 1 1 -1 1 1 1 -1 -1 -1 -1 -1\n"
	for _, tt := range []struct {
		name string
		read func(string) error
		text string
		says string
	}{
		{"list: empty", list, "", "input: no jobs"},
		{"list: fields", list, "Batch,1,1,1,1,1\nBatch,1,1,1,1\n", "input:2: 5 fields"},
		{"list: heading in the middle", list, "Batch,1,1,1,1,1\nworkload,submit_s,tasks,duration_s,cpus,mem\n", `input:2: workload: "workload"`},
		{"list: class", list, "Best,1,1,1,1,1\n", `input:1: workload: "Best" is not batch or service`},
		{"list: submission", list, "Batch,-0.1,1,1,1,1\n", `input:1: submit_s: "-0.1"`},
		{"list: no tasks", list, "Batch,1,0,1,1,1\n", `input:1: tasks: "0" is not a whole number`},
		{"list: part of a task", list, "Batch,1,1.5,1,1,1\n", `input:1: tasks: "1.5"`},
		{"list: duration", list, "Batch,1,1,NaN,1,1\n", `input:1: duration_s: "NaN"`},
		{"list: cores", list, "Batch,1,1,1,many,1\n", `input:1: cpus: "many"`},
		{"list: memory", list, "Batch,1,1,1,1,Inf\n", `input:1: mem: "Inf"`},
		{"list: asks for nothing", list, "Batch,1,1,1,0,0\n", "input:1: "},
		{"list: a line without an end", list, strings.Repeat("x", 1<<20), "input:1: "},
		{"swf: empty", swf, "; nothing\n", "input: no jobs"},
		{"swf: fields", swf, processors + "1 2 3\n", "input:2: 3 fields, not 18"},
		{"swf: number", swf, strings.Replace(processors, "1", "one", 1), `input:1: field 1: "one"`},
		{"swf: below -1", swf, strings.Replace(processors, "-1", "-2", 1), `input:1: field 6: "-2"`},
		{"swf: part of a processor", swf, strings.Replace(processors, "1 -1 -1 1", "1 -1 -1 0.5", 1), "input:1: 0.5 processors"},
		{"swf: too many", swf, strings.Replace(processors, "1 -1 -1 1", "1 -1 -1 1048577", 1), "input:1: "},
		{"empirical: columns", gaps, "a b 0 1\na b\n", "input:2: 2 columns"},
		{"empirical: scheduler", gaps, "a b 2 1\n", `input:1: scheduler "2" is not 0 or 1`},
		{"empirical: value", durations, "a b 0 -1\n", `input:1: runtime: "-1"`},
		{"empirical: part of a task", tasks, "a b 0 1\na b 0 1.5\n", `input:2: tasks: "1.5"`},
		{"empirical: none", gaps, "\n", "input: no values"},
		{"empirical: a class without tasks", tasks, "a b 0 1\n", "input: no values for service"},
		{"empirical: a class without durations", durations, "a b 1 1\n", "input: no values for batch"},
		{"empirical: no gaps", gaps, "a b 0 0\na b 0 0\n", "input: every gap between batch jobs is 0"},
		{"openb: no heading", pods, "", "input:1: no heading"},
		{"openb: column", pods, "name\n", "input:1: no column cpu_milli"},
		{"openb: none", pods, podsHeading, "input: no pods"},
		{"openb: time", pods, podsHeading + "p,1,1,0,0,,LS,Running,soon,0,0\n", `input:2: creation_time: "soon"`},
		{"openb: part of two devices", pods, podsHeading + "p,1,1,2,600,,LS,Running,0,0,0\n", "input:2: gpu_milli"},
		{"openb: short line", pods, podsHeading + "p,1\n", "input:2: "},
		{"openb: nodes", nodes, "cpu_milli,memory_mib,gpu\n-1,1,1\n", "input:2: cpu_milli"},
		{"openb: no nodes", nodes, "cpu_milli,memory_mib,gpu\n", "input: no machines"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.read(write(t, tt.text))
			if !errors.Is(err, cellstate.ErrInvalid) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error %v, want invalid: … %s …", err, tt.says)
			}
		})
	}
	for name, read := range map[string]func(string) error{"list": list, "swf": swf, "pods": pods, "gaps": gaps} {
		if err := read("absent.file"); !errors.Is(err, cellstate.ErrInvalid) || !strings.Contains(err.Error(), "absent.file") {
			t.Errorf("%s: no such file: %v", name, err)
		}
	}
}
