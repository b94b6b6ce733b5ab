package agent

import (
	"context"
	"errors"
	"iter"
	"sync"

	"go.uber.org/zap"

	"github.com/omegacell/omegacell/cellstate"
)

// SharedLedgers lets the agents of one process follow their ledgers through one watch of all of them. Its Watch is a
// [WatchLedger]; Run has to run.
type SharedLedgers struct {
	store cellstate.Store
	log   *zap.Logger

	mu      sync.Mutex
	latest  map[string]cellstate.Event // by machine
	waiting map[string]map[chan struct{}]bool
}

// NewSharedLedgers returns one that has seen nothing yet. A nil logger means none.
func NewSharedLedgers(store cellstate.Store, log *zap.Logger) *SharedLedgers {
	if log == nil {
		log = zap.NewNop()
	}
	return &SharedLedgers{store: store, log: log, latest: make(map[string]cellstate.Event), waiting: make(map[string]map[chan struct{}]bool)}
}

// Run follows the ledgers until ctx ends.
func (s *SharedLedgers) Run(ctx context.Context) {
	ledgers := cellstate.Range{Kind: cellstate.KindLedger}
	wait := newBackoff("ledgers")
	for ctx.Err() == nil {
		l, err := s.store.List(ctx, ledgers, 0)
		if err == nil {
			s.list(l)
			wait.reset()
			err = s.follow(ctx, ledgers, l.Rev+1)
		}
		if ctx.Err() == nil && !errors.Is(err, cellstate.ErrCompacted) {
			s.log.Warn("ledgers out of reach", zap.Error(err))
			wait.sleep(ctx)
		}
	}
}

func (s *SharedLedgers) follow(ctx context.Context, r cellstate.Range, from int64) error {
	for b, err := range s.store.Watch(ctx, r, from) {
		if err != nil {
			return err
		}
		s.mu.Lock()
		for _, e := range b.Events {
			s.set(e)
		}
		s.mu.Unlock()
	}
	return ctx.Err()
}

// list takes in a listing; what it does not name any more is deleted.
func (s *SharedLedgers) list(l cellstate.Listing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	there := make(map[string]bool, len(l.Records))
	for _, r := range l.Records {
		there[r.Key.Name] = true
		if s.latest[r.Key.Name].Record.Rev != r.Rev {
			s.set(cellstate.Event{Record: r})
		}
	}
	for m, e := range s.latest {
		if !there[m] && !e.Deleted {
			s.set(cellstate.Event{Record: cellstate.Record{Key: e.Record.Key, Rev: l.Rev}, Deleted: true})
		}
	}
}

func (s *SharedLedgers) set(e cellstate.Event) {
	s.latest[e.Record.Key.Name] = e
	for ch := range s.waiting[e.Record.Key.Name] {
		select {
		case ch <- struct{}{}:
		default: // it is awake already
		}
	}
}

// Watch yields the newest change of one machine's ledger at or after `from`, then each newer one that it is in time to see.
// It ends only with ctx.
func (s *SharedLedgers) Watch(ctx context.Context, machine string, from int64) iter.Seq2[cellstate.Batch, error] {
	return func(yield func(cellstate.Batch, error) bool) {
		ch := make(chan struct{}, 1)
		s.mu.Lock()
		if s.waiting[machine] == nil {
			s.waiting[machine] = make(map[chan struct{}]bool)
		}
		s.waiting[machine][ch] = true
		s.mu.Unlock()
		defer func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.waiting[machine], ch)
		}()
		for {
			s.mu.Lock()
			e, ok := s.latest[machine]
			s.mu.Unlock()
			if ok && e.Record.Rev >= from {
				from = e.Record.Rev + 1
				if !yield(cellstate.Batch{Rev: e.Record.Rev, Events: []cellstate.Event{e}}, nil) {
					return
				}
				continue
			}
			select {
			case <-ch:
			case <-ctx.Done():
				yield(cellstate.Batch{}, ctx.Err())
				return
			}
		}
	}
}
