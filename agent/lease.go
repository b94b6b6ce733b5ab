package agent

import (
	"context"
	"sync"
	"time"

	"github.com/omegacell/omegacell/cellstate"
)

// SharedLease lets the agents of one process hold their sessions under one lease: its Lease is a [MakeLease]. They lose it
// together, as they would with the process, and then register a few at a time: thousands of requests at once would hold each
// other up until they all time out.
type SharedLease struct {
	store cellstate.Store
	turns chan struct{} // one in it for each agent that registers

	mu    sync.Mutex
	lease cellstate.Lease // nil: none
	users int
}

// NewSharedLease returns one that holds no lease yet.
func NewSharedLease(store cellstate.Store) *SharedLease {
	return &SharedLease{store: store, turns: make(chan struct{}, registering)}
}

// registering bounds how many agents of one process register at the same time.
const registering = 256

// Lease returns a share of the lease, which the first caller makes, when it is the caller's turn to register. The lease is
// given up when all shares were.
func (s *SharedLease) Lease(ctx context.Context, ttl time.Duration) (_ cellstate.Lease, err error) {
	select {
	case s.turns <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() {
		if err != nil {
			<-s.turns
		}
	}()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lease != nil {
		select {
		case <-s.lease.Done():
			s.lease, s.users = nil, 0
		default:
		}
	}
	if s.lease == nil {
		l, err := s.store.Lease(ctx, ttl)
		if err != nil {
			return nil, err
		}
		s.lease = l
	}
	s.users++
	return &share{Lease: s.lease, of: s}, nil
}

// share is one agent's use of the lease.
type share struct {
	cellstate.Lease
	of   *SharedLease
	once sync.Once
	turn sync.Once
}

// registered lets another agent register.
func (h *share) registered() { h.turn.Do(func() { <-h.of.turns }) }

// sharers counts the agents that hold the lease.
func (h *share) sharers() int {
	h.of.mu.Lock()
	defer h.of.mu.Unlock()
	return h.of.users
}

func (h *share) Close(ctx context.Context) error {
	h.registered()
	last := false
	h.once.Do(func() {
		h.of.mu.Lock()
		defer h.of.mu.Unlock()
		if h.of.lease == h.Lease {
			if h.of.users--; h.of.users == 0 {
				h.of.lease, last = nil, true
			}
		}
	})
	if last {
		return h.Lease.Close(ctx)
	}
	return nil
}
