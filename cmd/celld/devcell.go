package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/omegacell/omegacell/agent"
	"github.com/omegacell/omegacell/agent/emulated"
	"github.com/omegacell/omegacell/agent/exec"
	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/etcdstore"
	"github.com/omegacell/omegacell/cellstate/mirror"
	"github.com/omegacell/omegacell/cmd/internal/daemon"
	"github.com/omegacell/omegacell/cmd/internal/member"
	"github.com/omegacell/omegacell/schedulers"
	"github.com/omegacell/omegacell/schedulers/batch"
	"github.com/omegacell/omegacell/schedulers/service"
)

// devCell is a whole cell in one process. Its parts are started one after the other and stopped in the opposite order, so
// that schedulers do not replace the tasks that agents stop, and agents can still report.
type devCell struct {
	cfg    devConfig
	dir    string
	daemon *daemon.Daemon
	log    *zap.Logger
	began  time.Time
	member *member.Member
	store  cellstate.Store
	failed chan error
	stops  []func() error
}

// parts bounds the parts that may fail before anybody looks.
const parts = 16

func (c *devCell) start(ctx context.Context) error {
	c.began, c.failed = time.Now(), make(chan error, parts)
	var err error
	c.member, err = member.Start(ctx, member.Config{
		Name: "dev", DataDir: filepath.Join(c.dir, "etcd"), ListenClientURLs: []string{c.cfg.ListenURL},
		ListenPeerURLs: []string{"http://127.0.0.1:0"}, AutoCompaction: 10 * time.Minute, Log: c.log,
	})
	if err != nil {
		return err
	}
	c.stops = append(c.stops, c.member.Stop)
	if c.store, err = etcdstore.New(etcdstore.Config{Client: c.member.Client(), Cell: c.cfg.Cell, Log: c.log, Metrics: c.daemon.Registry}); err != nil {
		return err
	}
	if err := c.startAgents(); err != nil {
		return err
	}
	return c.startSchedulers()
}

// part runs f until the cell stops it. What it returns before that fails the cell.
func (c *devCell) part(name string, f func(ctx context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		err := f(ctx)
		if ctx.Err() == nil {
			c.failed <- fmt.Errorf("%s: %w", name, errors.Join(err, errors.New("ended by itself")))
		}
		if errors.Is(err, context.Canceled) {
			err = nil
		}
		done <- err
	}()
	c.stops = append(c.stops, func() error {
		cancel()
		if err := <-done; err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	})
}

// stop stops all parts, the last first.
func (c *devCell) stop() error {
	var all error
	for i := len(c.stops) - 1; i >= 0; i-- {
		all = errors.Join(all, c.stops[i]())
	}
	return all
}

// startAgents starts the real and the emulated machines.
func (c *devCell) startAgents() error {
	host, err := agent.DetectHost(c.dir)
	if err != nil {
		return err
	}
	base := agent.Config{
		Store: c.store, Cell: c.cfg.Cell, Address: c.daemon.Addr(), Version: daemon.Version(), StopTasks: true,
		StopTimeout: 30 * time.Second, TTL: 5 * time.Second, Jobs: agent.NewJobs(c.store), Lease: agent.NewSharedLease(c.store).Lease,
		Metrics: agent.NewMetrics(c.daemon.Registry), Log: c.log,
	}
	ledgers := agent.NewSharedLedgers(c.store, c.log)
	c.part("ledgers", func(ctx context.Context) error { ledgers.Run(ctx); return ctx.Err() })
	base.Watch = ledgers.Watch
	var all []*agent.Agent
	for i := range c.cfg.Agents {
		a, err := c.realAgent(base, host, i)
		if err != nil {
			return err
		}
		all = append(all, a)
	}
	if c.cfg.Emulated > 0 {
		clock := emulated.NewClock()
		c.stops = append(c.stops, func() error { clock.Close(); return nil })
		for i := range c.cfg.Emulated {
			a, err := c.emulatedAgent(base, clock, i)
			if err != nil {
				return err
			}
			all = append(all, a)
		}
	}
	logs := agent.Logs(all...)
	c.daemon.Handle("GET /logs", logs)
	c.daemon.Handle("GET /logs/", logs)
	c.part("agents", func(ctx context.Context) error {
		g, ctx := errgroup.WithContext(ctx)
		for _, a := range all {
			g.Go(func() error { return a.Run(ctx) })
		}
		return g.Wait()
	})
	return nil
}

