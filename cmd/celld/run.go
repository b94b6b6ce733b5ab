package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/omegacell/omegacell/agent/exec"
	"github.com/omegacell/omegacell/cmd/internal/cliconf"
	"github.com/omegacell/omegacell/cmd/internal/daemon"
	"github.com/omegacell/omegacell/cmd/internal/member"
)

func run(args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == "shim" { // of a task of celld dev; before anything else, as there is one for each
		return exec.RunShim(args[1:])
	}
	ctx, stop := daemon.Signals(context.Background())
	defer stop()
	return cliconf.Run(ctx, rootCommand(stdout), args, stdout, stderr)
}

// rootCommand is celld itself; its flags are not its subcommands'.
func rootCommand(stdout io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:   "celld",
		Short: "Run an etcd member that holds a cell",
		Long: `Run an etcd member that holds a cell, alone or as one of several.

Every flag can be set by an environment variable too (--data-dir by OMEGACELL_DATA_DIR), or in the file that --config names
(data-dir: …). A flag counts before a variable, that before the file. The flags that etcd has too mean the same.
etcd's own metrics are at /metrics of the client port.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var cfg config
			if err := (cliconf.Sources{}).Load(cmd, &cfg); err != nil {
				return err
			}
			return serve(cmd.Context(), cfg, cmd.ErrOrStderr())
		},
	}
	addFlags(root.Flags())
	root.AddCommand(devCommand(stdout), daemon.VersionCommand("celld"))
	return root
}

// serve runs the member until ctx is over.
func serve(ctx context.Context, cfg config, stderr io.Writer) error {
	d, err := daemon.New("celld", cfg.Config, stderr)
	if err != nil {
		return err
	}
	var running atomic.Pointer[member.Member]
	d.Ready("etcd", func(ctx context.Context) error {
		m := running.Load()
		if m == nil {
			return errors.New("the member does not serve yet")
		}
		_, err := m.Client().Get(ctx, "/", clientv3.WithKeysOnly(), clientv3.WithLimit(1)) // it takes a quorum to answer
		return err
	})
	return d.Run(ctx, func(ctx context.Context) error {
		began := time.Now()
		// The member keeps its own directory to itself, and would the ones above, in which an agent of this host may have its own.
		if err := os.MkdirAll(filepath.Dir(cfg.DataDir), 0o755); err != nil {
			return err
		}
		m, err := member.Start(ctx, cfg.member(d.Log))
		if err != nil {
			return err
		}
		running.Store(m)
		d.Log.Info("etcd member serves", zap.Strings("endpoints", m.Endpoints()), zap.String("data-dir", cfg.DataDir), zap.Duration("after", time.Since(began)))
		defer d.Log.Info("etcd member ended")
		return m.Run(ctx)
	})
}
