package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/etcdstore"
	"github.com/omegacell/omegacell/cellstate/mirror"
	"github.com/omegacell/omegacell/cmd/internal/cliconf"
)

// tool is what all verbs share.
type tool struct {
	conf   settings
	stdin  io.Reader
	stderr io.Writer
	now    func() cellstate.Instant
	log    *zap.Logger // warnings, such as of a value that cannot be read
}

// settings are the flags of every verb.
type settings struct {
	cliconf.Connection `mapstructure:",squash"`
	WriteOut           string `mapstructure:"write-out"`
}

// formats are the values of --write-out.
var formats = [...]string{"simple", "table", "json", "fields"}

func newTool(stderr io.Writer) *tool {
	encoder := zap.NewProductionEncoderConfig()
	encoder.TimeKey, encoder.CallerKey = "", ""
	core := zapcore.NewCore(zapcore.NewConsoleEncoder(encoder), zapcore.AddSync(stderr), zap.WarnLevel)
	return &tool{
		stdin: os.Stdin, stderr: stderr, log: zap.New(core),
		now: func() cellstate.Instant { return cellstate.InstantOf(time.Now()) },
	}
}

// root returns the whole command.
func (t *tool) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "cellctl",
		Short: "Submits jobs to a cell, shows and explains it, and acts on its machines",
		Long: "Submits jobs to a cell, shows and explains it, and acts on its machines.\n\n" +
			"Each flag can also be set by an environment variable (--endpoints: OMEGACELL_ENDPOINTS, or ETCDCTL_ENDPOINTS) and in the file\n" +
			"that --config names. Data goes to standard output, everything else to standard error.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if !t.talks(cmd) {
				return nil
			}
			return t.load(cmd)
		},
	}
	fs := root.PersistentFlags()
	cliconf.AddConnectionFlags(fs)
	cliconf.AddConfigFlag(fs)
	fs.StringP("write-out", "w", "simple", "`FORMAT` of what is printed: "+strings.Join(formats[:], ", "))
	root.AddCommand(
		t.runCmd(), t.stopCmd(), t.jobsCmd(), t.jobCmd(), t.machinesCmd(), t.machineCmd(), t.claimsCmd(), t.tenantsCmd(), t.tenantCmd(),
		t.logsCmd(), t.eventsCmd(), t.watchCmd(), t.getCmd(), t.explainCmd(), t.waitCmd(), t.drainCmd(), t.cordonCmd(), t.uncordonCmd(),
		t.checkCmd(), t.versionCmd(), exitCodesTopic(),
	)
	return root
}

// talks reports whether a command has settings: not the ones that cobra brings.
func (t *tool) talks(cmd *cobra.Command) bool {
	for c := cmd; c.HasParent(); c = c.Parent() {
		switch c.Name() {
		case "completion", "help", cobra.ShellCompRequestCmd, cobra.ShellCompNoDescRequestCmd:
			return false
		}
	}
	return cmd.HasParent()
}

func (t *tool) load(cmd *cobra.Command) error {
	if err := (cliconf.Sources{Etcdctl: true}).Load(cmd, &t.conf); err != nil {
		return err
	}
	if !slices.Contains(formats[:], t.conf.WriteOut) {
		return cliconf.Usagef("--write-out %q is none of %s", t.conf.WriteOut, strings.Join(formats[:], ", "))
	}
	return t.conf.Check()
}

// verb makes a command's function of one that works on a cell. An error gets its exit code here.
func (t *tool) verb(f func(ctx context.Context, c *cell, cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, err := t.dial(cmd.Context())
		if err != nil {
			return coded(err)
		}
		defer c.close()
		return coded(f(cmd.Context(), c, cmd, args))
	}
}

// cell is a connection to one cell.
type cell struct {
	tool   *tool
	name   string
	client *clientv3.Client
	store  cellstate.Store
	out    *mirror.Mirror // nil until somebody asks for a snapshot
	stop   context.CancelFunc
	ended  chan struct{} // closed when the mirror has
}

func (t *tool) dial(ctx context.Context) (*cell, error) {
	client, err := t.conf.Dial(ctx, nil)
	if err != nil {
		return nil, err
	}
	store, err := etcdstore.New(etcdstore.Config{Client: client, Cell: t.conf.Cell, RequestTimeout: t.conf.CommandTimeout, Log: t.log})
	if err != nil {
		_ = client.Close() // nothing was done through it
		return nil, err
	}
	return &cell{tool: t, name: t.conf.Cell, client: client, store: store}, nil
}

func (c *cell) close() {
	if c.stop != nil {
		c.stop()
		<-c.ended
	}
	_ = c.client.Close() // what was asked for has been answered
}

// brief bounds a request that is answered at once.
func (c *cell) brief(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, c.tool.conf.CommandTimeout)
}

// mirror returns a mirror that follows the cell until close.
func (c *cell) mirror(ctx context.Context) (*mirror.Mirror, error) {
	if c.out != nil {
		return c.out, nil
	}
	m, err := mirror.New(mirror.Config{Store: c.store, Now: c.tool.now, Log: c.tool.log})
	if err != nil {
		return nil, err
	}
	ctx, c.stop = context.WithCancel(ctx)
	c.ended = make(chan struct{})
	go func() {
		defer close(c.ended)
		_ = m.Run(ctx) // it ends only by being stopped
	}()
	c.out = m
	return m, nil
}

// snapshot returns the cell as it is now, or a bit later.
func (c *cell) snapshot(ctx context.Context) (cellstate.Snapshot, error) {
	m, err := c.mirror(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := c.brief(ctx)
	defer cancel()
	s, err := m.Wait(ctx, 1)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, fmt.Errorf("cell %s was not read within %s: %w", c.name, c.tool.conf.CommandTimeout, cellstate.ErrUnavailable)
	}
	return s, err
}

// list returns all records of a kind. What cannot be read is named on standard error.
func (c *cell) list(ctx context.Context, k cellstate.Kind) (cellstate.Listing, error) {
	ctx, cancel := c.brief(ctx)
	defer cancel()
	l, err := c.store.List(ctx, cellstate.Range{Kind: k}, 0)
	l.Records = slices.DeleteFunc(l.Records, func(r cellstate.Record) bool {
		if r.Err != nil {
			c.tool.warn("%s cannot be read: %v", r.Key, r.Err)
		}
		return r.Err != nil
	})
	return l, err
}

// warn says something on standard error.
func (t *tool) warn(format string, args ...any) {
	// Where standard error cannot be written to, nobody is there to be told.
	_, _ = fmt.Fprintf(t.stderr, "cellctl: "+format+"\n", args...)
}
