package etcdstore

import (
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.uber.org/zap"

	"github.com/omegacell/omegacell/cellstate"
)

// errClosed is why a call ends that is under way when the etcd client is closed.
var errClosed = errors.New("the etcd client is closed")

// wakeSender sees to it that what is queued is sent, by at most InFlight goroutines. Call it with the mutex held.
func (s *Store) wakeSender() {
	if len(s.queue) > 0 && s.running < s.cfg.InFlight {
		s.running++
		go s.sendAll()
	}
}

// sendAll sends what is queued, one etcd Txn after the other, until nothing is left that it could send. Whatever is queued
// while a Txn is under way goes into the next one together: so load makes the batches, and no timer.
func (s *Store) sendAll() {
	var wait time.Duration
	for {
		s.mu.Lock()
		piles := s.take()
		if len(piles) == 0 {
			// What is still queued waits for a machine in a Txn under way. Whoever sent that one goes on with it.
			s.running--
			s.mu.Unlock()
			return
		}
		s.wakeSender()
		s.mu.Unlock()

		if s.carry(piles) {
			wait = 0
			continue
		}
		wait = min(max(2*wait, s.cfg.RetryMin), s.cfg.RetryMax)
		select {
		case <-time.After(wait/2 + rand.N(wait/2+1)):
		case <-s.client.Ctx().Done():
			s.failQueue()
		}
	}
}

// take takes as many pieces from the queue, from its front on, as fit into one etcd Txn. Those on the same machine are piled
// up. It passes over those that touch a machine in another etcd Txn, or in this one and cannot be piled up, and over any later
// ones on the same machines, so that none is overtaken for ever.
func (s *Store) take() []*pile {
	var taken []*pile
	var passed map[string]bool
	here := make(map[string]*pile)
	fences := make(map[cellstate.Fence]bool)
	deepest, bytes := 0, requestBytes
	// free reports whether p may go with this Txn, and in which pile if in one that is there.
	free := func(p *piece) (*pile, bool) {
		for _, m := range p.part.Machines {
			if passed[m] {
				return nil, false
			}
			if s.busy[m] {
				pl := here[m]
				return pl, pl != nil && pl.takes(p)
			}
		}
		return nil, true
	}
	keep := s.queue[:0]
	for i, p := range s.queue {
		if p.call.over {
			continue
		}
		pl, ok := free(p)
		if !ok {
			if passed == nil {
				passed = make(map[string]bool)
			}
			for _, m := range p.part.Machines {
				passed[m] = true
			}
			keep = append(keep, p)
			continue
		}
		f := p.call.txn.Fence
		more, depth := 0, len(p.part.Machines)
		if f != nil && !fences[*f] {
			more = 1
		}
		if pl != nil {
			depth += len(fences) + more // each fence of a pile may be a condition of its own
		} else {
			pl = &pile{}
		}
		ops := len(taken) + 1 + len(fences) + more + max(deepest, depth)
		if len(taken) > 0 && (ops > s.ops.fill() || bytes+p.size > s.bytes.fill()) {
			keep = append(keep, s.queue[i:]...)
			break
		}
		if more == 1 {
			fences[*f] = true
		}
		deepest, bytes = max(deepest, depth), bytes+p.size
		if len(pl.pieces) == 0 {
			taken = append(taken, pl)
			for _, m := range p.part.Machines {
				s.busy[m], here[m] = true, pl
			}
		}
		pl.pieces = append(pl.pieces, p)
		p.call.flying++
	}
	clear(s.queue[len(keep):])
	s.queue = keep
	return taken
}

// carry sends piles as one etcd Txn and deals with the answer. It reports whether etcd gave one.
func (s *Store) carry(piles []*pile) bool {
	var all []*piece
	var open []*pile
	failed := make(map[*piece]error)
	for _, pl := range piles {
		all = append(all, pl.pieces...)
		if pl.ready(failed); len(pl.pieces) > 0 {
			open = append(open, pl)
		}
	}
	if len(open) == 0 {
		s.settle(all, failed)
		return true
	}
	b := newBatch(open)
	s.count(b)
	for _, pl := range open {
		s.known.draft(pl.ledgers, pl.values)
	}
	if len(open) > 1 && s.calm(len(open)) {
		if req := b.flat(s, s.mostOps()); req != nil {
			resp, sent, err := s.send(s.client.Ctx(), req)
			if err != nil {
				return s.carryFailed(all, b, failed, req, fateOf(err, sent), err)
			}
			if resp.Succeeded {
				b.done(resp.Header.Revision)
				s.accepted(req, b)
				s.settle(all, failed)
				return true
			}
			s.metrics.txns.Inc() // for the next
		}
	}
	req := b.nested(s)
	resp, sent, err := s.send(s.client.Ctx(), req)
	if err != nil {
		return s.carryFailed(all, b, failed, req, fateOf(err, sent), err)
	}
	b.absorb(resp, failed)
	s.accepted(req, b)
	s.settle(all, failed)
	return true
}

