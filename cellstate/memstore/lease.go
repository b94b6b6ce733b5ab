package memstore

import (
	"context"
	"fmt"
	"time"

	"github.com/omegacell/omegacell/cellstate"
)

// lease is kept for as long as its client is not cut off. Everything but id, ttl and done is guarded by the cell's mutex.
type lease struct {
	client *Store
	id     int64
	ttl    time.Duration
	keys   map[cellstate.Key]bool // what stands under it
	timer  *time.Timer            // nil while it is kept
	done   chan struct{}
	ended  bool
}

// Lease implements [cellstate.Store].
func (s *Store) Lease(ctx context.Context, ttl time.Duration) (cellstate.Lease, error) {
	if ttl <= 0 {
		return nil, &cellstate.OpError{Op: "lease", On: ttl.String(), Err: fmt.Errorf("its time is not positive: %w", cellstate.ErrInvalid)}
	}
	if err := s.enter(ctx, "lease", ttl.String()); err != nil {
		return nil, err
	}
	c := s.cell
	defer c.mu.Unlock()
	c.lastLease++
	l := &lease{client: s, id: c.lastLease, ttl: ttl, keys: make(map[cellstate.Key]bool), done: make(chan struct{})}
	c.leases[l.id] = l
	s.leases[l.id] = l
	return l, nil
}

// ExpireLease lets a lease run out at once, as if its client had been cut off for its whole time.
func (s *Store) ExpireLease(id int64) {
	s.cell.mu.Lock()
	defer s.cell.mu.Unlock()
	if l := s.cell.leases[id]; l != nil {
		l.end()
	}
}

func (l *lease) ID() int64             { return l.id }
func (l *lease) Done() <-chan struct{} { return l.done }

// Close gives the lease up. Closing one that has run out is no error.
func (l *lease) Close(ctx context.Context) error {
	select {
	case <-l.done:
		return nil
	default:
	}
	if err := l.client.enter(ctx, "close lease", fmt.Sprintf("%x", l.id)); err != nil {
		return err
	}
	defer l.client.cell.mu.Unlock()
	l.end()
	return nil
}

// runOut starts the lease's time; keep stops it.
func (l *lease) runOut() {
	if l.timer != nil {
		return
	}
	var t *time.Timer
	t = time.AfterFunc(l.ttl, func() {
		l.client.cell.mu.Lock()
		defer l.client.cell.mu.Unlock()
		if l.timer == t {
			l.end()
		}
	})
	l.timer = t
}

func (l *lease) keep() {
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
}

// end deletes what stands under the lease, as one revision.
func (l *lease) end() {
	if l.ended {
		return
	}
	l.ended = true
	l.keep()
	c := l.client.cell
	var w []write
	for k := range l.keys {
		w = append(w, write{key: k, deleted: true})
	}
	delete(c.leases, l.id)
	delete(l.client.leases, l.id)
	c.apply(w)
	close(l.done)
}
