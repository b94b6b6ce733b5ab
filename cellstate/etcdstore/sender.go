package etcdstore

import (
	"errors"
	"math/rand/v2"
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
		pieces := s.take()
		if len(pieces) == 0 {
			// What is still queued waits for a machine in a Txn under way. Whoever sent that one goes on with it.
			s.running--
			s.mu.Unlock()
			return
		}
		s.wakeSender()
		s.mu.Unlock()

		if s.carry(pieces) {
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

// take takes as many pieces from the queue, from its front on, as fit into one etcd Txn. It passes over those that touch a
// machine in another one, and over any later ones on the same machines, so that none is overtaken for ever.
func (s *Store) take() []*piece {
	var taken []*piece
	var passed map[string]bool
	fences := make(map[cellstate.Fence]bool)
	deepest, bytes := 0, requestBytes
	free := func(p *piece) bool {
		for _, m := range p.part.Machines {
			if s.busy[m] || passed[m] {
				return false
			}
		}
		return true
	}
	keep := s.queue[:0]
	for i, p := range s.queue {
		if p.call.over {
			continue
		}
		if !free(p) {
			if passed == nil {
				passed = make(map[string]bool)
			}
			for _, m := range p.part.Machines {
				passed[m] = true
			}
			keep = append(keep, p)
			continue
		}
		more := 0
		if f := p.call.txn.Fence; f != nil && !fences[*f] {
			more = 1
		}
		ops := len(taken) + 1 + len(fences) + more + max(deepest, p.ops())
		if len(taken) > 0 && (ops > s.ops.fill() || bytes+p.size > s.bytes.fill()) {
			keep = append(keep, s.queue[i:]...)
			break
		}
		if more == 1 {
			fences[*p.call.txn.Fence] = true
		}
		deepest, bytes = max(deepest, p.ops()), bytes+p.size
		taken = append(taken, p)
		for _, m := range p.part.Machines {
			s.busy[m] = true
		}
		p.call.flying++
	}
	clear(s.queue[len(keep):])
	s.queue = keep
	return taken
}

// carry sends pieces as one etcd Txn and deals with the answer. It reports whether etcd gave one.
func (s *Store) carry(pieces []*piece) bool {
	failed := make(map[*piece]error)
	var open []*piece
	for _, p := range pieces {
		if p.stale {
			if err := p.prepare(); err != nil {
				failed[p] = err
			}
		}
		if !p.decided && failed[p] == nil {
			open = append(open, p)
		}
	}
	if len(open) == 0 {
		s.settle(pieces, failed, nil, 0)
		return true
	}
	b := newBatch(open)
	req := b.request(s)
	resp, sent, err := s.send(s.client.Ctx(), req)
	s.count(b)
	if err == nil {
		for p, err := range b.absorb(resp) {
			failed[p] = err
		}
		s.accepted(req, b)
		found := make(map[string]ledgerAt, len(open))
		for _, p := range open {
			p.tell(found, b.rev)
		}
		s.settle(pieces, failed, found, b.rev)
		return true
	}
	return s.carryFailed(pieces, open, failed, req, fateOf(err, sent), err)
}

// carryFailed deals with an error of an etcd Txn.
func (s *Store) carryFailed(pieces, open []*piece, failed map[*piece]error, req *pb.TxnRequest, f fate, err error) bool {
	switch f {
	case fateOps, fateBytes:
		s.refused(f, req, open)
		s.mu.Lock()
		for _, p := range open {
			if refusal := p.check(&s.ops, &s.bytes); refusal != nil {
				failed[p] = refusal
			} else if len(open) == 1 { // cannot be split, whatever our count of it says
				failed[p] = opError("commit", p.call.txn.ID, cellstate.ErrInvalid, err)
			}
		}
		s.mu.Unlock()
		s.settle(pieces, failed, nil, 0)
		return true
	case fateInvalid, fateCompacted:
		for _, p := range open {
			failed[p] = opError("commit", p.call.txn.ID, cellstate.ErrInvalid, err)
		}
		s.settle(pieces, failed, nil, 0)
		return true
	case fateUnknown:
		s.cfg.Log.Warn("outcome of an etcd transaction unknown, asking again", zap.Int("parts", len(open)), zap.Error(err))
		s.mu.Lock()
		for _, p := range open {
			if !p.fetch && len(p.decision.Ledgers) > 0 {
				p.unsettled, p.call.touched = true, true
			}
		}
		s.mu.Unlock()
	default:
		here := make(map[*call]int)
		for _, p := range pieces {
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
	s.settle(pieces, failed, nil, 0)
	return false
}

// settle gives pieces back: the decided ones to their calls, the others to the front of the queue. What was found out about
// ledgers goes to whoever waits for them.
func (s *Store) settle(pieces []*piece, failed map[*piece]error, found map[string]ledgerAt, rev int64) {
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
			s.metrics.resent.Add(float64(p.resent))
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
	if len(found) > 0 {
		for _, p := range s.queue {
			p.learn(found, rev)
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

func (s *Store) accepted(req *pb.TxnRequest, b *batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ops.took(txnOps(req))
	s.bytes.took(batchBytes(b.pieces))
}

// refused learns from a refusal how much etcd takes.
func (s *Store) refused(f fate, req *pb.TxnRequest, open []*piece) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, n := &s.ops, txnOps(req)
	if f == fateBytes {
		l, n = &s.bytes, batchBytes(open)
	}
	l.refuse(n)
	s.cfg.Log.Info("etcd takes less in one transaction than assumed", zap.String("limit", l.name), zap.Int("refused", n),
		zap.Int("now", l.fill()))
}

func batchBytes(pieces []*piece) int {
	n := requestBytes
	for _, p := range pieces {
		n += p.size
	}
	return n
}

func (s *Store) count(b *batch) {
	s.metrics.txns.Inc()
	s.metrics.parts.Observe(float64(len(b.pieces)))
	calls := make(map[*call]bool)
	for _, p := range b.pieces {
		calls[p.call] = true
	}
	if len(calls) > 1 {
		s.metrics.coalesced.Add(float64(len(calls)))
	}
}