// realAgent makes agent i of those that share the host.
func (c *devCell) realAgent(base agent.Config, host agent.Host, i int) (*agent.Agent, error) {
	base.Machine = fmt.Sprintf("dev-%d", i+1)
	n := int64(c.cfg.Agents)
	base.Capacity = cellstate.Resources{
		CPUMilli: host.Capacity.CPUMilli / n, MemBytes: host.Capacity.MemBytes / n,
		DiskBytes: host.Capacity.DiskBytes / n, NetBitsPerSecond: host.Capacity.NetBitsPerSecond / n,
	}
	base.Attributes = maps.Clone(host.Attributes)
	base.Attributes["driver"], base.Attributes["rack"] = "exec", fmt.Sprintf("rack-%d", i%2+1)
	dir := filepath.Join(c.dir, base.Machine)
	driver, err := exec.New(exec.Config{
		DataDir: dir, CgroupRoot: fmt.Sprintf("omegacell-dev-%d-%d", os.Getpid(), i+1), Unconfined: os.Geteuid() != 0, Log: c.log,
	})
	if err != nil {
		return nil, err
	}
	c.stops = append(c.stops, func() error {
		err := driver.Purge(context.Background())
		if c.cfg.DataDir != "" {
			err = errors.Join(err, os.RemoveAll(dir))
		}
		return err
	})
	base.Driver = driver
	return agent.New(base)
}

// emulatedAgent makes emulated machine i: 32 cores and 128 GiB in racks of 20.
func (c *devCell) emulatedAgent(base agent.Config, clock *emulated.Clock, i int) (*agent.Agent, error) {
	base.Machine = fmt.Sprintf("emu-%05d", i+1)
	base.Capacity = cellstate.Resources{CPUMilli: 32_000, MemBytes: 128 << 30, DiskBytes: 1 << 40, NetBitsPerSecond: 10_000_000_000}
	base.Attributes = map[string]string{"os": "linux", "driver": "emulated", "rack": fmt.Sprintf("rack-%d", i/20+1)}
	driver := emulated.New(clock, base.Machine)
	c.stops = append(c.stops, driver.Close)
	base.Driver = driver
	return agent.New(base)
}

// startSchedulers starts one mirror and the two schedulers on it.
func (c *devCell) startSchedulers() error {
	now := func() cellstate.Instant { return cellstate.InstantOf(time.Now()) }
	m, err := mirror.New(mirror.Config{Store: c.store, Now: now, Log: c.log, Metrics: c.daemon.Registry})
	if err != nil {
		return err
	}
	c.part("mirror", m.Run)
	for name, planner := range map[string]schedulers.Planner{"batch": batch.Planner{}, "service": service.Planner{}} {
		loop, err := schedulers.New(schedulers.Config{
			Name: name, Planner: planner, Store: c.store, Mirror: m, Now: now, Holder: fmt.Sprintf("celld-dev/%d", os.Getpid()),
			LeaseTTL: 5 * time.Second, Log: c.log, Metrics: schedulers.NewMetrics(c.daemon.Registry, name),
		})
		if err != nil {
			return err
		}
		c.part("scheduler "+name, loop.Run)
	}
	return c.ready(m)
}

// ready waits until every machine has a session and both schedulers are registered.
func (c *devCell) ready(m *mirror.Mirror) error {
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		snap, up := m.Snapshot(), 0
		for i := range snap.Len() {
			if v := snap.At(i); v != nil && v.Session != nil {
				up++
			}
		}
		_, batches := snap.Scheduler("batch")
		_, services := snap.Scheduler("service")
		if up >= c.cfg.Agents+c.cfg.Emulated && batches && services {
			return nil
		}
		select {
		case <-tick.C:
		case err := <-c.failed:
			return err
		case <-deadline:
			return fmt.Errorf("only %d of %d machines came up in 30s", up, c.cfg.Agents+c.cfg.Emulated)
		}
	}
}
