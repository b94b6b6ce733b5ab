package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cmd/internal/cliconf"
	"github.com/omegacell/omegacell/cmd/internal/daemon"
	"github.com/omegacell/omegacell/schedulers/sim"
	"github.com/omegacell/omegacell/schedulers/sim/workload"
)

// omegaConfig is what the flags of omega say.
type omegaConfig struct {
	Figure            []string        `mapstructure:"figure"`
	Out               string          `mapstructure:"out"`
	Compat            string          `mapstructure:"compat"`
	Architecture      string          `mapstructure:"architecture"`
	Jobs              string          `mapstructure:"jobs"`
	Format            string          `mapstructure:"format"`
	Gaps              string          `mapstructure:"gaps"`
	Tasks             string          `mapstructure:"tasks"`
	Durations         string          `mapstructure:"durations"`
	Machines          int             `mapstructure:"machines"`
	MachineCPUs       float64         `mapstructure:"machine-cpus"`
	MachineMem        float64         `mapstructure:"machine-mem"`
	Nodes             string          `mapstructure:"nodes"`
	Horizon           time.Duration   `mapstructure:"horizon"`
	Rule              []string        `mapstructure:"rule"`
	Mode              []string        `mapstructure:"mode"`
	BatchTJob         time.Duration   `mapstructure:"batch-t-job"`
	BatchTTask        time.Duration   `mapstructure:"batch-t-task"`
	ServiceTJob       []time.Duration `mapstructure:"service-t-job"`
	ServiceTTask      time.Duration   `mapstructure:"service-t-task"`
	BatchSchedulers   []int           `mapstructure:"batch-schedulers"`
	ServiceSchedulers int             `mapstructure:"service-schedulers"`
	Revalidate        int             `mapstructure:"revalidate"`
	Repair            bool            `mapstructure:"repair"`
	Width             int             `mapstructure:"width"`
	Seeds             int             `mapstructure:"seeds"`
	Seed              uint64          `mapstructure:"seed"`
	Workers           int             `mapstructure:"workers"`
	WriteOut          string          `mapstructure:"write-out"`
}

// The defaults are so that `--figure all --seeds 10` takes a few minutes on two cores.
const (
	omegaMachines = 1000
	omegaHorizon  = 2 * time.Hour
	maxSeeds      = 1000
)

