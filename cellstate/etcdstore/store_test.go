package etcdstore_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/etcdstore"
	"github.com/omegacell/omegacell/cellstate/etcdstore/etcdtest"
	"github.com/omegacell/omegacell/cellstate/storetest"
	"github.com/omegacell/omegacell/cellstate/wire"
)

// TestStore runs the contract against a member as omegacell starts it.
func TestStore(t *testing.T) {
	storetest.Run(t, cells(t, etcdstore.Config{Progress: 1 << 30}))
}

// TestStoreSmallLimits runs it against etcd's own defaults, found out by refusal, with pages of a few keys.
func TestStoreSmallLimits(t *testing.T) {
	storetest.Run(t, cells(t, etcdstore.Config{PageKeys: 3}, func(c *embed.Config) {
		c.MaxTxnOps, c.MaxRequestBytes = embed.DefaultMaxTxnOps, 32<<10
	}))
}

// TestStoreInProcess runs it without a network in between.
func TestStoreInProcess(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Cell {
		m := etcdtest.Start(t)
		clients := make(map[cellstate.Store]*clientv3.Client)
		c := cell(t, m.Client(), clients)
		c.Open = func() cellstate.Store {
			client, kv := m.InProcess()
			s := open(t, etcdstore.Config{Client: client, KV: kv})
			clients[s] = client
			return s
		}
		return c
	})
}

// cells gives each test a member of its own: a watch of a cell then sees every revision there is.
func cells(_ *testing.T, cfg etcdstore.Config, opts ...func(*embed.Config)) func(t *testing.T) storetest.Cell {
	return func(t *testing.T) storetest.Cell {
		m := etcdtest.Start(t, opts...)
		clients := make(map[cellstate.Store]*clientv3.Client)
		c := cell(t, m.Client(), clients)
		c.Open = func() cellstate.Store {
			conf := cfg
			conf.Client = m.Client()
			s := open(t, conf)
			clients[s] = conf.Client
			return s
		}
		return c
	}
}

// cell is a cell without Open, whose stores have these clients.
func cell(t *testing.T, admin *clientv3.Client, clients map[cellstate.Store]*clientv3.Client) storetest.Cell {
	return storetest.Cell{
		Compact: func(rev int64) {
			if _, err := admin.Compact(t.Context(), rev); err != nil {
				t.Fatalf("compact at %d: %v", rev, err)
			}
		},
		Corrupt: func(k cellstate.Key) { putRaw(t, admin, k, "\xff not protobuf") },
		Cut: func(s cellstate.Store) {
			if err := clients[s].Close(); err != nil && !errors.Is(err, context.Canceled) { // as in-process clients say
				t.Fatalf("close client: %v", err)
			}
		},
	}
}

func open(tb testing.TB, cfg etcdstore.Config) *etcdstore.Store {
	tb.Helper()
	cfg.Cell = "test"
	s, err := etcdstore.New(cfg)
	if err != nil {
		tb.Fatalf("New: %v", err)
	}
	return s
}

func putRaw(tb testing.TB, c *clientv3.Client, k cellstate.Key, value string) {
	tb.Helper()
	if _, err := c.Put(tb.Context(), wire.KeyString("test", k), value); err != nil {
		tb.Fatalf("put %s: %v", k, err)
	}
}

// machines puts n ledgers of so much CPU and returns them.
func machines(tb testing.TB, s cellstate.Store, n int, milli int64) view {
	tb.Helper()
	for at := 0; at < n; at += 100 {
		var sw cellstate.Swap
		for i := at; i < min(at+100, n); i++ {
			sw.Put = append(sw.Put, cellstate.Put{Value: cellstate.NewLedger(machine(i), cellstate.Resources{CPUMilli: milli})})
		}
		if _, err := s.Swap(tb.Context(), sw); err != nil {
			tb.Fatalf("Swap: %v", err)
		}
	}
	return ledgers(tb, s)
}

func ledgers(tb testing.TB, s cellstate.Store) view {
	tb.Helper()
	l, err := s.List(tb.Context(), cellstate.Range{Kind: cellstate.KindLedger}, 0)
	if err != nil {
		tb.Fatalf("List: %v", err)
	}
	v := make(view)
	for _, r := range l.Records {
		if led, ok := r.Value.(*cellstate.Ledger); ok {
			v[led.Machine] = led
		}
	}
	return v
}

type view map[string]*cellstate.Ledger

func (v view) Ledger(machine string) (*cellstate.Ledger, bool) {
	l, ok := v[machine]
	return l, ok
}

func machine(i int) string { return fmt.Sprintf("m%d", i) }

func claim(task int, on string, milli int64) cellstate.Claim {
	return cellstate.Claim{
		ID:      cellstate.ClaimID{Scheduler: "batch", Job: "job", Task: uint32(task)},
		Machine: on, Resources: cellstate.Resources{CPUMilli: milli},
	}
}

func txn(basis cellstate.View, adds ...cellstate.Claim) *cellstate.Txn {
	return &cellstate.Txn{ID: "t", Scheduler: "batch", Mode: cellstate.Incremental, Rule: cellstate.FitRule, Basis: basis, Add: adds}
}

func commit(tb testing.TB, s cellstate.Store, t *cellstate.Txn) cellstate.Verdict {
	tb.Helper()
	v, err := s.Commit(tb.Context(), t)
	if err != nil {
		tb.Fatalf("Commit: %v", err)
	}
	return v
}

// metric returns the sum of a metric's counters, or the count of its histogram.
func metric(tb testing.TB, r *prometheus.Registry, name string) float64 {
	tb.Helper()
	families, err := r.Gather()
	if err != nil {
		tb.Fatalf("Gather: %v", err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() == "omegacell_store_"+name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}
