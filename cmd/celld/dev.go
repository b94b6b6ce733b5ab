package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cmd/internal/cliconf"
	"github.com/omegacell/omegacell/cmd/internal/daemon"
)

//go:embed examples/*.yaml
var examples embed.FS

// devConfig is what the flags of celld dev say.
type devConfig struct {
	daemon.Config `mapstructure:",squash"`

	Cell      string `mapstructure:"cell"`
	DataDir   string `mapstructure:"data-dir"`
	ListenURL string `mapstructure:"listen-client-url"`
	Agents    int    `mapstructure:"agents"`
	Emulated  int    `mapstructure:"emulated"`
}

// Bounds of the machines of one process.
const (
	maxAgents   = 64
	maxEmulated = 100_000
)

func devCommand(stdout io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run a whole cell in this process: member, batch and service schedulers, agents",
		Long: `Run a whole cell in this process: an etcd member, the schedulers batch and service, and agents that share this
host by slices and run real processes on it. Ctrl-C stops every task and leaves nothing behind.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var cfg devConfig
			if err := (cliconf.Sources{}).Load(cmd, &cfg); err != nil {
				return err
			}
			return serveDev(cmd.Context(), cfg, stdout, cmd.ErrOrStderr())
		},
	}
	fs := cmd.Flags()
	cliconf.AddConfigFlag(fs)
	daemon.AddFlags(fs, "127.0.0.1:0")
	if err := fs.Lookup("log-level").Value.Set("warn"); err != nil {
		panic(err) // "warn" is a level
	}
	fs.Lookup("log-level").DefValue = "warn"
	fs.String("cell", "main", "`NAME` of the cell")
	fs.String("data-dir", "", "`DIRECTORY` for the cell; its state is kept there (default: a temporary one, deleted at the end)")
	fs.String("listen-client-url", "http://127.0.0.1:2379", "`URL` to serve etcd's clients on; port 0 for a free one")
	fs.Int("agents", 3, "agents that share this host by slices and run real processes")
	fs.Int("emulated", 0, "further machines that run nothing: their tasks last as long as their command, [sleep, N], says, else until they are stopped")
	return cmd
}

// serveDev runs the cell until ctx is over.
func serveDev(ctx context.Context, cfg devConfig, stdout, stderr io.Writer) (err error) {
	if cfg.Agents < 0 || cfg.Agents > maxAgents || cfg.Emulated < 0 || cfg.Emulated > maxEmulated || cfg.Agents+cfg.Emulated == 0 {
		return cliconf.Usagef("--agents is 0 to %d, --emulated 0 to %d, and there must be a machine", maxAgents, maxEmulated)
	}
	if err := cellstate.CheckName(cfg.Cell); err != nil {
		return cliconf.Usagef("--cell: %w", err)
	}
	dir, temporary := cfg.DataDir, cfg.DataDir == ""
	if temporary {
		if dir, err = os.MkdirTemp("", "omegacell-dev-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return cliconf.Usagef("--data-dir: %w", err)
	}
	if err := os.Chmod(dir, 0o711); err != nil { // tasks of other users have to get through
		return cliconf.Usagef("--data-dir: %w", err)
	}
	d, err := daemon.New("celld", cfg.Config, stderr)
	if err != nil {
		return cliconf.Usagef("%w", err)
	}
	return d.Run(ctx, func(ctx context.Context) error {
		c := &devCell{cfg: cfg, dir: dir, daemon: d, log: d.Log}
		if err := c.start(ctx); err != nil {
			return errors.Join(err, c.stop())
		}
		if err := c.introduce(stdout); err != nil {
			return errors.Join(err, c.stop())
		}
		select {
		case <-ctx.Done():
			err = nil
		case err = <-c.failed:
			c.log.Error("a part of the cell failed", zap.Error(err))
		}
		if _, e := fmt.Fprintln(stdout, "stopping: tasks first"); e != nil {
			err = errors.Join(err, e)
		}
		return errors.Join(err, c.stop())
	})
}

// example returns one of the examples, for machines that run it: an emulated one would print nothing and never end it.
func example(name string, cfg devConfig) ([]byte, error) {
	b, err := examples.ReadFile("examples/" + name)
	if err == nil && cfg.Agents > 0 && cfg.Emulated > 0 {
		b = append(b, "constraints: [{attribute: driver, op: \"=\", value: exec}] # not the emulated machines\n"...)
	}
	return b, err
}

// introduce writes the examples and says what there is and what to try.
func (c *devCell) introduce(w io.Writer) error {
	for _, name := range []string{"hello.yaml", "web.yaml"} {
		b, err := example(name, c.cfg)
		if err == nil {
			err = os.WriteFile(filepath.Join(c.dir, name), b, 0o644)
		}
		if err != nil {
			return err
		}
	}
	ctl := "cellctl"
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), "cellctl")
		if _, err := os.Stat(beside); err == nil {
			ctl = beside
		}
	}
	if wd, err := os.Getwd(); err == nil && filepath.IsAbs(ctl) {
		if rel, err := filepath.Rel(wd, ctl); err == nil && len(rel) < len(ctl) {
			ctl = "." + string(filepath.Separator) + rel
		}
	}
	if e := c.member.Endpoints()[0]; e != "http://127.0.0.1:2379" {
		ctl += " --endpoints " + e
	}
	if c.cfg.Cell != "main" {
		ctl += " --cell " + c.cfg.Cell
	}
	_, err := fmt.Fprintf(w, `cell %s runs: etcd at %s, %d machines, schedulers batch and service, up in %s
try, in another terminal:
  %s run %s
  %s run %s
  %s logs -f hello
Ctrl-C stops every task and ends the cell
`, c.cfg.Cell, c.member.Endpoints()[0], c.cfg.Agents+c.cfg.Emulated, time.Since(c.began).Round(time.Millisecond),
		ctl, filepath.Join(c.dir, "hello.yaml"), ctl, filepath.Join(c.dir, "web.yaml"), ctl)
	return err
}
