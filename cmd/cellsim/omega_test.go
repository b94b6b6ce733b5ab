package main

import (
	"bytes"
	"context"
	"errors"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/omegacell/omegacell/schedulers/sim"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"cellsim": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata", Cmds: map[string]func(*testscript.TestScript, bool, []string){"png": isPNG}})
}

// isPNG FILE decodes a picture, which must have more than its background.
func isPNG(ts *testscript.TestScript, _ bool, args []string) {
	img, err := png.Decode(strings.NewReader(ts.ReadFile(args[0])))
	ts.Check(err)
	first := img.At(0, 0)
	for y := range img.Bounds().Dy() {
		for x := range img.Bounds().Dx() {
			if img.At(x, y) != first {
				return
			}
		}
	}
	ts.Fatalf("%s: every point of %v has one colour", args[0], img.Bounds())
}

func TestOmegaUsage(t *testing.T) {
	for _, tt := range []struct {
		name string
		args []string
		says string
	}{
		{"no seeds", []string{"--seeds", "0"}, "--seeds is 1 to 1000"},
		{"no machines", []string{"--machines", "0"}, "--machines is 1 to"},
		{"no cores", []string{"--machine-cpus", "0"}, "--machine-cpus"},
		{"not a number of cores", []string{"--machine-cpus", "NaN"}, "--machine-cpus"},
		{"no time", []string{"--horizon", "-1s"}, "--horizon -1s"},
		{"compat", []string{"--compat", "borg"}, `--compat "borg"`},
		{"format", []string{"--format", "gwf"}, `--format "gwf"`},
		{"output", []string{"-w", "yaml"}, `--write-out "yaml"`},
		{"rule", []string{"--rule", "fit,coarse"}, `--rule "coarse" is none of fit, seq`},
		{"mode", []string{"--mode", "gang"}, `--mode "gang" is none of incremental, all-or-nothing`},
		{"architecture", []string{"--architecture", "borg"}, `--architecture "borg" is none of monolithic-single`},
		{"no rule", []string{"--rule", ""}, "--rule"},
		{"schedulers", []string{"--batch-schedulers", "1,1025"}, "1 to 1024, not 1025"},
		{"decision time", []string{"--service-t-job", "-1s"}, "below zero"},
		{"google's two-level", []string{"--compat", "google", "--architecture", "two-level"}, "compat google"},
		{"figure", []string{"--figure", "decision,five"}, `--figure "five" is none of decision`},
		{"figure of jobs", []string{"--figure", "all", "--jobs", "x.csv"}, "--jobs does not go with --figure"},
		{"figure by rule", []string{"--figure", "all", "--rule", "seq"}, "--rule does not go with --figure"},
		{"out without figure", []string{"--out", "x"}, "--out goes with --figure only"},
		{"two workloads", []string{"--jobs", "x", "--gaps", "x", "--tasks", "x", "--durations", "x"}, "two workloads"},
		{"part of the observations", []string{"--gaps", "x"}, "go together"},
		{"arguments", []string{"figure"}, "unknown command"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			if code := run(append([]string{"omega"}, tt.args...), &stdout, &stderr); code != 2 {
				t.Errorf("exit %d, want 2", code)
			}
			if s := stderr.String(); !strings.Contains(s, tt.says) || strings.Count(s, "\n") != 1 || stdout.Len() > 0 {
				t.Errorf("stdout %q, stderr %q, want one line with %q", stdout.String(), s, tt.says)
			}
		})
	}
}

// TestFigures: each figure has points for all lines at all places, and a panel for what its title says.
func TestFigures(t *testing.T) {
	cfg := omegaConfig{Machines: 10, MachineCPUs: 4, MachineMem: 16}
	machines, err := cfg.machines()
	if err != nil {
		t.Fatal(err)
	}
	cell := figureCell{machines: machines, horizon: time.Minute}
	for _, f := range figures() {
		places := make(map[string][]float64)
		for _, p := range f.points() {
			places[p.series] = append(places[p.series], p.x)
			jobs, err := p.run(cell, 1).jobs(1)
			if err != nil {
				t.Errorf("%s: %s at %g: %v", f.name, p.series, p.x, err)
			}
			for _, j := range jobs {
				if j.Submit >= p.run(cell, 1).config.Horizon {
					t.Fatalf("%s: %s at %g: a job at %v, after the end", f.name, p.series, p.x, j.Submit)
				}
			}
		}
		first := f.points()[0].series
		for series, xs := range places {
			if !slices.Equal(xs, places[first]) || !slices.IsSorted(xs) || len(xs) < 6 {
				t.Errorf("%s: %s is at %v, %s at %v", f.name, series, xs, first, places[first])
			}
		}
		for _, series := range f.without {
			if places[series] == nil {
				t.Errorf("%s: no line %s to draw an approximation beside", f.name, series)
			}
		}
		if len(f.panels) != 4 || f.title == "" || f.x == "" || f.column == "" {
			t.Errorf("figure %s: %d panels, title %q, x %q, column %q", f.name, len(f.panels), f.title, f.x, f.column)
		}
	}
}

