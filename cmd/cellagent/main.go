package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/omegacell/omegacell/agent/exec"
	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cmd/internal/cliconf"
	"github.com/omegacell/omegacell/cmd/internal/daemon"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// config is what the flags say.
type config struct {
	cliconf.Connection `mapstructure:",squash"`
	daemon.Config      `mapstructure:",squash"`
	Machine            string        `mapstructure:"machine"`
	DataDir            string        `mapstructure:"data-dir"`
	Driver             string        `mapstructure:"driver"`
	Capacity           string        `mapstructure:"capacity"`
	Reserve            string        `mapstructure:"reserve"`
	Attributes         []string      `mapstructure:"attribute"`
	Domains            []string      `mapstructure:"domain"`
	Advertise          string        `mapstructure:"advertise-address"`
	SessionTTL         time.Duration `mapstructure:"session-ttl"`
	Cgroup             string        `mapstructure:"cgroup"`
	Unconfined         bool          `mapstructure:"unconfined"`
	StopTasks          bool          `mapstructure:"stop-tasks"`
	Emulated           int           `mapstructure:"emulated"`
}

// maxEmulated bounds the machines of one process.
const maxEmulated = 100_000

// run is main without the process: it returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == "shim" { // before anything else: there is one of these for each task
		return exec.RunShim(args[1:])
	}
	root := &cobra.Command{
		Use:   "cellagent",
		Short: "The agent of a machine of an omegacell cell",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var cfg config
			if err := (cliconf.Sources{}).Load(cmd, &cfg); err != nil {
				return err
			}
			return serve(cmd.Context(), cfg, stderr)
		},
	}
	fs := root.Flags()
	cliconf.AddConfigFlag(fs)
	cliconf.AddConnectionFlags(fs)
	daemon.AddFlags(fs, "127.0.0.1:0")
	fs.String("machine", "", "`NAME` of the machine (default: the host's name)")
	fs.String("data-dir", "/var/lib/omegacell", "`DIRECTORY` for the agent's state, the tasks and their logs; of this agent alone")
	fs.String("driver", "exec", "what runs tasks: exec (processes of this host) or emulated (nothing; tasks last as long as they say)")
	fs.String("capacity", "", "`AMOUNTS` that override what the host is found to have, such as cpu=4,memory=8Gi,disk=100Gi,network=1Gbit,gpu=2")
	fs.String("reserve", "", "`AMOUNTS` of the host that tasks do not get, such as cpu=500m,memory=1Gi")
	fs.StringArray("attribute", nil, "`KEY=VALUE` of the machine, which constraints can ask for; may be repeated")
	fs.StringArray("domain", nil, "`NAME` of a failure or sharing domain of the machine, such as its rack; may be repeated, most local first")
	fs.String("advertise-address", "", "`HOST:PORT` where others reach --metrics-listen, for the logs of tasks (default: that address itself)")
	fs.Duration("session-ttl", 10*time.Second, "time after which the cell takes a silent agent for gone")
	fs.String("cgroup", "", "`NAME` of the control group of all tasks (default: omegacell, or omegacell-MACHINE where that is not the host's name)")
	fs.Bool("unconfined", false, "run tasks without namespaces, control groups and limits, where the agent is not root")
	fs.Bool("stop-tasks", false, "stop all tasks when the agent ends; without it they go on, and the next agent adopts them")
	fs.Int("emulated", 0, "stand for `N` machines, NAME-0001 and so on, with the emulated driver")
	root.AddCommand(daemon.VersionCommand("cellagent"))
	return cliconf.Run(context.Background(), root, args, stdout, stderr)
}

// settle fills in the defaults that depend on the host and refuses what cannot be meant.
func (c *config) settle() error {
	host, err := os.Hostname()
	if err != nil && c.Machine == "" {
		return cliconf.Usagef("the host has no name; give --machine: %w", err)
	}
	if c.Machine == "" {
		c.Machine = host
	}
	if err := cellstate.CheckName(c.Machine); err != nil {
		return cliconf.Usagef("--machine: %w", err)
	}
	if c.Cgroup == "" {
		c.Cgroup = "omegacell"
		if c.Machine != host {
			c.Cgroup += "-" + c.Machine
		}
	}
	switch {
	case c.Driver != "exec" && c.Driver != "emulated":
		return cliconf.Usagef("--driver %q is not exec or emulated", c.Driver)
	case c.Emulated < 0 || c.Emulated > maxEmulated:
		return cliconf.Usagef("--emulated %d is not from 0 to %d", c.Emulated, maxEmulated)
	case c.SessionTTL < time.Second:
		return cliconf.Usagef("--session-ttl %s is less than 1s", c.SessionTTL)
	case c.DataDir == "":
		return cliconf.Usagef("--data-dir is empty")
	case strings.Contains(c.Cgroup, "/"):
		return cliconf.Usagef("--cgroup %q has a slash in it", c.Cgroup)
	}
	if c.Emulated > 0 {
		c.Driver = "emulated"
	}
	if c.DataDir, err = filepath.Abs(c.DataDir); err != nil {
		return cliconf.Usagef("--data-dir: %w", err)
	}
	return c.Check()
}

// attributes reads the values of --attribute.
func attributes(list []string) (map[string]string, error) {
	out := make(map[string]string, len(list))
	for _, a := range list {
		k, v, ok := strings.Cut(a, "=")
		if !ok || k == "" || v == "" {
			return nil, cliconf.Usagef("--attribute %q is not KEY=VALUE", a)
		}
		if _, twice := out[k]; twice {
			return nil, cliconf.Usagef("--attribute %s is given twice", k)
		}
		out[k] = v
	}
	return out, nil
}

// names lists the machines that the process stands for.
func (c *config) names() []string {
	if c.Emulated == 0 {
		return []string{c.Machine}
	}
	var all []string
	for i := range c.Emulated {
		all = append(all, fmt.Sprintf("%s-%04d", c.Machine, i+1))
	}
	return all
}
