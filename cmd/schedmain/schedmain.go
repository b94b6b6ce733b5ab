package schedmain

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/etcdstore"
	"github.com/omegacell/omegacell/cellstate/mirror"
	"github.com/omegacell/omegacell/cmd/internal/cliconf"
	"github.com/omegacell/omegacell/cmd/internal/daemon"
	"github.com/omegacell/omegacell/schedulers"
)

// Main runs the planner as the scheduler of that name until SIGINT or SIGTERM, and exits the process: with 0 after an orderly
// end, 2 for bad usage, 1 for another failure.
func Main(name string, p schedulers.Planner) {
	os.Exit(Run(name, p, os.Args[1:], os.Stdout, os.Stderr))
}

// config is what the flags say.
type config struct {
	cliconf.Connection `mapstructure:",squash"`
	daemon.Config      `mapstructure:",squash"`
	Name               string        `mapstructure:"name"`
	Workers            int           `mapstructure:"workers"`
	InFlight           int           `mapstructure:"in-flight"`
	MaxAge             time.Duration `mapstructure:"max-age"`
	Shards             uint32        `mapstructure:"shards"`
	Copies             uint32        `mapstructure:"copies"`
	LeaseTTL           time.Duration `mapstructure:"lease-ttl"`
	Retention          time.Duration `mapstructure:"retention"`
	ConflictRule       string        `mapstructure:"conflict-rule"`
	Seed               uint64        `mapstructure:"seed"`
}

// Run is Main without the process: it returns the exit code.
func Run(name string, p schedulers.Planner, args []string, stdout, stderr io.Writer) int {
	binary := name + "sched"
	root := &cobra.Command{
		Use:   binary,
		Short: "The scheduler " + name + " of an omegacell cell",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var cfg config
			if err := (cliconf.Sources{}).Load(cmd, &cfg); err != nil {
				return err
			}
			return serve(cmd.Context(), binary, cfg, p, stderr)
		},
	}
	fs := root.Flags()
	cliconf.AddConfigFlag(fs)
	cliconf.AddConnectionFlags(fs)
	daemon.AddFlags(fs, "")
	fs.String("name", name, "`NAME` of the scheduler, as jobs spell it")
	fs.Int("workers", 1, "jobs planned at a time; more help a planner that thinks for long")
	fs.Int("in-flight", 256, "jobs whose plans are being committed at a time at most; fewer under contention")
	fs.Duration("max-age", 10*time.Second, "nothing is planned on a view of the cell that was last known to be the newest longer ago; negative for no limit")
	fs.Uint32("shards", 1, "parts that jobs are hashed over; what counts is the number with which the scheduler was first registered")
	fs.Uint32("copies", 1, "processes that share the shards; with one shard further copies are standbys")
	fs.Duration("lease-ttl", 10*time.Second, "time after which a standby takes over from a dead leader")
	fs.Duration("retention", 24*time.Hour, "time for which finished jobs are kept; negative for ever")
	fs.String("conflict-rule", "fit", "what counts as a conflict: fit (what no longer fits) or seq (any change of the machine)")
	fs.Uint64("seed", 0, "seed of all random choices; 0 for a random one")
	root.AddCommand(daemon.VersionCommand(binary))
	return cliconf.Run(context.Background(), root, args, stdout, stderr)
}

// rule reads the value of --conflict-rule.
func rule(s string) (cellstate.Rule, error) {
	for _, r := range []cellstate.Rule{cellstate.FitRule, cellstate.SeqRule} {
		if r.String() == s {
			return r, nil
		}
	}
	return 0, cliconf.Usagef("--conflict-rule %q is not fit or seq", s)
}

// serve wires the parts and runs them until a signal.
func serve(ctx context.Context, binary string, cfg config, p schedulers.Planner, stderr io.Writer) error {
	conflictRule, err := rule(cfg.ConflictRule)
	if err != nil {
		return err
	}
	if cfg.Workers < 1 || cfg.InFlight < 1 || cfg.Shards < 1 || cfg.Copies < 1 || cfg.LeaseTTL < time.Second {
		return cliconf.Usagef("--workers, --in-flight, --shards and --copies must be at least 1, --lease-ttl at least 1s")
	}
	if cfg.MaxAge >= 0 && cfg.MaxAge < 5*time.Second {
		return cliconf.Usagef("--max-age must be at least 5s, as a quiet cell is heard from every few seconds; negative for no limit")
	}
	if cfg.Retention == 0 {
		return cliconf.Usagef("--retention 0 would keep no finished job long enough to be looked at; negative keeps them for ever")
	}
	if err := cellstate.CheckName(cfg.Name); err != nil || cfg.Name == cellstate.Operator {
		return cliconf.Usagef("--name %q cannot be a scheduler's: %w", cfg.Name, cmp.Or(err, cellstate.ErrInvalid))
	}
	ctx, stop := daemon.Signals(ctx)
	defer stop()
	d, err := daemon.New(binary, cfg.Config, stderr)
	if err != nil {
		return cliconf.Usagef("%w", err)
	}
	running := false
	defer func() {
		if !running {
			_ = d.Close() // the error that counts is the other
		}
	}()
	client, err := cfg.Dial(ctx, d.Log)
	if err != nil {
		return err
	}
	defer client.Close()
	store, err := etcdstore.New(etcdstore.Config{Client: client, Cell: cfg.Cell, Log: d.Log, Metrics: d.Registry})
	if err != nil {
		return err
	}
	m, err := mirror.New(mirror.Config{Store: store, Now: now, Schedulers: []string{cfg.Name}, Log: d.Log, Metrics: d.Registry})
	if err != nil {
		return err
	}
	if cfg.Seed == 0 {
		cfg.Seed = rand.Uint64()
	}
	loop, err := schedulers.New(schedulers.Config{
		Name: cfg.Name, Planner: p, Store: store, Mirror: m, Workers: cfg.Workers, InFlight: cfg.InFlight,
		MaxAge: cfg.MaxAge, Rule: conflictRule, Shards: cfg.Shards,
		Copies: cfg.Copies, LeaseTTL: cfg.LeaseTTL, Retention: cfg.Retention, Holder: holder(), Seed: cfg.Seed, Now: now,
		Log: d.Log, Metrics: schedulers.NewMetrics(d.Registry, cfg.Name),
	})
	if err != nil {
		return cliconf.Usagef("%w", err)
	}
	d.Ready("mirror", func(context.Context) error {
		if m.Snapshot().Rev() == 0 {
			return fmt.Errorf("has not seen the cell yet")
		}
		return nil
	})
	d.Log.Info("scheduling", zap.String("scheduler", cfg.Name), zap.String("cell", cfg.Cell), zap.Uint64("seed", cfg.Seed))
	running = true
	following, unfollow := context.WithCancel(context.WithoutCancel(ctx))
	return d.Run(ctx,
		func(context.Context) error { return m.Run(following) },
		func(ctx context.Context) error {
			defer unfollow() // the loop's last commits still wait for the mirror
			return loop.Run(ctx)
		},
	)
}

func now() cellstate.Instant { return cellstate.InstantOf(time.Now()) }

// holder names this process for people who look at leader keys.
func holder() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s/%d", host, os.Getpid())
}