// calm reports whether guards have failed so rarely that all of so many piles will probably hold: in fewer than one of ten
// Txns. (To send a Txn that fails whole costs about as much as sending four flat instead of nested saves.)
func (s *Store) calm(piles int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.guarded >= calmAfter && 10*piles*s.lost <= s.guarded
}

const (
	calmAfter  = 256  // piles answered before anything is said about their guards
	calmMemory = 8192 // piles answered until half of them is forgotten
)

func (s *Store) mostOps() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ops.fill()
}

// carryFailed deals with an error of an etcd Txn.
func (s *Store) carryFailed(all []*piece, b *batch, failed map[*piece]error, req *pb.TxnRequest, f fate, err error) bool {
	open := b.pieces()
	switch f {
	case fateOps, fateBytes:
		s.refused(f, req, b)
		s.mu.Lock()
		for _, pl := range b.piles {
			pl.part()
		}
		for _, p := range open {
			if refusal := p.check(&s.ops, &s.bytes); refusal != nil {
				failed[p] = refusal
			} else if len(open) == 1 { // cannot be split, whatever our count of it says
				failed[p] = opError("commit", p.call.txn.ID, cellstate.ErrInvalid, err)
			}
		}
		s.mu.Unlock()
		s.settle(all, failed)
		return true
	case fateInvalid, fateCompacted:
		for _, p := range open {
			failed[p] = opError("commit", p.call.txn.ID, cellstate.ErrInvalid, err)
		}
		s.settle(all, failed)
		return true
	case fateUnknown:
		s.cfg.Log.Warn("outcome of an etcd transaction unknown, asking again", zap.Int("parts", len(open)), zap.Error(err))
		for _, pl := range b.piles {
			pl.doubt()
		}
		s.mu.Lock()
		for _, p := range open {
			if !p.fetch && len(p.decision.Ledgers) > 0 {
				p.unsettled, p.call.touched = true, true
			}
		}
		s.mu.Unlock()
	default:
		here := make(map[*call]int)
		for _, p := range all {
			here[p.call]++
		}
		s.mu.Lock()
		for _, p := range open {
			if !p.call.touched && p.call.flying == here[p.call] {
				failed[p] = opError("commit", p.call.txn.ID, cellstate.ErrUnavailable, err)
			}
		}
		s.mu.Unlock()
	}
	s.settle(all, failed)
	return false
}

// settle gives pieces back: the decided ones to their calls, the others to the front of the queue.
func (s *Store) settle(pieces []*piece, failed map[*piece]error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var again []*piece
	for _, p := range pieces {
		p.call.flying--
		for _, m := range p.part.Machines {
			delete(s.busy, m)
		}
		switch {
		case failed[p] != nil:
			s.end(p.call, failed[p])
		case p.decided:
			if p.resent > 0 {
				s.metrics.resent.Add(float64(p.resent))
			}
			if p.unsettled {
				s.metrics.settled.WithLabelValues(outcome(p)).Inc()
			}
			p.call.touched = p.call.touched || len(p.decision.Ledgers) > 0
			if p.call.left--; p.call.left == 0 {
				s.end(p.call, nil)
			}
		default:
			again = append(again, p)
		}
	}
	if len(again) > 0 {
		s.queue = append(again, s.queue...)
	}
}

func outcome(p *piece) string {
	if len(p.decision.Committed) > 0 {
		return "committed"
	}
	return "refused"
}

// failQueue ends every call when there is no client any more.
func (s *Store) failQueue() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.queue {
		kind := cellstate.ErrUnavailable
		if p.call.touched || p.call.flying > 0 {
			kind = cellstate.ErrUnknown
		}
		s.end(p.call, opError("commit", p.call.txn.ID, kind, errClosed))
	}
}

// accepted learns from an answer how much etcd takes, and how often guards fail.
func (s *Store) accepted(req *pb.TxnRequest, b *batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ops.took(txnOps(req))
	s.bytes.took(b.bytes())
	s.guarded += len(b.piles)
	s.lost += b.lost
	if s.guarded > calmMemory {
		s.guarded, s.lost = s.guarded/2, s.lost/2
	}
}

// refused learns from a refusal how much etcd takes.
func (s *Store) refused(f fate, req *pb.TxnRequest, b *batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, n := &s.ops, txnOps(req)
	if f == fateBytes {
		l, n = &s.bytes, b.bytes()
	}
	l.refuse(n)
	s.cfg.Log.Info("etcd takes less in one transaction than assumed", zap.String("limit", l.name), zap.Int("refused", n),
		zap.Int("now", l.fill()))
}

func (s *Store) count(b *batch) {
	pieces := b.pieces()
	s.metrics.txns.Inc()
	s.metrics.parts.Observe(float64(len(pieces)))
	first := pieces[0].call
	if !slices.ContainsFunc(pieces, func(p *piece) bool { return p.call != first }) {
		return
	}
	calls := make(map[*call]bool)
	for _, p := range pieces {
		calls[p.call] = true
	}
	s.metrics.coalesced.Add(float64(len(calls)))
}
