package cellstate

import (
	"context"
	"iter"
	"time"
)

// Store is a cell at rest: the port between everything that decides and the one place where decisions meet. Its methods may
// be called from many goroutines. Every error they return is, or wraps, one of the four kinds.
type Store interface {
	// Commit carries out a scheduling transaction by the rule of [Commit]. A conflict is not an error. After ErrUnknown
	// the same transaction may be sent again; it will not be carried out twice.
	Commit(ctx context.Context, t *Txn) (Verdict, error)

	// Swap writes records if all guards hold, all or none. A guard that does not hold is not an error: the result brings
	// what stands at the guarded keys now.
	Swap(ctx context.Context, s Swap) (Swapped, error)

	// List returns the records of a range, by key, all as of one revision: the latest, where rev is 0. ErrCompacted if that
	// is too old.
	List(ctx context.Context, r Range, rev int64) (Listing, error)

	// Watch yields every change in a range from revision `from` on, in order, without gaps, all changes of a revision
	// in one batch. While nothing changes it says so, in empty batches, so that the watcher knows how old its news is. It
	// ends after the first error: ErrCompacted where `from` is too old, or ctx's.
	Watch(ctx context.Context, r Range, from int64) iter.Seq2[Batch, error]

	// Lease makes a lease and keeps it alive until it is closed or cannot be kept.
	Lease(ctx context.Context, ttl time.Duration) (Lease, error)
}

// Listing is what List returns.
type Listing struct {
	Rev     int64 // the revision it shows
	Records []Record
}

// Batch is all that one revision changed in a watched range. An empty one says that nothing changed up to Rev, which may be
// that of the batch before it.
type Batch struct {
	Rev    int64
	Events []Event // at most one for each key
}

// Event is one change of one key. Where Deleted is set only Record.Key and Record.Rev are.
type Event struct {
	Record  Record
	Deleted bool
}

// Guard is a condition on one key. The zero Rev means that the key must not be there.
type Guard struct {
	Key Key
	Rev int64
}

// Swap is a set of guarded writes.
type Swap struct {
	Guards []Guard
	// Unchanged bounds what may have happened in whole ranges: no key of it may be written after Rev. (A deletion is
	// not seen.)
	Unchanged []RangeGuard
	Put       []Put
	Delete    []Key
}

// RangeGuard is a condition on a range: no key now in it was written after Rev.
type RangeGuard struct {
	Range Range
	Rev   int64
}

// Put writes one value, under a lease or for good.
type Put struct {
	Value Value
	Lease int64 // 0: none
}

// Swapped is the answer to a Swap.
type Swapped struct {
	OK  bool
	Rev int64
	// Now holds, where OK is false, the records that stand at the guarded keys, in the order of Guards. A key that is not
	// there has the zero Rev.
	Now []Record
}

// Lease is kept alive in the background.
type Lease interface {
	ID() int64
	// Done is closed when the lease has run out or was closed.
	Done() <-chan struct{}
	// Close gives the lease up: the store deletes what stands under it.
	Close(ctx context.Context) error
}

// Get returns one record; its Rev is 0 where the key is not there.
func Get(ctx context.Context, s Store, k Key) (Record, error) {
	l, err := s.List(ctx, k.Only(), 0)
	if err != nil || len(l.Records) == 0 {
		return Record{Key: k}, err
	}
	return l.Records[0], nil
}
