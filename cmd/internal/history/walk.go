package history

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/wire"
)

// Revision is what one revision of etcd did to a cell.
type Revision struct {
	Rev     int64
	Base    bool    // Entries are all that stood there at Rev: where the walk begins
	Head    bool    // no change: everything up to Rev has been told, and Rev was the newest when the walk began or is newer
	Entries []Entry // by key where Base, else in the order of the transaction
}

// Entry is one key as a revision left it.
type Entry struct {
	cellstate.Record // Raw is always set; Key is zero where Raw is no key of a cell
	Deleted          bool
	Bytes            []byte // as they stand there
}

// pageSize is the number of keys read in one request.
const pageSize = 2000

// Walk yields the history of a cell: first all that stands there at revision from, then every revision after it that changed
// anything, in order; and a Head each time it has caught up. It goes on following the cell until the caller breaks off. A
// from of 0 means the oldest revision still retained.
//
// It ends after the first error, which wraps cellstate.ErrCompacted where from is not retained any more or the history is
// compacted faster than it is read.
func Walk(ctx context.Context, client *clientv3.Client, cell string, from int64) iter.Seq2[Revision, error] {
	return func(yield func(Revision, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		base, head, err := base(ctx, client, cell, from)
		if err != nil {
			yield(Revision{}, failed("read the history of cell", cell, err))
			return
		}
		if yield(base, nil) {
			if err := follow(ctx, client, cell, base.Rev, head, func(r Revision) bool { return yield(r, nil) }); err != nil {
				yield(Revision{}, failed("follow cell", cell, err))
			}
		}
	}
}

// base reads the cell at one revision, and returns the newest revision of etcd beside it.
func base(ctx context.Context, client *clientv3.Client, cell string, from int64) (Revision, int64, error) {
	const tries = 3 // compaction may overtake a walk that begins at the oldest revision
	for n := 1; ; n++ {
		at := from
		if from == 0 {
			var err error
			if at, err = Oldest(ctx, client); err != nil {
				return Revision{}, 0, err
			}
		}
		r, head, err := list(ctx, client, cell, at)
		if from != 0 || n == tries || !errors.Is(err, rpctypes.ErrCompacted) {
			return r, head, err
		}
	}
}

func list(ctx context.Context, client *clientv3.Client, cell string, at int64) (Revision, int64, error) {
	prefix := wire.Prefix(cell)
	key, end := prefix, clientv3.GetPrefixRangeEnd(prefix)
	out := Revision{Rev: at, Base: true}
	for {
		resp, err := client.Get(ctx, key, clientv3.WithRange(end), clientv3.WithRev(at), clientv3.WithLimit(pageSize))
		if err != nil {
			return Revision{}, 0, err
		}
		for _, kv := range resp.Kvs {
			out.Entries = append(out.Entries, Decode(cell, kv, false))
		}
		if !resp.More {
			return out, resp.Header.Revision, nil
		}
		key = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}

// Oldest returns the oldest revision that etcd still retains.
func Oldest(ctx context.Context, client *clientv3.Client) (int64, error) {
	_, err := client.Get(ctx, "/", clientv3.WithRev(1), clientv3.WithCountOnly())
	if err == nil {
		return 1, nil
	}
	if !errors.Is(err, rpctypes.ErrCompacted) {
		return 0, err
	}
	// A watch from too old a revision is refused with the revision that is retained.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for resp := range client.Watch(ctx, "/", clientv3.WithRev(1)) {
		if resp.CompactRevision != 0 {
			return resp.CompactRevision, nil
		}
		if err := resp.Err(); err != nil {
			return 0, err
		}
	}
	return 0, ctx.Err()
}

// At returns all that stands in a cell at a revision that is retained.
func At(ctx context.Context, client *clientv3.Client, cell string, rev int64) (Revision, error) {
	r, _, err := list(ctx, client, cell, rev)
	if err != nil {
		return Revision{}, failed("read cell", cell, err)
	}
	return r, nil
}

// follow yields the revisions after base.
func follow(ctx context.Context, client *clientv3.Client, cell string, base, head int64, yield func(Revision) bool) error {
	// A watcher of its own, so that other watches of the client do not hold up the answers about progress.
	watcher := clientv3.NewWatcher(client)
	defer func() { _ = watcher.Close() }() // it has only read
	// From base, not base+1: etcd tells a watcher that waits for a revision to come nothing about progress.
	changes := watcher.Watch(ctx, wire.Prefix(cell), clientv3.WithPrefix(), clientv3.WithRev(base))
	wait := 10 * time.Millisecond // until progress is asked for again; doubles, as most walks end at the first head
	tick := time.NewTimer(0)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			if err := watcher.RequestProgress(ctx); err != nil {
				return err
			}
			wait = min(2*wait, time.Second)
			tick.Reset(wait)
		case resp, ok := <-changes:
			if !ok {
				return ctx.Err()
			}
			if err := resp.Err(); err != nil {
				return err
			}
			for _, r := range revisions(cell, resp.Events) {
				if r.Rev > base && !yield(r) {
					return nil
				}
			}
			if resp.IsProgressNotify() && resp.Header.Revision >= head {
				if !yield(Revision{Rev: resp.Header.Revision, Head: true}) {
					return nil
				}
			}
		}
	}
}

// revisions splits events by the revision that made them. Etcd sends all of a revision in one response.
func revisions(cell string, events []*clientv3.Event) []Revision {
	var out []Revision
	for _, e := range events {
		if n := len(out); n == 0 || out[n-1].Rev != e.Kv.ModRevision {
			out = append(out, Revision{Rev: e.Kv.ModRevision})
		}
		r := &out[len(out)-1]
		r.Entries = append(r.Entries, Decode(cell, e.Kv, e.Type == clientv3.EventTypeDelete))
	}
	return out
}

// Decode reads one key of a cell. What cannot be read is in Err.
func Decode(cell string, kv *mvccpb.KeyValue, deleted bool) Entry {
	e := Entry{Deleted: deleted, Bytes: kv.Value}
	e.Raw, e.Rev, e.CreateRev, e.Lease = string(kv.Key), kv.ModRevision, kv.CreateRevision, kv.Lease
	if e.Key, e.Err = wire.ParseKey(cell, e.Raw); e.Err == nil && !deleted {
		e.Value, e.Err = wire.Unmarshal(e.Key, kv.Value, kv.ModRevision)
	}
	return e
}

// failed says what could not be done, in one of the four kinds of error.
func failed(op, on string, err error) error {
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s %s: %w", op, on, err)
	case errors.Is(err, rpctypes.ErrCompacted):
		return &cellstate.OpError{Op: op, On: on, Err: fmt.Errorf("%w: %w", cellstate.ErrCompacted, err)}
	case errors.Is(err, rpctypes.ErrFutureRev):
		return &cellstate.OpError{Op: op, On: on, Err: fmt.Errorf("%w: %w", cellstate.ErrInvalid, err)}
	}
	return &cellstate.OpError{Op: op, On: on, Err: fmt.Errorf("%w: %w", cellstate.ErrUnavailable, err)}
}
