package etcdstore

import (
	"context"
	"time"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/wire"
)

// call is one Commit under way. All but txn, pieces and done is guarded by the store's mutex.
type call struct {
	txn    *cellstate.Txn
	pieces []*piece
	done   chan struct{} // closed when over

	left    int  // pieces not decided yet
	flying  int  // pieces in an etcd Txn under way
	touched bool // something of it was carried out, or may have been
	over    bool // decided, failed or abandoned: what is left in the queue is dropped
	err     error
}

// Commit implements [cellstate.Store]. A transaction larger than one etcd Txn goes in several, part by part; then an error may
// come after some of its parts were carried out, and is ErrUnknown, or ErrInvalid where it was a part of it that etcd refused.
func (s *Store) Commit(ctx context.Context, t *cellstate.Txn) (cellstate.Verdict, error) {
	start := time.Now()
	v, err := s.commit(ctx, t)
	s.metrics.answered(t.Mode, v, err, time.Since(start).Seconds())
	return v, err
}

func (s *Store) commit(ctx context.Context, t *cellstate.Txn) (cellstate.Verdict, error) {
	if err := t.Check(); err != nil {
		return cellstate.Verdict{}, err
	}
	if err := ctx.Err(); err != nil {
		return cellstate.Verdict{}, opError("commit", t.ID, cellstate.ErrUnavailable, err)
	}
	c, err := s.newCall(t)
	if err != nil {
		return cellstate.Verdict{}, err
	}
	if len(c.pieces) == 0 {
		return cellstate.Verdict{Rev: t.BasisRev}, nil
	}
	if err := s.enqueue(c); err != nil {
		return cellstate.Verdict{}, err
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		s.abandon(c, ctx.Err())
	}
	if c.err != nil {
		return cellstate.Verdict{}, c.err
	}
	var v cellstate.Verdict
	for _, p := range c.pieces {
		v.Rev = max(v.Rev, p.rev)
		v.Committed = append(v.Committed, p.decision.Committed...)
		v.Conflicts = append(v.Conflicts, p.decision.Conflicts...)
		v.Resent += p.resent
	}
	return v, nil
}

// newCall splits a transaction and decides each part on the basis.
func (s *Store) newCall(t *cellstate.Txn) (*call, error) {
	c := &call{txn: t, done: make(chan struct{})}
	if t.Fence != nil {
		if err := wire.CheckKey(t.Fence.Key); err != nil {
			return nil, err
		}
	}
	for _, part := range t.Parts() {
		p := &piece{store: s, call: c, part: part, keys: make([][]byte, len(part.Machines))}
		for i, m := range part.Machines {
			k := cellstate.LedgerKey(m)
			if err := wire.CheckKey(k); err != nil {
				return nil, err
			}
			p.keys[i] = s.key(k)
		}
		if err := p.prepare(); err != nil {
			return nil, err
		}
		c.pieces = append(c.pieces, p)
	}
	c.left = len(c.pieces)
	return c, nil
}

// enqueue queues a call's pieces, unless one of them can never be sent.
func (s *Store) enqueue(c *call) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range c.pieces {
		if err := p.check(&s.ops, &s.bytes); err != nil {
			return err
		}
	}
	s.queue = append(s.queue, c.pieces...)
	s.wakeSender()
	return nil
}

// abandon gives a call up whose caller waits no longer, unless it is over already.
func (s *Store) abandon(c *call, why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.over {
		return
	}
	kind := cellstate.ErrUnavailable
	if c.touched || c.flying > 0 {
		kind = cellstate.ErrUnknown
	}
	s.end(c, opError("commit", c.txn.ID, kind, why))
}

// end notes that a call is over. Call it with the mutex held.
func (s *Store) end(c *call, err error) {
	if c.over {
		return
	}
	c.over, c.err = true, err
	close(c.done)
}
