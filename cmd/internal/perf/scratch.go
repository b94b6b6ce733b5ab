package perf

import (
	"context"
	"fmt"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/wire"
)

// scratch is a cell that only one run knows.
type scratch struct {
	client *clientv3.Client
	name   string
}

// What one task wants, and its machine has times PerMachine.
const (
	taskCPUMilli = 1000
	taskMemBytes = 1 << 30
	machinesRack = 40
)

func machineName(i int) string { return fmt.Sprintf("rack-%04d-%02d", i/machinesRack, i%machinesRack) }

// emptyLedger is machine i with nothing on it.
func emptyLedger(cfg *Config, i int) *cellstate.Ledger {
	n := int64(cfg.PerMachine)
	return cellstate.NewLedger(machineName(i), cellstate.Resources{CPUMilli: n * taskCPUMilli, MemBytes: n * taskMemBytes})
}

// build writes the machines, as their agents would.
func (s scratch) build(ctx context.Context, cfg *Config) error {
	var values []cellstate.Value
	for i := range cfg.Machines {
		name := machineName(i)
		rack := fmt.Sprintf("rack-%04d", i/machinesRack)
		values = append(values, emptyLedger(cfg, i), &cellstate.Session{Machine: name, Epoch: 1, StartedAt: now()},
			&cellstate.Machine{Name: name, Attributes: map[string]string{"os": "linux", "rack": rack}, Domains: []string{rack}})
	}
	return s.write(ctx, values)
}

// empty takes all claims away again.
func (s scratch) empty(ctx context.Context, cfg *Config) error {
	values := make([]cellstate.Value, cfg.Machines)
	for i := range values {
		values[i] = emptyLedger(cfg, i)
	}
	return s.write(ctx, values)
}

// pieceSize is the number of keys of one request, which is less than any etcd takes.
const pieceSize = 100

func (s scratch) write(ctx context.Context, values []cellstate.Value) error {
	var ops []clientv3.Op
	for i, v := range values {
		b, err := wire.Marshal(v)
		if err != nil {
			return err
		}
		ops = append(ops, clientv3.OpPut(wire.KeyString(s.name, v.Key()), string(b)))
		if len(ops) == pieceSize || i == len(values)-1 {
			if _, err := s.client.Txn(ctx).Then(ops...).Commit(); err != nil {
				return fmt.Errorf("write cell %s: %w", s.name, err)
			}
			ops = ops[:0]
		}
	}
	return nil
}

// removePatience bounds the clean-up, which goes on after the run's context has ended.
const removePatience = 30 * time.Second

// remove deletes the cell.
func (s scratch) remove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removePatience)
	defer cancel()
	if _, err := s.client.Delete(ctx, wire.Prefix(s.name), clientv3.WithPrefix()); err != nil {
		return fmt.Errorf("the keys under %s are left: %w", wire.Prefix(s.name), err)
	}
	return nil
}

// revision returns the newest revision of etcd.
func (s scratch) revision(ctx context.Context) (int64, error) {
	resp, err := s.client.Get(ctx, wire.Prefix(s.name)+"nothing")
	if err != nil {
		return 0, err
	}
	return resp.Header.Revision, nil
}

// full says why nothing more should be written: etcd refuses all writes of everybody when its quota is used up.
func (s scratch) full(ctx context.Context) (string, error) {
	st, err := s.client.Status(ctx, s.client.Endpoints()[0])
	if err != nil {
		return "", err
	}
	if q := st.DbSizeQuota; q > 0 && st.DbSize > q/2 {
		return fmt.Sprintf("etcd's database has %d MiB, more than half of its quota of %d MiB", st.DbSize>>20, q>>20), nil
	}
	return "", nil
}

// put is one key as the whole path wrote it.
type put struct {
	machine string // the rest of the key
	value   string
}

// history returns every put of a ledger in the revisions after from up to to.
func (s scratch) history(ctx context.Context, from, to int64) ([]put, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	prefix, _ := wire.RangePrefix(s.name, cellstate.Range{Kind: cellstate.KindLedger})
	var out []put
	for resp := range s.client.Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithRev(from+1)) {
		if err := resp.Err(); err != nil {
			return nil, fmt.Errorf("read back what was written: %w", err)
		}
		for _, e := range resp.Events {
			out = append(out, put{string(e.Kv.Key[len(prefix):]), string(e.Kv.Value)})
			if e.Kv.ModRevision >= to && e == resp.Events[len(resp.Events)-1] {
				return out, nil
			}
		}
	}
	return nil, fmt.Errorf("read back what was written: %w", ctx.Err())
}

// transactions deals puts over transactions of n, none of which puts a key twice.
func (s scratch) transactions(puts []put, n int) [][]clientv3.Op {
	prefix, _ := wire.RangePrefix(s.name, cellstate.Range{Kind: cellstate.KindLedger})
	var out [][]clientv3.Op
	var ops []clientv3.Op
	seen := make(map[string]bool, n)
	for _, p := range puts {
		if len(ops) == n || seen[p.machine] {
			out = append(out, ops)
			ops = nil
			clear(seen)
		}
		seen[p.machine] = true
		ops = append(ops, clientv3.OpPut(prefix+p.machine, p.value))
	}
	return append(out, ops)
}

// check reads the cell from etcd and holds that it has exactly so many claims, each once, and that those of each machine fit
// (I1), one after the other on an empty machine.
func (s scratch) check(ctx context.Context, want int) error {
	prefix, _ := wire.RangePrefix(s.name, cellstate.Range{Kind: cellstate.KindLedger})
	end := clientv3.GetPrefixRangeEnd(prefix)
	seen := make(map[cellstate.ClaimID]bool, want)
	for key := prefix; ; {
		resp, err := s.client.Get(ctx, key, clientv3.WithRange(end), clientv3.WithLimit(2000))
		if err != nil {
			return err
		}
		for _, kv := range resp.Kvs {
			if err := checkLedger(s.name, string(kv.Key), kv.Value, seen); err != nil {
				return err
			}
			key = string(kv.Key) + "\x00"
		}
		if !resp.More {
			break
		}
	}
	if len(seen) != want {
		return fmt.Errorf("cell %s holds %d claims, not the %d that were committed", s.name, len(seen), want)
	}
	return nil
}

func checkLedger(cell, key string, value []byte, seen map[cellstate.ClaimID]bool) error {
	k, err := wire.ParseKey(cell, key)
	if err != nil {
		return err
	}
	v, err := wire.Unmarshal(k, value, 1)
	if err != nil {
		return err
	}
	l := v.(*cellstate.Ledger)
	sum := cellstate.NewLedger(l.Machine, l.Capacity)
	for c := range slices.Values(l.Claims) {
		if short := sum.Fit(&c, cellstate.Limits{}); short != (cellstate.Shortage{}) {
			return fmt.Errorf("I1: claim %s does not fit on %s: %s", c.ID, l.Machine, short)
		}
		if seen[c.ID] {
			return fmt.Errorf("I4: claim %s is there twice", c.ID)
		}
		seen[c.ID] = true
		sum = sum.With(c)
	}
	return nil
}
