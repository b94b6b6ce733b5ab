package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const lines = `goos: linux
pkg: example.com/x
step: one
cores: 2
date: 2026-01-02
BenchmarkSnapshot-2 	 100 	 20 ns/op 	 0 B/op
BenchmarkSnapshot-2 	 100 	 10 ns/op 	 0 B/op
BenchmarkSnapshot-2 	 100 	 90 ns/op 	 0 B/op
BenchmarkCommit/gang-of-1000 	 100 	 2500000 ns/op
step: two
BenchmarkPlace/machines=10000/tasks=10/shape=pack/full=60 	 100 	 2000 cpu-ns/task
BenchmarkPlace/machines=100000/tasks=10/shape=pack/full=60 	 100 	 5000 cpu-ns/task
`

func parsed(t *testing.T, text string) []result {
	t.Helper()
	all, err := parseResults(strings.NewReader(text), "test")
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestSummarize(t *testing.T) {
	s := summarize(parsed(t, lines))
	for _, tt := range []struct{ bench, unit, want string }{
		{"Snapshot", "ns/op", "20 ns/op"}, // the median, and without the processors in the name
		{"Snapshot", "B/op", "0 B/op"},
		{"Commit/gang-of-1000", "ns/op", "2.5 ms/op"},
	} {
		f := s.find(tt.bench, tt.unit)
		if f == nil || f.String() != tt.want {
			t.Errorf("%s %s: %v, want %s", tt.bench, tt.unit, f, tt.want)
		}
	}
	if f := s.find("Snapshot", "ns/op"); f.low != 10 || f.high != 90 || f.runs != 3 || f.where["date"] != "2026-01-02" {
		t.Errorf("%+v", *f)
	}
}

func TestTargets(t *testing.T) {
	s := summarize(parsed(t, lines))
	for _, tt := range []struct {
		name    string
		target  target
		value   float64
		ok, met bool
	}{
		{"at most, equal", target{bench: "Snapshot", unit: "ns/op", most: true, value: 20}, 20, true, true},
		{"at most, more", target{bench: "Snapshot", unit: "ns/op", most: true, value: 19}, 20, true, false},
		{"at least, equal", target{bench: "Snapshot", unit: "ns/op", value: 20}, 20, true, true},
		{"at least, less", target{bench: "Snapshot", unit: "ns/op", value: 21}, 20, true, false},
		{"in another unit", target{bench: "Commit/gang-of-1000", unit: "ns/op", scale: 1e-3, most: true, value: 2500}, 2500, true, true},
		{"one over another", target{bench: place100k, over: place10k, unit: "cpu-ns/task", most: true, value: 2}, 2.5, true, false},
		{"not measured", target{bench: "Nothing", unit: "ns/op"}, 0, false, false},
		{"over what was not measured", target{bench: "Snapshot", over: "Nothing", unit: "ns/op"}, 0, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, _, ok := tt.target.figure(s)
			if v != tt.value || ok != tt.ok || ok && tt.target.met(v) != tt.met {
				t.Errorf("%v, %t, met %t; want %v, %t, %t", v, ok, tt.target.met(v), tt.value, tt.ok, tt.met)
			}
		})
	}
}

// One step's results replace its own earlier ones only, and stand in the order of the steps; what is written reads back as it was.
func TestReplace(t *testing.T) {
	steps := []step{{name: "zero"}, {name: "one"}, {name: "two"}}
	found := parsed(t, "BenchmarkNew 1 7 ns/op\n")
	found[0].note("step", "one")
	all := replace(parsed(t, lines), "one", found, steps)
	all = replace(all, "zero", parsed(t, "step: zero\nBenchmarkFirst 1 3 ns/op\n"), steps)
	path := filepath.Join(t.TempDir(), "bench.txt")
	if err := writeResults(path, all); err != nil {
		t.Fatal(err)
	}
	again, err := readResults(path)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range again {
		name, _, _ := strings.Cut(r.Name.String(), "/")
		got = append(got, r.step()+" "+name)
	}
	if want := "zero First, one New, two Place, two Place"; strings.Join(got, ", ") != want {
		t.Errorf("%s, want %s", strings.Join(got, ", "), want)
	}
}

func TestReadmeIsRewrittenBetweenTheMarkers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "README.md")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	steps := []step{{name: "one", title: "things", command: []string{"go", "test", "-bench", "^A$"}}, {name: "two", title: "things"}}
	write("before\n" + beginMark + "\nold\n" + endMark + "\nafter\n")
	for range 2 { // writing once more changes nothing
		if err := writeReadme(path, summarize(parsed(t, lines)), steps); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for _, want := range []string{
		"before\n" + beginMark, endMark + "\nafter\n", "`go test -bench '^A$'`", "| Snapshot | 20 ns/op (10–90), 0 B/op |",
		"| a snapshot | ≤ 1000 ns | 20 ns | yes |", "| the same at 100,000 machines | ≤ 2 × | 2.5 × | **no** |", "not measured",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("without %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "old") || strings.Count(text, "## Things") != 1 {
		t.Errorf("the old table, or one heading twice:\n%s", text)
	}
	write("no markers")
	if err := writeReadme(path, nil, steps); err == nil {
		t.Error("no error without markers")
	}
}

func TestFigure(t *testing.T) {
	path := filepath.Join(t.TempDir(), "figures", "growth.svg")
	if err := writeFigure(path, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("nothing was measured, and there is a figure: %v", err)
	}
	if err := writeFigure(path, summarize(parsed(t, lines))); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(b), "<svg") || !strings.Contains(string(b), curves[0].name) || strings.Contains(string(b), curves[3].name) {
		t.Errorf("%v: it shows just what was measured: %.200s", err, b)
	}
}

// The figures that targets and curves ask for are those of benchmarks that a step runs.
func TestPlanNamesEveryTarget(t *testing.T) {
	t.Chdir("../..")
	var names []string
	for _, s := range plan(1, 1, false) {
		names = append(names, s.name, s.as)
	}
	all := strings.Join(names, " ")
	for _, target := range targets() {
		if w, ok := strings.CutPrefix(target.bench, "Workload/"); ok && !strings.Contains(all, "workload/"+w) {
			t.Errorf("no step runs workload %s", w)
		}
		if strings.HasPrefix(target.bench, "CheckPerf/") && !strings.Contains(all, target.bench) {
			t.Errorf("no step runs %s", target.bench)
		}
	}
}