// TestFigureLoad: the cell is asked for the same share of its CPU at every rate and size, and by durations alone.
func TestFigureLoad(t *testing.T) {
	for _, tt := range []struct {
		machines int
		load     figureLoad
		share    float64
	}{
		{1000, figureLoad{batchRate: 1}, 0.6}, {20, figureLoad{batchRate: 1}, 0.6}, {1000, figureLoad{batchRate: 10}, 0.6},
		{1000, figureLoad{batchRate: 1, fill: 0.9}, 0.9},
	} {
		cfg := omegaConfig{Machines: tt.machines, MachineCPUs: 4, MachineMem: 16}
		machines, err := cfg.machines()
		if err != nil {
			t.Fatal(err)
		}
		e := tt.load.workload(figureCell{machines: machines})
		if got := (e.Batch.Asked() + e.Service.Asked()) / float64(tt.machines*4000); math.Abs(got-tt.share) > 1e-6 {
			t.Errorf("%+v on %d machines asks for %g, want %g", tt.load, tt.machines, got, tt.share)
		}
		if e.Service.Gap != 20*time.Second || e.Batch.Tasks != 100 || e.Batch.Gap != time.Duration(float64(10*time.Second)/tt.load.batchRate) {
			t.Errorf("%+v: %+v", tt.load, e)
		}
	}
}

// TestSpread: a median that one outlier does not move, of odd and even numbers of values, and the deviation from it.
func TestSpread(t *testing.T) {
	for _, tt := range []struct {
		values []float64
		want   spread
	}{
		{[]float64{5}, spread{5, 0}},
		{[]float64{4, 1}, spread{2.5, 1.5}},
		{[]float64{1000, 1, 3}, spread{3, 2}},
		{[]float64{4, 2, 1, 3}, spread{2.5, 1}},
	} {
		if got := spreadOf(tt.values); got != tt.want {
			t.Errorf("spreadOf(%v) = %v, want %v", tt.values, got, tt.want)
		}
	}
}

// TestMeanReport: every measured number is averaged, and no run's own report changes.
func TestMeanReport(t *testing.T) {
	runs := make([]runReport, 2)
	for i := range runs {
		for j, v := range runs[i].measured() {
			*v = float64(10*j + 2*i)
		}
	}
	mean := meanReport(runs)
	for j, v := range mean.measured() {
		if *v != float64(10*j+1) {
			t.Errorf("number %d: mean %g, want %d", j, *v, 10*j+1)
		}
	}
	if mean.MeanOf != 2 || mean.Seed != nil || *runs[0].measured()[3] != 30 {
		t.Errorf("mean of %d, seed %v; first run's number 3 is %g", mean.MeanOf, mean.Seed, *runs[0].measured()[3])
	}
}

// TestSimulateStops: no further run begins after one failed or the context ended, and figures that are complete stay.
func TestSimulateStops(t *testing.T) {
	cfg := omegaConfig{Machines: 4, MachineCPUs: 4, MachineMem: 16}
	machines, err := cfg.machines()
	if err != nil {
		t.Fatal(err)
	}
	cell := figureCell{machines: machines, horizon: time.Minute}
	good := figures()[0].points()[0].run(cell, 1)
	bad := good
	bad.config.Horizon = -1
	began := 0
	counted := good
	counted.jobs = func(seed uint64) ([]sim.Job, error) { began++; return good.jobs(seed) }
	if _, err := simulate(context.Background(), 1, []simulation{good, bad, counted}, func() {}); err == nil || began != 0 {
		t.Errorf("error %v, and %d runs began after it", err, began)
	}

	dir := filepath.Join(t.TempDir(), "out")
	ctx, cancel := context.WithCancel(context.Background())
	cfg.Figure, cfg.Out, cfg.Seeds, cfg.Horizon = []string{"repair", "decision"}, dir, 1, time.Minute
	// The first figure's names are printed when it is complete: that ends the second.
	err = drawFigures(ctx, cfg, writerFunc(func(p []byte) (int, error) {
		if strings.HasSuffix(strings.TrimSpace(string(p)), ".svg") {
			cancel()
		}
		return len(p), nil
	}), new(bytes.Buffer))
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "stopped during figure repair; 1 of 2 are in "+dir) {
		t.Errorf("error %v", err)
	}
	left, _ := os.ReadDir(dir)
	var names []string
	for _, f := range left {
		names = append(names, f.Name())
	}
	if s := strings.Join(names, " "); s != "decision.csv decision.png decision.svg" {
		t.Errorf("left in the folder: %s", s)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