func omegaCommand(stdout, stderr io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "omega [--figure NAME|all --out DIR]",
		Short: "Simulate the scheduling architectures of the Omega paper, and draw its figures",
		Long: `Simulate the scheduling architectures of the Omega paper (Schwarzkopf et al., EuroSys 2013) with the real planners and commit rule.

Without --figure it runs one workload with each combination of --rule, --mode, --service-t-job and --batch-schedulers, and prints
for each seed, and on average, what the schedulers did. With --figure it draws figures: a CSV, a PNG and an SVG file each.
--figure is one or more of ` + strings.Join(figureNames(), ", ") + `, or all.

The workload is exponential, that of Google's cluster-scheduler-simulator's examples (batch: 100 tasks every 10 s for 100 s;
service: 10 tasks every 20 s for 500 s; 1 CPU and 2 GiB a task), unless --jobs or --gaps, --tasks and --durations name files.
Figures always draw the exponential one, with durations such that it fills the cell to 60 %, from a cell that is that full.
Those with a multiple of the load simulate a part of --horizon. On two cores --figure all --seeds 10 takes a few minutes.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var cfg omegaConfig
			if err := (cliconf.Sources{}).Load(cmd, &cfg); err != nil {
				return err
			}
			if err := together(cmd.Flags(), len(cfg.Figure) > 0); err != nil {
				return err
			}
			ctx, stop := daemon.Signals(cmd.Context())
			defer stop()
			return runOmega(ctx, cfg, stdout, stderr)
		},
	}
	fs := cmd.Flags()
	cliconf.AddConfigFlag(fs)
	fs.StringSlice("figure", nil, "`NAMES` of figures to draw, or all")
	fs.String("out", "omega", "`DIR` that figures are written to")
	fs.Int("seeds", 5, "runs of each setting, with seeds that follow one another")
	fs.Uint64("seed", 1, "first seed")
	fs.Int("workers", 0, "runs at a time; 0: as many as there are cores. Results do not depend on it")
	fs.Int("machines", omegaMachines, "machines of the cell")
	fs.Float64("machine-cpus", 4, "`CORES` of a machine")
	fs.Float64("machine-mem", 16, "`GIB` of memory of a machine")
	fs.String("nodes", "", "`FILE` with the machines instead, as the nodes of openb")
	fs.Duration("horizon", 0, "simulated time of a run; 0: 2h, with --jobs to the end of the hour in which the last one is submitted")

	fs.String("compat", "none", "whose quirks to reproduce: none or google (cluster-scheduler-simulator)")
	fs.String("architecture", sim.SharedState.String(), "`WHO` decides: "+names(sim.Architectures()))
	fs.String("jobs", "", "`FILE` with jobs")
	fs.String("format", "list", "`FORMAT` of --jobs: list (lines of workload,submit_s,tasks,duration_s,cpus,mem), swf or openb")
	fs.String("gaps", "", "`FILE` with observed times between jobs, as cluster-scheduler-simulator reads them")
	fs.String("tasks", "", "`FILE` with observed numbers of tasks")
	fs.String("durations", "", "`FILE` with observed durations")
	fs.StringSlice("rule", []string{"fit"}, "`RULES` of conflict: fit, seq")
	fs.StringSlice("mode", []string{"incremental"}, "`MODES` of transactions: incremental, all-or-nothing")
	fs.Duration("batch-t-job", 100*time.Millisecond, "decision time for a batch job")
	fs.Duration("batch-t-task", 5*time.Millisecond, "more for each of its tasks")
	fs.DurationSlice("service-t-job", []time.Duration{100 * time.Millisecond}, "decision `TIMES` for a service job")
	fs.Duration("service-t-task", 0, "more for each of its tasks; 0: 5ms, with --compat google 10ms")
	fs.IntSlice("batch-schedulers", []int{1}, "`NUMBERS` of batch schedulers, 1 to 1024")
	fs.Int("service-schedulers", 1, "service schedulers, 1 to 1024")
	fs.Int("revalidate", 0, "rounds in which a decision is brought up to date before its commit")
	fs.Bool("repair", false, "think again about refused tasks only, not about their job")
	fs.Int("width", 0, "near-best machines that a task is drawn among; 0: as many as recent conflicts call for")
	fs.StringP("write-out", "w", "table", "`FORMAT` of what is printed: table or json (a line for each run)")
	return cmd
}

// together refuses flags that a figure has its own values for, and those that only figures have.
func together(fs *pflag.FlagSet, figures bool) (err error) {
	shared := []string{"figure", "out", "seeds", "seed", "workers", "machines", "machine-cpus", "machine-mem", "nodes", "horizon", "config"}
	fs.Visit(func(f *pflag.Flag) {
		switch {
		case err != nil:
		case figures && !slices.Contains(shared, f.Name):
			err = cliconf.Usagef("--%s does not go with --figure, which has its own", f.Name)
		case !figures && f.Name == "out":
			err = cliconf.Usagef("--out goes with --figure only")
		}
	})
	return err
}

func runOmega(ctx context.Context, cfg omegaConfig, stdout, stderr io.Writer) error {
	if err := cfg.check(); err != nil {
		return err
	}
	// A run holds little and makes much garbage: collecting it less often saves a third of the time.
	defer debug.SetGCPercent(debug.SetGCPercent(800))
	if len(cfg.Figure) > 0 {
		return drawFigures(ctx, cfg, stdout, stderr)
	}
	return compareRuns(ctx, cfg, stdout, stderr)
}

// check refuses what the simulator would not say plainly, or only after a while.
func (cfg *omegaConfig) check() error {
	drawn := cfg.Gaps != "" || cfg.Tasks != "" || cfg.Durations != ""
	switch {
	case cfg.Seeds < 1 || cfg.Seeds > maxSeeds || cfg.Workers < 0:
		return cliconf.Usagef("--seeds is 1 to %d, --workers at least 0", maxSeeds)
	case cfg.Machines < 1 || cfg.Machines > sim.MaxMachines:
		return cliconf.Usagef("--machines is 1 to %d", sim.MaxMachines)
	case !(cfg.MachineCPUs > 0 && cfg.MachineCPUs <= 1e6) || !(cfg.MachineMem > 0 && cfg.MachineMem <= 1e6):
		return cliconf.Usagef("--machine-cpus and --machine-mem are above 0, at most 1000000")
	case cfg.Horizon < 0:
		return cliconf.Usagef("--horizon %v is below 0", cfg.Horizon)
	case !slices.Contains([]string{"none", "google"}, cfg.Compat):
		return cliconf.Usagef("--compat %q is not none or google", cfg.Compat)
	case !slices.Contains([]string{"list", "swf", "openb"}, cfg.Format):
		return cliconf.Usagef("--format %q is not list, swf or openb", cfg.Format)
	case !slices.Contains([]string{"table", "json"}, cfg.WriteOut):
		return cliconf.Usagef("--write-out %q is not table or json", cfg.WriteOut)
	case drawn && (cfg.Gaps == "" || cfg.Tasks == "" || cfg.Durations == ""):
		return cliconf.Usagef("--gaps, --tasks and --durations go together")
	case drawn && cfg.Jobs != "":
		return cliconf.Usagef("--jobs and --gaps name two workloads")
	case cfg.Compat == "google" && cfg.Architecture != sim.SharedState.String():
		return cliconf.Usagef("--compat google simulates %s only, not --architecture %s", sim.SharedState, cfg.Architecture)
	case min(cfg.BatchTJob, cfg.BatchTTask, cfg.ServiceTTask, slices.Min(append([]time.Duration{0}, cfg.ServiceTJob...))) < 0:
		return cliconf.Usagef("a decision time is below zero")
	case cfg.Revalidate < 0 || cfg.Width < 0:
		return cliconf.Usagef("--revalidate and --width are at least 0")
	}
	for _, n := range append([]int{cfg.ServiceSchedulers}, cfg.BatchSchedulers...) {
		if n < 1 || n > sim.MaxSchedulers {
			return cliconf.Usagef("--batch-schedulers and --service-schedulers are 1 to %d, not %d", sim.MaxSchedulers, n)
		}
	}
	_, err := cfg.settings()
	return err
}

// pick finds the value that prints as text.
func pick[T fmt.Stringer](flag, text string, values []T) (T, error) {
	for _, v := range values {
		if v.String() == text {
			return v, nil
		}
	}
	var none T
	return none, cliconf.Usagef("--%s %q is none of %s", flag, text, names(values))
}

func names[T fmt.Stringer](values []T) string {
	var all []string
	for _, v := range values {
		all = append(all, v.String())
	}
	return strings.Join(all, ", ")
}

// machines returns the cell.
func (cfg *omegaConfig) machines() ([]cellstate.Resources, error) {
	if cfg.Nodes == "" {
		return sim.Uniform(cfg.Machines, workload.Amounts(cfg.MachineCPUs, cfg.MachineMem)), nil
	}
	m, err := workload.ReadOpenbNodes(cfg.Nodes)
	if err != nil {
		return nil, cliconf.Usagef("%w", err)
	}
	return m, nil
}

func (cfg *omegaConfig) workers() int {
	if cfg.Workers > 0 {
		return cfg.Workers
	}
	return runtime.GOMAXPROCS(0)
}

// source makes the jobs of the run with a seed.
type source func(seed uint64) ([]sim.Job, error)

// source returns the workload that the flags name, files read, and sets the horizon where they do not. A recorded workload is
// the same for every seed.
func (cfg *omegaConfig) source() (source, error) {
	if cfg.Horizon == 0 && cfg.Jobs == "" {
		cfg.Horizon = omegaHorizon
	}
	jobs, err := []sim.Job(nil), error(nil)
	switch {
	case cfg.Gaps != "":
		e, err := workload.ReadEmpirical(workload.Traces{Gaps: cfg.Gaps, Tasks: cfg.Tasks, Durations: cfg.Durations}, defaultDemand())
		if err != nil {
			return nil, cliconf.Usagef("%w", err)
		}
		return func(seed uint64) ([]sim.Job, error) { return e.Jobs(cfg.Horizon, jobSource(seed)) }, nil
	case cfg.Jobs == "":
		return func(seed uint64) ([]sim.Job, error) { return workload.Default().Jobs(cfg.Horizon, jobSource(seed)) }, nil
	case cfg.Format == "swf":
		jobs, _, err = workload.ReadSWF(cfg.Jobs, defaultDemand().Batch.MemBytes)
	case cfg.Format == "openb":
		jobs, err = workload.ReadOpenb(cfg.Jobs)
	default:
		jobs, err = workload.ReadList(cfg.Jobs)
	}
	if err != nil {
		return nil, cliconf.Usagef("%w", err)
	}
	if cfg.Horizon == 0 {
		last := slices.MaxFunc(jobs, func(a, b sim.Job) int { return cmp.Compare(a.Submit, b.Submit) }).Submit
		cfg.Horizon = last.Truncate(time.Hour) + time.Hour
	}
	return func(uint64) ([]sim.Job, error) { return jobs, nil }, nil
}

// jobSource is apart from the simulator's own randomness, so that a seed's jobs are the same whatever is decided about them.
func jobSource(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0x6a6f6273)) }

// defaultDemand is what a task asks for where a workload does not tell.
func defaultDemand() sim.PerClass[cellstate.Resources] {
	d := workload.Default()
	return sim.PerClass[cellstate.Resources]{Batch: d.Batch.Demand, Service: d.Service.Demand}
}
