package perf

import (
	"context"
	"sync/atomic"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"
)

// rawHalf sends transactions from all clients at once, and measures that.
func (r *run) rawHalf(ctx context.Context, transactions [][]clientv3.Op, out *round) error {
	for _, ops := range transactions {
		out.puts += len(ops)
		for _, op := range ops {
			out.bytes += len(op.KeyBytes()) + len(op.ValueBytes())
		}
	}
	watch, err := r.startWatch(ctx)
	if err != nil {
		return err
	}
	var next atomic.Int64
	g, inner := errgroup.WithContext(ctx)
	for _, c := range r.clients[r.cfg.Stores:] {
		g.Go(func() error {
			for {
				i := next.Add(1) - 1
				if i >= int64(len(transactions)) {
					return nil
				}
				if _, err := c.Txn(inner).Then(transactions[i]...).Commit(); err != nil {
					return err
				}
			}
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	took, cpu, err := r.read(ctx, watch)
	out.rawSeconds, out.rawCPU = took.Seconds(), cpu
	return err
}
