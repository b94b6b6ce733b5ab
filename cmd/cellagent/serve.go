package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/omegacell/omegacell/agent"
	"github.com/omegacell/omegacell/agent/emulated"
	"github.com/omegacell/omegacell/agent/exec"
	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cmd/internal/cliconf"
	"github.com/omegacell/omegacell/cmd/internal/daemon"
)

// serve wires the parts and runs them until a signal.
func serve(ctx context.Context, cfg config, stderr io.Writer) error {
	if err := cfg.settle(); err != nil {
		return err
	}
	base, err := describe(cfg)
	if err != nil {
		return err
	}
	ctx, stop := daemon.Signals(ctx)
	defer stop()
	d, err := daemon.New("cellagent", cfg.Config, stderr)
	if err != nil {
		return cliconf.Usagef("%w", err)
	}
	store := newLateStore()
	base.Store, base.Log, base.Metrics = store, d.Log, agent.NewMetrics(d.Registry)
	if base.Address, err = cfg.address(d.Addr()); err != nil {
		return errors.Join(err, d.Close())
	}
	fleet, err := newFleet(cfg, base)
	if err != nil {
		return errors.Join(err, d.Close())
	}
	defer fleet.close()
	logs := agent.Logs(fleet.agents...)
	d.Handle("GET /logs", logs)
	d.Handle("GET /logs/", logs)
	d.Ready("session", fleet.ready)
	d.Log.Info("starting", zap.String("machine", cfg.Machine), zap.String("cell", cfg.Cell), zap.String("driver", cfg.Driver),
		zap.Int("machines", len(fleet.agents)), zap.Stringer("capacity", base.Capacity))
	if at := closedAt(cfg.DataDir); cfg.Driver == "exec" && at != "" {
		d.Log.Warn("other users cannot get through to --data-dir: their tasks will not start", zap.String("closed-at", at))
	}
	return d.Run(ctx, func(ctx context.Context) error {
		// The store outlives the agents: they still write to the cell while they end.
		up, down := context.WithCancel(context.WithoutCancel(ctx))
		g, ctx := errgroup.WithContext(ctx)
		g.Go(func() error { return store.connect(up, cfg.Connection, d) })
		g.Go(func() error {
			defer down()
			return fleet.run(ctx, up)
		})
		return g.Wait()
	})
}

// describe says what the machine is and has: what the host is found to be, and what the flags say over it.
func describe(cfg config) (agent.Config, error) {
	dir := "/"
	if cfg.Driver == "exec" {
		dir = cfg.DataDir
		if err := os.MkdirAll(dir, 0o711); err != nil { // tasks of other users have to get through
			return agent.Config{}, cliconf.Usagef("--data-dir: %w", err)
		}
	}
	host, err := agent.DetectHost(dir)
	if err != nil {
		return agent.Config{}, err
	}
	own, err := attributes(cfg.Attributes)
	if err != nil {
		return agent.Config{}, err
	}
	host.Attributes["driver"] = cfg.Driver
	maps.Copy(host.Attributes, own)
	reserve, err := amounts(cfg.Reserve, cellstate.Resources{})
	if err != nil {
		return agent.Config{}, cliconf.Usagef("--reserve: %w", err)
	}
	capacity := host.Capacity.Sub(reserve)
	if err := capacity.Check(); err != nil {
		return agent.Config{}, cliconf.Usagef("--reserve is more than the host has, %s", host.Capacity)
	}
	if capacity, err = amounts(cfg.Capacity, capacity); err != nil {
		return agent.Config{}, cliconf.Usagef("--capacity: %w", err)
	}
	return agent.Config{
		Cell: cfg.Cell, Capacity: capacity, Attributes: host.Attributes, Domains: cfg.Domains, Version: daemon.Version(),
		TTL: cfg.SessionTTL, StopTasks: cfg.StopTasks,
	}, nil
}

// closedAt returns the directory that users other than its own cannot pass on the way to dir, "" where they can.
func closedAt(dir string) string {
	dir, err := filepath.Abs(dir)
	for up := ""; err == nil && dir != up; dir, up = filepath.Dir(dir), dir {
		if st, err := os.Stat(dir); err == nil && st.Mode().Perm()&0o001 == 0 {
			return dir
		}
	}
	return ""
}

// address is what others are told of the address that the server listens on, "" where there is no server.
func (c *config) address(listens string) (string, error) {
	if listens == "" {
		return "", nil
	}
	if c.Advertise != "" {
		if host, port, err := net.SplitHostPort(c.Advertise); err != nil || host == "" || port == "" {
			return "", cliconf.Usagef("--advertise-address %q is not HOST:PORT", c.Advertise)
		}
		return c.Advertise, nil
	}
	host, port, err := net.SplitHostPort(listens)
	if err != nil {
		return "", err
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsUnspecified() {
		return listens, nil
	}
	name, err := os.Hostname() // it listens everywhere
	if err != nil {
		return "", cliconf.Usagef("the host has no name; give --advertise-address: %w", err)
	}
	return net.JoinHostPort(name, port), nil
}

// fleet is the agents of this process, one but for --emulated.
type fleet struct {
	agents  []*agent.Agent
	drivers []agent.Driver
	clock   *emulated.Clock      // nil without emulated machines
	ledgers *agent.SharedLedgers // the same
}

func newFleet(cfg config, base agent.Config) (*fleet, error) {
	f := new(fleet)
	if cfg.Driver == "emulated" {
		f.clock = emulated.NewClock()
		f.ledgers = agent.NewSharedLedgers(base.Store, base.Log)
		base.Watch = f.ledgers.Watch
		base.Lease = agent.NewSharedLease(base.Store).Lease
		base.Jobs = agent.NewJobs(base.Store)
	}
	for _, name := range cfg.names() {
		one := base
		one.Machine = name
		driver, err := f.driver(cfg, name, base.Log)
		if err != nil {
			f.close()
			return nil, err
		}
		f.drivers = append(f.drivers, driver)
		one.Driver = driver
		if cfg.Driver == "exec" {
			one.StateDir = filepath.Join(cfg.DataDir, "agent")
		}
		a, err := agent.New(one)
		if err != nil {
			f.close()
			return nil, cliconf.Usagef("%w", err)
		}
		f.agents = append(f.agents, a)
	}
	return f, nil
}

func (f *fleet) driver(cfg config, machine string, log *zap.Logger) (agent.Driver, error) {
	if f.clock != nil {
		return emulated.New(f.clock, machine), nil
	}
	return exec.New(exec.Config{DataDir: filepath.Join(cfg.DataDir, "exec"), CgroupRoot: cfg.Cgroup, Unconfined: cfg.Unconfined, Log: log})
}

// run runs the agents until ctx is over or one of them fails, which ends the others. up lasts until they all have ended.
func (f *fleet) run(ctx, up context.Context) error {
	if f.ledgers != nil {
		go f.ledgers.Run(up)
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, a := range f.agents {
		g.Go(func() error { return a.Run(ctx) })
	}
	return g.Wait()
}

// ready says how many machines have no session.
func (f *fleet) ready(context.Context) error {
	out := 0
	for _, a := range f.agents {
		if !a.Connected() {
			out++
		}
	}
	if out > 0 {
		return fmt.Errorf("%d of %d machines have none", out, len(f.agents))
	}
	return nil
}

// close gives back what the drivers hold. Tasks go on.
func (f *fleet) close() {
	for _, d := range f.drivers {
		_ = d.Close() // there is nobody left to tell
	}
	if f.clock != nil {
		f.clock.Close()
	}
}
