package etcdstore

import (
	"context"
	"strings"
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
)

// swaps sends swaps. Those that come while others are under way go into the next etcd Txn together, a nested one each, unless
// one writes what another one writes or rests on: these take turns. If etcd refuses such a Txn, which it does whole, or its
// outcome is unknown, each swap is sent again by itself.
type swaps struct {
	mu      sync.Mutex
	queue   []*swapCall
	running int // goroutines that send
}

// swapCall is the first attempt at a swap.
type swapCall struct {
	swap   *swap
	size   int           // in bytes
	taken  bool          // it is in an etcd Txn, or was; guarded by the mutex of swaps
	done   chan struct{} // closed when what follows is set
	shared bool          // others were in the same etcd Txn
	resp   *pb.TxnResponse
	sent   bool
	err    error
}

// first makes the first attempt at a swap. It reports whether others shared it, and whether it may have been sent.
func (s *Store) first(ctx context.Context, x *swap) (resp *pb.TxnResponse, shared, sent bool, err error) {
	c := &swapCall{swap: x, done: make(chan struct{})}
	c.size = proto.Size(x.request(false)) + nestedBytes
	s.swaps.mu.Lock()
	s.swaps.queue = append(s.swaps.queue, c)
	s.wakeSwaps()
	s.swaps.mu.Unlock()
	select {
	case <-c.done:
		return c.resp, c.shared, c.sent, c.err
	case <-ctx.Done():
	}
	s.swaps.mu.Lock()
	defer s.swaps.mu.Unlock()
	for i, q := range s.swaps.queue {
		if q == c {
			s.swaps.queue = append(s.swaps.queue[:i], s.swaps.queue[i+1:]...)
			break
		}
	}
	return nil, false, c.taken, ctx.Err()
}

// wakeSwaps sees to it that what is queued is sent. Call it with the mutex of swaps held.
func (s *Store) wakeSwaps() {
	if len(s.swaps.queue) > 0 && s.swaps.running < s.cfg.InFlight {
		s.swaps.running++
		go s.sendSwaps()
	}
}

func (s *Store) sendSwaps() {
	for {
		s.mu.Lock()
		ops, bytes := s.ops.fill(), s.bytes.fill()
		s.mu.Unlock()
		s.swaps.mu.Lock()
		calls := s.swaps.take(ops, bytes)
		if len(calls) == 0 {
			s.swaps.running--
			s.swaps.mu.Unlock()
			return
		}
		s.wakeSwaps()
		s.swaps.mu.Unlock()
		s.carrySwaps(calls)
	}
}

// take takes as many swaps from the queue as go into one etcd Txn together. Those it passes over are not overtaken by later
// ones that touch the same.
func (q *swaps) take(ops, bytes int) []*swapCall {
	var taken []*swapCall
	var t touched
	deepest, size := 0, requestBytes
	keep := q.queue[:0]
	for i, c := range q.queue {
		full := len(taken)+1+max(deepest, c.swap.ops()) > ops || size+c.size > bytes
		if len(taken) > 0 && full {
			keep = append(keep, q.queue[i:]...)
			break
		}
		apart := t.apart(c.swap)
		t.add(c.swap)
		if !apart {
			keep = append(keep, c)
			continue
		}
		c.taken = true
		taken = append(taken, c)
		deepest, size = max(deepest, c.swap.ops()), size+c.size
	}
	clear(q.queue[len(keep):])
	q.queue = keep
	return taken
}

// touched is what swaps write, and what they rest on.
type touched struct {
	written map[string]bool
	guarded map[string]bool
	ranges  []*pb.Compare
}

// apart reports whether a swap neither writes what t's write or rest on, nor rests on what they write. Then it makes no
// difference which is carried out first, as etcd would have it: it judges all guards of a Txn before it writes anything.
func (t *touched) apart(x *swap) bool {
	for _, w := range x.writes {
		k := writtenKey(w)
		if t.written[k] || t.guarded[k] {
			return false
		}
		for _, r := range t.ranges {
			if within(k, r) {
				return false
			}
		}
	}
	for _, c := range x.compare {
		if len(c.RangeEnd) == 0 {
			if t.written[string(c.Key)] {
				return false
			}
			continue
		}
		for k := range t.written {
			if within(k, c) {
				return false
			}
		}
	}
	return true
}

func (t *touched) add(x *swap) {
	if t.written == nil {
		t.written, t.guarded = make(map[string]bool), make(map[string]bool)
	}
	for _, w := range x.writes {
		t.written[writtenKey(w)] = true
	}
	for _, c := range x.compare {
		if len(c.RangeEnd) == 0 {
			t.guarded[string(c.Key)] = true
		} else {
			t.ranges = append(t.ranges, c)
		}
	}
}

func writtenKey(op *pb.RequestOp) string {
	if put := op.GetRequestPut(); put != nil {
		return string(put.Key)
	}
	return string(op.GetRequestDeleteRange().Key)
}

// within reports whether a key is in the range of a compare.
func within(key string, c *pb.Compare) bool {
	return strings.Compare(key, string(c.Key)) >= 0 && strings.Compare(key, string(c.RangeEnd)) < 0
}

// carrySwaps sends swaps as one etcd Txn, and tells each what came of it.
func (s *Store) carrySwaps(calls []*swapCall) {
	req := calls[0].swap.request(false)
	if len(calls) > 1 {
		req = &pb.TxnRequest{Success: make([]*pb.RequestOp, len(calls))}
		for i, c := range calls {
			req.Success[i] = opTxn(c.swap.request(false))
		}
		s.metrics.coalesced.Add(float64(len(calls)))
	}
	resp, sent, err := s.send(s.client.Ctx(), req)
	if len(calls) > 1 {
		s.learn(req, calls, sent, err)
	}
	for i, c := range calls {
		c.shared, c.sent, c.err = len(calls) > 1, sent, err
		if err == nil {
			if c.resp = resp; c.shared {
				c.resp = resp.Responses[i].GetResponseTxn()
				c.resp.Header = resp.Header
			}
		}
		close(c.done)
	}
}

// learn takes from etcd's answer to a shared Txn how much it takes.
func (s *Store) learn(req *pb.TxnRequest, calls []*swapCall, sent bool, err error) {
	bytes := requestBytes
	for _, c := range calls {
		bytes += c.size
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.ops.took(txnOps(req))
		s.bytes.took(bytes)
		return
	}
	switch fateOf(err, sent) {
	case fateOps:
		s.ops.refuse(txnOps(req))
	case fateBytes:
		s.bytes.refuse(bytes)
	}
}
