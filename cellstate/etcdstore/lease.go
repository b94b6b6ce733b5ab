package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/omegacell/omegacell/cellstate"
)

// Lease implements [cellstate.Store]. The time is rounded up to whole seconds; etcd may make it longer still.
func (s *Store) Lease(ctx context.Context, ttl time.Duration) (cellstate.Lease, error) {
	if ttl <= 0 {
		return nil, opError("lease", ttl.String(), cellstate.ErrInvalid, fmt.Errorf("its time is not positive"))
	}
	grant, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	resp, err := s.client.Grant(grant, int64((ttl+time.Second-1)/time.Second))
	if err != nil {
		return nil, readError("lease", ttl.String(), err)
	}
	l := &lease{store: s, id: resp.ID, done: make(chan struct{})}
	keep, stop := context.WithCancel(s.client.Ctx())
	l.stop = stop
	kept, err := s.client.KeepAlive(keep, l.id)
	if err != nil {
		stop()
		return nil, readError("lease", l.name(), err)
	}
	go func() {
		defer stop()
		defer close(l.done)
		for range kept { // closed when the lease has run out or stop was called
		}
	}()
	return l, nil
}

type lease struct {
	store *Store
	id    clientv3.LeaseID
	stop  context.CancelFunc
	done  chan struct{}
}

func (l *lease) ID() int64             { return int64(l.id) }
func (l *lease) Done() <-chan struct{} { return l.done }
func (l *lease) name() string          { return fmt.Sprintf("lease %x", int64(l.id)) }

// Close stops keeping the lease alive and revokes it. If that fails it runs out by itself.
func (l *lease) Close(ctx context.Context) error {
	l.stop()
	<-l.done
	ctx, cancel := context.WithTimeout(ctx, l.store.cfg.RequestTimeout)
	defer cancel()
	_, err := l.store.client.Revoke(ctx, l.id)
	if err == nil || errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return nil
	}
	return readError("close lease", l.name(), err)
}
