package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/perf/benchfmt"
)

// step is one command whose output is recorded.
type step struct {
	name    string
	title   string
	command []string
	times   int    // that the command is run
	as      string // the benchmark's name, where the command prints figures as one JSON object
}

// plan says what is run. Workloads have a process each: memory is measured too.
func plan(count, whole int, short bool) []step {
	bench := func(name, title, benchmarks string, flags []string, packages ...string) step {
		c := append([]string{"go", "test", "-run", "^$", "-bench", benchmarks, "-count", fmt.Sprint(count), "-timeout", "60m"}, flags...)
		if short {
			c = append(c, "-short")
		}
		return step{name: name, title: title, command: append(c, packages...), times: 1}
	}
	one := []string{"-cpu", "1", "-benchtime", "0.3s"}
	two := []string{"-benchtime", "1x"}
	steps := []step{
		bench("cell", "the cell's rules, on one core", ".", one, "./cellstate"),
		bench("wire", "the stored form, on one core", ".", one, "./cellstate/wire"),
		bench("place", "planning, on one core", "^Benchmark(Place|Explain|Victims)$", one, "./schedulers/place"),
		bench("mirror", "the mirror, on one core", "^Benchmark(Apply|Snapshot|Rebuild)", one, "./cellstate/mirror"),
		bench("store", "the store on etcd with fsync", "^Benchmark(Commit|Path|Swap)$", []string{"-benchtime", "0.5s"}, "./cellstate/etcdstore"),
		bench("loop", "the scheduler's loop", "^Benchmark(Loop|Contention)$", two, "./schedulers"),
		bench("agent/start", "the agent", "^BenchmarkStart$", []string{"-benchtime", "20x"}, "./agent/exec"),
		bench("agent/idle", "the agent", "^Benchmark(Idle|Emulated)$", two, "./cmd/cellagent"),
		bench("sim", "the simulator", "^Benchmark(Run|Compat)$", two, "./schedulers/sim"),
	}
	for _, packing := range []string{"spread", "pack"} {
		steps = append(steps, step{
			name: "perf/" + packing, title: "cellctl check perf", as: "CheckPerf/packing=" + packing, times: whole,
			command: []string{"go", "run", "./cmd/cellctl", "check", "perf", "--embedded", "-w", "json", "--" + packing},
		})
	}
	files, _ := filepath.Glob("integration/testdata/workloads/*.yaml") // the pattern is a good one
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".yaml")
		steps = append(steps, step{
			name: "workload/" + name, title: "workloads", times: whole,
			command: []string{"go", "test", "-run", "^$", "-bench", "^BenchmarkWorkload$/^" + name + "$", "-benchtime", "1x", "-timeout", "30m", "./integration"},
		})
	}
	return steps
}

// line is the command as a shell takes it.
func (s *step) line() string {
	var b []string
	for _, a := range s.command {
		if strings.ContainsAny(a, "^$|().* ") {
			a = "'" + a + "'"
		}
		b = append(b, a)
	}
	return strings.Join(b, " ")
}

// run runs the command and returns its results, each with the place and time of the measurement.
func (s *step) run(ctx context.Context, where machine) ([]result, error) {
	var all []result
	for range s.times {
		cmd := exec.CommandContext(ctx, s.command[0], s.command[1:]...)
		cmd.Env = os.Environ()
		var out, bad bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &bad
		load := loadAverage()
		if err := cmd.Run(); err != nil {
			return all, fmt.Errorf("%w: %s%s", err, lastLines(bad.String()), lastLines(out.String()))
		}
		found, err := s.parse(out.Bytes())
		if err != nil {
			return all, err
		}
		for _, r := range found {
			r.note("step", s.name)
			r.note("load", load)
			for _, c := range where {
				r.note(c[0], c[1])
			}
		}
		all = append(all, found...)
	}
	if len(all) == 0 {
		return nil, errors.New("it reports nothing")
	}
	return all, nil
}

func (s *step) parse(out []byte) ([]result, error) {
	if s.as == "" {
		return parseResults(bytes.NewReader(out), s.name)
	}
	var figures map[string]any
	if err := json.Unmarshal(out, &figures); err != nil {
		return nil, err
	}
	r := result{&benchfmt.Result{Name: benchfmt.Name(s.as), Iters: 1}}
	for _, f := range perfFigures {
		v, ok := figures[f].(float64)
		if !ok {
			return nil, fmt.Errorf("no figure %q", f)
		}
		r.Values = append(r.Values, benchfmt.Value{Value: v, Unit: f})
	}
	return []result{r}, nil
}

// perfFigures are the figures of cellctl check perf that are recorded.
var perfFigures = []string{
	"raw_puts_per_second", "claims_per_second", "ratio", "cpu_us_per_claim", "raw_cpu_us_per_put", "cpu_ratio", "commit_p50_ms",
	"commit_p99_ms", "mirror_lag_p50_ms", "mirror_lag_p99_ms", "bytes_per_claim", "conflict_fraction", "plan_p50_ms",
}

func lastLines(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-8):], "\n")
}
