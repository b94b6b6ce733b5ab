package memstore

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/omegacell/omegacell/cellstate"
)

// Watch implements [cellstate.Store]. From 0 means from the next revision on: the first batch is then empty and says which
// revision is the latest. One that is quiet for Config.Progress says so in an empty batch, and again each time.
func (s *Store) Watch(ctx context.Context, r cellstate.Range, from int64) iter.Seq2[cellstate.Batch, error] {
	on := cellstate.Key(r).String()
	return func(yield func(cellstate.Batch, error) bool) {
		next := from
		if from == 0 {
			if err := s.enter(ctx, "watch", on); err != nil {
				yield(cellstate.Batch{}, err)
				return
			}
			now := s.cell.rev
			s.cell.mu.Unlock()
			next = now + 1
			if !yield(cellstate.Batch{Rev: now}, nil) {
				return
			}
		}
		quiet := time.NewTimer(s.cell.progress)
		defer quiet.Stop()
		for {
			news, upTo, wake, err := s.since(ctx, r, next)
			if err != nil {
				yield(cellstate.Batch{}, err)
				return
			}
			for _, b := range news {
				if !yield(b, nil) {
					return
				}
			}
			next = max(next, upTo+1)
			quiet.Reset(s.cell.progress)
			select {
			case <-wake:
			case <-quiet.C:
				if upTo+1 == next && !yield(cellstate.Batch{Rev: upTo}, nil) {
					return
				}
			case <-ctx.Done():
				yield(cellstate.Batch{}, &cellstate.OpError{Op: "watch", On: on,
					Err: fmt.Errorf("%w: %w", cellstate.ErrUnavailable, ctx.Err())})
				return
			}
		}
	}
}

// since returns what changed in the range from revision `from` to upTo, the latest, and what tells of more.
func (s *Store) since(ctx context.Context, r cellstate.Range, from int64) (
	news []cellstate.Batch, upTo int64, wake <-chan struct{}, err error) {
	on := cellstate.Key(r).String()
	if err := s.enter(ctx, "watch", on); err != nil {
		return nil, 0, nil, err
	}
	c := s.cell
	defer c.mu.Unlock()
	if from < c.compacted {
		return nil, 0, nil, &cellstate.OpError{Op: "watch", On: on,
			Err: fmt.Errorf("revision %d is before %d: %w", from, c.compacted, cellstate.ErrCompacted)}
	}
	for i := max(from-c.logFrom, 0); i < int64(len(c.log)); i++ {
		if b := within(c.log[i], r); len(b.Events) > 0 {
			news = append(news, b)
		}
	}
	return news, c.rev, c.wake, nil
}

// within returns the part of a batch that lies in a range.
func within(b cellstate.Batch, r cellstate.Range) cellstate.Batch {
	if r == (cellstate.Range{}) {
		return b
	}
	out := cellstate.Batch{Rev: b.Rev}
	for _, e := range b.Events {
		if r.Contains(e.Record.Key) {
			out.Events = append(out.Events, e)
		}
	}
	return out
}
