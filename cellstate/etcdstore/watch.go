package etcdstore

import (
	"context"
	"errors"
	"iter"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/wire"
)

var errNegative = errors.New("the revision is negative")

// Watch implements [cellstate.Store]. From 0 means from the next revision on: the first batch is then empty and says which
// revision is the latest. While etcd cannot be reached, or has no leader, it waits and goes on where it was; it ends with
// ErrUnavailable when the context ends or the etcd client is closed.
//
// Watches of the same range, unless it is a single key, share one etcd watch where they are not far apart. So what they bring
// is shared, and not to be changed.
func (s *Store) Watch(ctx context.Context, r cellstate.Range, from int64) iter.Seq2[cellstate.Batch, error] {
	return func(yield func(cellstate.Batch, error) bool) {
		w := &watch{store: s, r: r, next: from, yield: yield}
		if from < 0 {
			w.fail(cellstate.ErrCompacted, errNegative)
			return
		}
		if _, exact := wire.RangePrefix(s.cfg.Cell, r); exact {
			w.run(ctx, func() bool { return false })
			return
		}
		for !w.over {
			if rd := w.join(ctx); rd != nil {
				w.follow(ctx, rd)
				continue
			}
			var rd *reader
			w.run(ctx, func() bool {
				rd = w.join(ctx)
				return rd != nil
			})
			if rd != nil {
				w.follow(ctx, rd)
			}
		}
	}
}

// watch is one Watch under way, in its caller's goroutine; or that of a feed, in its own.
type watch struct {
	store *Store
	r     cellstate.Range
	next  int64 // the revision to go on from; 0: not known yet, the next there is
	yield func(cellstate.Batch, error) bool
	over  bool
}

// join returns a reader of the range's feed, or nil where it has none for the watch.
func (w *watch) join(ctx context.Context) *reader {
	if w.over || w.next == 0 || ctx.Err() != nil || w.store.client.Ctx().Err() != nil {
		return nil
	}
	return w.store.join(w.r, w.next)
}

// follow hands on what a feed brings, until the watch is over or has fallen behind. Then the reader leaves the feed, also where
// the caller's loop ends its goroutine.
func (w *watch) follow(ctx context.Context, rd *reader) {
	defer w.store.leave(w.r, rd)
	for !w.over {
		if err := ctx.Err(); err != nil {
			w.fail(cellstate.ErrUnavailable, err)
			return
		}
		batches, more, lost, err := rd.take()
		switch {
		case lost:
			w.store.cfg.Log.Debug("watcher fell behind the others", zap.String("range", rangeName(w.r)), zap.Int64("from", w.next))
			return
		case err != nil:
			w.over = true
			w.yield(cellstate.Batch{}, err)
			return
		case len(batches) == 0:
			select {
			case <-more:
			case <-ctx.Done():
			}
		}
		for _, b := range batches {
			if w.send(b); w.over || ctx.Err() != nil {
				break
			}
		}
	}
}

func (w *watch) fail(kind, err error) {
	w.over = true
	w.yield(cellstate.Batch{}, opError("watch", rangeName(w.r), kind, err))
}

func (w *watch) send(b cellstate.Batch) {
	w.next = b.Rev + 1
	if !w.yield(b, nil) {
		w.over = true
	}
}

// run follows etcd watches, one after another should they break, until it is over or enough says so, which it asks after
// each answer.
func (w *watch) run(ctx context.Context, enough func() bool) {
	s := w.store
	for wait := s.cfg.RetryMin; !w.over; wait = min(2*wait, s.cfg.RetryMax) {
		came, done := w.once(ctx, enough)
		if done || w.over {
			return
		}
		if came {
			wait = s.cfg.RetryMin
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		case <-s.client.Ctx().Done():
		}
	}
}

// once follows one etcd watch until it breaks. It reports whether anything came of it, and whether that is enough.
func (w *watch) once(ctx context.Context, enough func() bool) (came, done bool) {
	s := w.store
	if err := ctx.Err(); err != nil {
		w.fail(cellstate.ErrUnavailable, err)
		return false, false
	}
	if s.client.Ctx().Err() != nil {
		w.fail(cellstate.ErrUnavailable, errClosed)
		return false, false
	}
	inner, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	key, exact := wire.RangePrefix(s.cfg.Cell, w.r)
	// Without WithFragment etcd never splits a revision over two responses.
	opts := []clientv3.OpOption{clientv3.WithRev(w.next), clientv3.WithProgressNotify(), clientv3.WithCreatedNotify()}
	var quiet <-chan time.Time
	if !exact {
		opts = append(opts, clientv3.WithRange(clientv3.GetPrefixRangeEnd(key)))
		t := time.NewTicker(s.cfg.Progress)
		defer t.Stop()
		quiet = t.C
	}
	responses := s.client.Watch(inner, key, opts...)
	since := false // anything came since the last tick
	for !w.over {
		select {
		case resp, ok := <-responses:
			if !ok || w.broken(&resp) {
				return came, false
			}
			since, came = true, true
			w.take(&resp)
		case <-quiet:
			if !since {
				if err := s.client.RequestProgress(inner); err != nil {
					s.cfg.Log.Debug("progress not asked for", zap.Error(err))
				}
			}
			since = false
		}
		if enough() {
			return came, true
		}
	}
	return came, false
}

// broken deals with a response that ends the etcd watch.
func (w *watch) broken(resp *clientv3.WatchResponse) bool {
	err := resp.Err()
	switch {
	case err == nil:
		return false
	case resp.CompactRevision != 0, errors.Is(err, rpctypes.ErrCompacted):
		w.fail(cellstate.ErrCompacted, err)
	case fateOf(err, false) == fateInvalid:
		w.fail(cellstate.ErrInvalid, err)
	default:
		w.store.cfg.Log.Warn("watch broken, going on where it was", zap.String("range", rangeName(w.r)), zap.Int64("from", w.next),
			zap.Error(err))
	}
	return true
}

// take hands on what a response brings, a batch for each revision.
func (w *watch) take(resp *clientv3.WatchResponse) {
	if resp.Created {
		// Events up to the header's revision may still come, except for a watch of what comes next.
		if w.next == 0 {
			w.send(cellstate.Batch{Rev: resp.Header.Revision})
		}
		return
	}
	if resp.IsProgressNotify() {
		if resp.Header.Revision >= w.next && w.next != 0 {
			w.send(cellstate.Batch{Rev: resp.Header.Revision})
		}
		return
	}
	var b cellstate.Batch
	for _, e := range resp.Events {
		rev := e.Kv.ModRevision
		if rev < w.next {
			continue
		}
		if rev != b.Rev && len(b.Events) > 0 {
			if w.send(b); w.over {
				return
			}
			b.Events = nil
		}
		b.Rev = rev
		if ev, ok := w.event(e); ok {
			b.Events = append(b.Events, ev)
		}
	}
	if len(b.Events) > 0 {
		w.send(b)
	}
}

func (w *watch) event(e *clientv3.Event) (cellstate.Event, bool) {
	var ev cellstate.Event
	if e.Type == mvccpb.Event_DELETE {
		k, err := wire.ParseKey(w.store.cfg.Cell, string(e.Kv.Key))
		ev = cellstate.Event{Record: cellstate.Record{Key: k, Rev: e.Kv.ModRevision}, Deleted: true}
		if err != nil {
			ev.Record.Err, ev.Record.Raw = err, string(e.Kv.Key)
		}
	} else {
		ev.Record = w.store.record(e.Kv)
	}
	return ev, ev.Record.Key == (cellstate.Key{}) || w.r.Contains(ev.Record.Key)
}
