package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/etcdstore"
	"github.com/omegacell/omegacell/cmd/internal/cliconf"
	"github.com/omegacell/omegacell/cmd/internal/daemon"
)

// lateStore is a store that waits for etcd to be reached for the first time: an agent starts, and looks after its tasks, also
// while it cannot reach the cell.
type lateStore struct {
	inner   *etcdstore.Store
	reached chan struct{} // closed when inner is set
}

func newLateStore() *lateStore { return &lateStore{reached: make(chan struct{})} }

func (s *lateStore) get(ctx context.Context, op string) (cellstate.Store, error) {
	select {
	case <-s.reached:
		return s.inner, nil
	case <-ctx.Done():
		return nil, &cellstate.OpError{Op: op, On: "cell", Err: fmt.Errorf("etcd not reached yet: %w", cellstate.ErrUnavailable)}
	}
}

// connect dials until it succeeds, then keeps the client until ctx is over.
func (s *lateStore) connect(ctx context.Context, conn cliconf.Connection, d *daemon.Daemon) error {
	var client *clientv3.Client
	for client == nil {
		var err error
		if client, err = conn.Dial(ctx, d.Log); err == nil {
			break
		}
		if ctx.Err() != nil {
			return nil
		}
		if !errors.Is(err, cellstate.ErrUnavailable) {
			return err
		}
		d.Log.Warn("cell out of reach", zap.Error(err))
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil
		}
	}
	inner, err := etcdstore.New(etcdstore.Config{Client: client, Cell: conn.Cell, Log: d.Log, Metrics: d.Registry})
	if err != nil {
		return errors.Join(err, client.Close())
	}
	s.inner = inner
	close(s.reached)
	<-ctx.Done()
	return client.Close()
}

func (s *lateStore) Commit(ctx context.Context, t *cellstate.Txn) (cellstate.Verdict, error) {
	inner, err := s.get(ctx, "commit")
	if err != nil {
		return cellstate.Verdict{}, err
	}
	return inner.Commit(ctx, t)
}

func (s *lateStore) Swap(ctx context.Context, w cellstate.Swap) (cellstate.Swapped, error) {
	inner, err := s.get(ctx, "swap")
	if err != nil {
		return cellstate.Swapped{}, err
	}
	return inner.Swap(ctx, w)
}

func (s *lateStore) List(ctx context.Context, r cellstate.Range, rev int64) (cellstate.Listing, error) {
	inner, err := s.get(ctx, "list")
	if err != nil {
		return cellstate.Listing{}, err
	}
	return inner.List(ctx, r, rev)
}

func (s *lateStore) Watch(ctx context.Context, r cellstate.Range, from int64) iter.Seq2[cellstate.Batch, error] {
	inner, err := s.get(ctx, "watch")
	if err != nil {
		return func(yield func(cellstate.Batch, error) bool) { yield(cellstate.Batch{}, err) }
	}
	return inner.Watch(ctx, r, from)
}

func (s *lateStore) Lease(ctx context.Context, ttl time.Duration) (cellstate.Lease, error) {
	inner, err := s.get(ctx, "lease")
	if err != nil {
		return nil, err
	}
	return inner.Lease(ctx, ttl)
}
