package agent

import (
	"context"
	"fmt"
	"iter"
	"time"

	"go.uber.org/zap"

	"github.com/omegacell/omegacell/cellstate"
)

// Config configures an Agent. Store, Driver, Machine and Capacity are required; a zero in any other field means the default
// its comment states.
type Config struct {
	Store    cellstate.Store
	Driver   Driver // the caller closes it, after Run
	Machine  string
	Capacity cellstate.Resources // what claims may share

	Cell       string            // its name, for the tasks' environment
	Attributes map[string]string // of the machine; they replace what stands in the cell, but for the operators' labels
	Domains    []string          // the same; none keeps what stands in the cell
	Address    string            // host:port of the endpoint that serves Logs; "" means none
	Version    string            // of the agent

	// StateDir is where orders are kept across restarts of the agent, which locks it. "" keeps them in memory: then an agent
	// that starts while the cell is out of reach does not know the jobs' policies.
	StateDir string

	TTL time.Duration // of the session's lease; default 10s
	// ReportEvery is the least time between two reports, but for ends, which go at once, and how long a start that is under
	// way may wait to be reported; default 200ms.
	ReportEvery time.Duration
	Timeout     time.Duration // of one request to the store; default 10s

	// StopTasks makes the end of Run stop every task, wait for their ends and forget them. Without it they go on, and the
	// next agent adopts them.
	StopTasks   bool
	StopTimeout time.Duration // bounds that; default 1m

	// What many agents of one process share. Nil means their own.
	Jobs    *Jobs
	Watch   WatchLedger
	Lease   MakeLease
	Metrics *Metrics
	Log     *zap.Logger // nil: none
}

// WatchLedger watches one machine's ledger from a revision on, as [cellstate.Store.Watch] would, but may leave out
// changes that later ones have overtaken.
type WatchLedger func(ctx context.Context, machine string, from int64) iter.Seq2[cellstate.Batch, error]

// MakeLease makes a lease, as [cellstate.Store.Lease] does.
type MakeLease func(ctx context.Context, ttl time.Duration) (cellstate.Lease, error)

func (c Config) withDefaults() (Config, error) {
	bad := func(format string, args ...any) (Config, error) {
		return c, &cellstate.OpError{Op: "configure agent", On: c.Machine, Err: fmt.Errorf(format, args...)}
	}
	if c.Store == nil || c.Driver == nil {
		return bad("no store or no driver: %w", cellstate.ErrInvalid)
	}
	if err := cellstate.CheckName(c.Machine); err != nil {
		return bad("machine: %w", err)
	}
	if err := c.Capacity.Check(); err != nil {
		return bad("capacity: %w", err)
	}
	if c.Capacity.GPUMilli%cellstate.GPUDevice != 0 {
		return bad("capacity: %dm gpu is not a number of whole devices: %w", c.Capacity.GPUMilli, cellstate.ErrInvalid)
	}
	for _, d := range c.Domains {
		if err := cellstate.CheckName(d); err != nil {
			return bad("domain: %w", err)
		}
	}
	for k := range c.Attributes {
		if err := cellstate.CheckName(k); err != nil {
			return bad("attribute: %w", err)
		}
	}
	if c.TTL < 0 || c.ReportEvery < 0 || c.Timeout < 0 || c.StopTimeout < 0 {
		return bad("a negative duration: %w", cellstate.ErrInvalid)
	}
	setDefault(&c.TTL, 10*time.Second)
	setDefault(&c.ReportEvery, 200*time.Millisecond)
	setDefault(&c.Timeout, 10*time.Second)
	setDefault(&c.StopTimeout, time.Minute)
	if c.Jobs == nil {
		c.Jobs = NewJobs(c.Store)
	}
	if c.Watch == nil {
		store := c.Store
		c.Watch = func(ctx context.Context, machine string, from int64) iter.Seq2[cellstate.Batch, error] {
			return store.Watch(ctx, cellstate.LedgerKey(machine).Only(), from)
		}
	}
	if c.Lease == nil {
		c.Lease = c.Store.Lease
	}
	if c.Metrics == nil {
		c.Metrics = NewMetrics(nil)
	}
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	c.Log = c.Log.With(zap.String("machine", c.Machine))
	return c, nil
}
