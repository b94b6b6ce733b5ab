package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"golang.org/x/term"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cmd/internal/cliconf"
	"github.com/omegacell/omegacell/cmd/internal/daemon"
)

// exitViolations is the exit code where the audit found a broken invariant, as cellctl's.
const exitViolations = 7

func run(args []string, stdout, stderr io.Writer) int {
	root := &cobra.Command{
		Use: "cellsim", Short: "Play recorded workloads against real planners and stores", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }, // without it cobra helps, and exits with 0, whatever the arguments
	}
	root.AddCommand(replayCommand(stdout, stderr), omegaCommand(stdout, stderr), daemon.VersionCommand("cellsim"))
	return cliconf.Run(context.Background(), root, args, stdout, stderr)
}

// replayConfig is what the flags of replay say.
type replayConfig struct {
	Format     string `mapstructure:"format"`
	Machines   string `mapstructure:"machines"`
	Jobs       string `mapstructure:"jobs"`
	Schedulers int    `mapstructure:"schedulers"`
	Workers    int    `mapstructure:"workers"`
	Store      string `mapstructure:"store"`
	Packing    string `mapstructure:"packing"`
	Seed       uint64 `mapstructure:"seed"`
	JSON       bool   `mapstructure:"json"`
}

func replayCommand(stdout, stderr io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "replay --format openb --machines FILE --jobs FILE",
		Short: "Place a recorded trace's tasks with several independent schedulers, and audit every revision",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var cfg replayConfig
			if err := (cliconf.Sources{}).Load(cmd, &cfg); err != nil {
				return err
			}
			ctx, stop := daemon.Signals(cmd.Context())
			defer stop()
			return runReplay(ctx, cfg, stdout, stderr)
		},
	}
	fs := cmd.Flags()
	cliconf.AddConfigFlag(fs)
	fs.String("format", "openb", "`FORMAT` of the trace: openb (Alibaba's cluster-trace-gpu-v2023)")
	fs.String("machines", "", "`FILE` with the trace's machines")
	fs.String("jobs", "", "`FILE` with the trace's tasks")
	fs.Int("schedulers", 1, "independent schedulers, each with a mirror of its own, that the tasks are dealt over")
	fs.Int("workers", 1, "jobs that each scheduler plans at a time")
	fs.String("store", "etcd", "where the cell is kept: etcd (embedded, in a temporary directory) or memory")
	fs.String("packing", "pack", "which machines are preferred: pack (the fullest that fits) or spread (the emptiest)")
	fs.Uint64("seed", 0, "seed of all random choices; 0 for a random one")
	fs.Bool("json", false, "print the result as JSON")
	return cmd
}

func runReplay(ctx context.Context, cfg replayConfig, stdout, stderr io.Writer) error {
	switch {
	case cfg.Format != "openb":
		return cliconf.Usagef("--format %q is not openb", cfg.Format)
	case cfg.Machines == "" || cfg.Jobs == "":
		return cliconf.Usagef("--machines and --jobs are required")
	case cfg.Schedulers < 1 || cfg.Schedulers > 100 || cfg.Workers < 1:
		return cliconf.Usagef("--schedulers is 1 to 100, --workers at least 1")
	case cfg.Store != "etcd" && cfg.Store != "memory":
		return cliconf.Usagef("--store %q is not etcd or memory", cfg.Store)
	}
	packing, ok := map[string]cellstate.Packing{"pack": cellstate.Pack, "spread": cellstate.SpreadLoad}[cfg.Packing]
	if !ok {
		return cliconf.Usagef("--packing %q is not pack or spread", cfg.Packing)
	}
	t, err := readOpenb(cfg.Machines, cfg.Jobs)
	if err != nil {
		return cliconf.Usagef("%w", err)
	}
	if cfg.Seed == 0 {
		cfg.Seed = rand.Uint64()
	}
	log := zap.NewNop()
	b, err := openBacking(ctx, cfg.Store, log)
	if err != nil {
		return err
	}
	defer b.Close()
	show, done := progress(stderr, len(t.tasks))
	r := replay{trace: t, schedulers: cfg.Schedulers, workers: cfg.Workers, packing: packing, seed: cfg.Seed, log: log, progress: show}
	out, err := r.run(ctx, b)
	done()
	if err != nil {
		return err
	}
	if err := auditAll(ctx, b, out); err != nil {
		return err
	}
	if err := printResult(stdout, out, cfg.JSON); err != nil {
		return err
	}
	if out.Violations > 0 {
		return cliconf.WithCode(exitViolations, fmt.Errorf("%d violations", out.Violations))
	}
	return nil
}

// newBar returns a bar where w is a terminal, else nil.
func newBar(w io.Writer, total int) *progressbar.ProgressBar {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return progressbar.NewOptions(total, progressbar.OptionSetWriter(w), progressbar.OptionShowCount(), progressbar.OptionShowIts(),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
}

// progress shows a bar where w is a terminal.
func progress(w io.Writer, total int) (show func(placed, waiting, total int), done func()) {
	bar := newBar(w, total)
	if bar == nil {
		return nil, func() {}
	}
	return func(placed, waiting, _ int) {
		bar.Describe(fmt.Sprintf("placed %d, waiting %d", placed, waiting))
		_ = bar.Set(placed + waiting) // it can only fail to draw
	}, func() { _ = bar.Finish() }
}

func printResult(w io.Writer, out *result, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(out)
	}
	var err error
	line := func(name string, value any) {
		if err == nil {
			_, err = fmt.Fprintf(w, "%-22s %v\n", name, value)
		}
	}
	line("placed", out.Placed)
	for _, why := range slices.Sorted(maps.Keys(out.Unplaced)) {
		line("unplaced, "+why, out.Unplaced[why])
	}
	line("unplaced that fit", out.UnplacedThatFit)
	line("gpu allocated", fmt.Sprintf("%.4f", out.GPUAllocated))
	line("transactions", out.Transactions)
	line("conflicts", out.Conflicts)
	line("conflict fraction", fmt.Sprintf("%.4f", out.ConflictFraction))
	line("retries", out.Retries)
	line("resent", out.Resent)
	line("placements per second", fmt.Sprintf("%.0f", out.PlacementsPerSecond))
	line("commit p50 ms", out.CommitP50)
	line("commit p99 ms", out.CommitP99)
	line("revisions audited", out.Revisions)
	line("violations", out.Violations)
	for _, v := range out.Violated {
		line("violated", v)
	}
	return err
}
