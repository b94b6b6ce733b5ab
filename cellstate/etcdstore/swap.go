package etcdstore

import (
	"bytes"
	"context"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/wire"
)

// Swap implements [cellstate.Store] as one etcd Txn, or a nested one where it shares one with others. An Unchanged range of jobs also sees writes to their statuses, which
// stand beside them, and so may refuse what need not be refused.
//
// After an unknown outcome it sends the same again. If the guards then fail, what stands at the keys tells whether that is
// because the swap was carried out; where somebody else has written since, nothing tells, and it returns ErrUnknown.
func (s *Store) Swap(ctx context.Context, sw cellstate.Swap) (cellstate.Swapped, error) {
	out, err := s.swap(ctx, sw)
	outcome := "refused"
	if err != nil {
		outcome = kindOf(err)
	} else if out.OK {
		outcome = "done"
	}
	s.metrics.swaps.WithLabelValues(outcome).Inc()
	return out, err
}

func (s *Store) swap(ctx context.Context, sw cellstate.Swap) (cellstate.Swapped, error) {
	x, err := s.newSwap(sw)
	if err != nil {
		return cellstate.Swapped{}, err
	}
	if err := ctx.Err(); err != nil {
		return cellstate.Swapped{}, opError("swap", x.name, cellstate.ErrUnavailable, err)
	}
	resp, shared, sent, err := s.first(ctx, x)
	unsettled := false
	for wait := s.cfg.RetryMin; ; wait = min(2*wait, s.cfg.RetryMax) {
		if err == nil {
			return x.answer(resp, unsettled)
		}
		f := fateOf(err, sent)
		if shared && f != fateNotDone {
			// Others were in it: it may be them that etcd refused. What is unknown need not wait either, for it is not etcd that
			// this one alone asks too much.
			shared, unsettled = false, f == fateUnknown
			resp, sent, err = s.send(ctx, x.request(unsettled))
			continue
		}
		switch f {
		case fateOps:
			return cellstate.Swapped{}, opError("swap", x.name, cellstate.ErrInvalid,
				fmt.Errorf("its %d operations are more than etcd's max-txn-ops: %w", x.ops(), err))
		case fateBytes:
			return cellstate.Swapped{}, opError("swap", x.name, cellstate.ErrInvalid,
				fmt.Errorf("it is larger than etcd's max-request-bytes: %w", err))
		case fateInvalid, fateCompacted:
			return cellstate.Swapped{}, opError("swap", x.name, cellstate.ErrInvalid, err)
		case fateNotDone:
			if !unsettled {
				return cellstate.Swapped{}, opError("swap", x.name, cellstate.ErrUnavailable, err)
			}
		case fateUnknown:
			unsettled = true
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return cellstate.Swapped{}, opError("swap", x.name, cellstate.ErrUnknown, ctx.Err())
		case <-s.client.Ctx().Done():
			return cellstate.Swapped{}, opError("swap", x.name, cellstate.ErrUnknown, errClosed)
		}
		resp, sent, err = s.send(ctx, x.request(unsettled))
	}
}

// swap is a cellstate.Swap as etcd gets it.
type swap struct {
	store    *Store
	name     string // the first key it is about
	guards   []cellstate.Key
	compare  []*pb.Compare
	writes   []*pb.RequestOp
	guarding []*pb.RequestOp // gets of the guarded keys
	written  []*pb.RequestOp // gets of the keys it writes
}

func (s *Store) newSwap(sw cellstate.Swap) (*swap, error) {
	x := &swap{store: s, name: "nothing"}
	for _, g := range sw.Guards {
		if err := wire.CheckKey(g.Key); err != nil {
			return nil, err
		}
		x.names(g.Key)
		x.guards = append(x.guards, g.Key)
		x.compare = append(x.compare, compareMod(s.key(g.Key), pb.Compare_EQUAL, g.Rev))
		x.guarding = append(x.guarding, opGet(s.key(g.Key)))
	}
	for _, u := range sw.Unchanged {
		prefix, exact := wire.RangePrefix(s.cfg.Cell, u.Range)
		c := compareMod([]byte(prefix), pb.Compare_LESS, u.Rev+1)
		if !exact {
			c.RangeEnd = []byte(clientv3.GetPrefixRangeEnd(prefix))
		}
		x.compare = append(x.compare, c)
	}
	seen := make(map[cellstate.Key]bool)
	once := func(k cellstate.Key) error {
		if seen[k] {
			return opError("swap", k.String(), cellstate.ErrInvalid, fmt.Errorf("it is written twice"))
		}
		seen[k] = true
		x.names(k)
		x.written = append(x.written, opGet(s.key(k)))
		return wire.CheckKey(k)
	}
	for i, p := range sw.Put {
		if p.Value == nil {
			return nil, opError("swap", fmt.Sprintf("put %d", i), cellstate.ErrInvalid, fmt.Errorf("its value is nil"))
		}
		k := p.Value.Key()
		if err := once(k); err != nil {
			return nil, err
		}
		b, err := wire.Marshal(p.Value)
		if err != nil {
			return nil, err
		}
		x.writes = append(x.writes, opPut(s.key(k), b, p.Lease))
	}
	for _, k := range sw.Delete {
		if err := once(k); err != nil {
			return nil, err
		}
		x.writes = append(x.writes, opDelete(s.key(k)))
	}
	return x, nil
}

func (s *Store) key(k cellstate.Key) []byte { return []byte(wire.KeyString(s.cfg.Cell, k)) }

func (x *swap) names(k cellstate.Key) {
	if x.name == "nothing" {
		x.name = k.String()
	}
}

func (x *swap) ops() int { return max(len(x.compare), len(x.writes), len(x.guarding)) }

// request makes the Txn. Once an outcome is unknown, it also asks for what stands at the keys that were to be written.
func (x *swap) request(unsettled bool) *pb.TxnRequest {
	req := &pb.TxnRequest{Compare: x.compare, Success: x.writes, Failure: x.guarding}
	if unsettled {
		req.Failure = append(x.guarding[:len(x.guarding):len(x.guarding)], x.written...)
	}
	return req
}

func (x *swap) answer(resp *pb.TxnResponse, unsettled bool) (cellstate.Swapped, error) {
	s := x.store
	if resp.Succeeded {
		if unsettled {
			s.metrics.settled.WithLabelValues("committed").Inc()
		}
		return cellstate.Swapped{OK: true, Rev: resp.Header.Revision}, nil
	}
	if unsettled && len(x.writes) > 0 {
		rev, ours := x.inEffect(resp.Responses[len(x.guards):])
		if !ours {
			return cellstate.Swapped{}, opError("swap", x.name, cellstate.ErrUnknown, fmt.Errorf("its keys have other values now"))
		}
		s.metrics.settled.WithLabelValues("committed").Inc()
		return cellstate.Swapped{OK: true, Rev: rev}, nil
	}
	out := cellstate.Swapped{Rev: resp.Header.Revision}
	for i, k := range x.guards {
		rec := cellstate.Record{Key: k}
		if kvs := resp.Responses[i].GetResponseRange().GetKvs(); len(kvs) > 0 {
			rec = s.record(kvs[0])
		}
		out.Now = append(out.Now, rec)
	}
	return out, nil
}

// inEffect reports whether everything that the swap writes stands there, written by one revision.
func (x *swap) inEffect(answers []*pb.ResponseOp) (rev int64, ours bool) {
	for i, w := range x.writes {
		kvs := answers[i].GetResponseRange().GetKvs()
		put := w.GetRequestPut()
		if put == nil { // deleted
			if len(kvs) > 0 {
				return 0, false
			}
			continue
		}
		if len(kvs) == 0 || !bytes.Equal(kvs[0].Value, put.Value) || kvs[0].Lease != put.Lease || rev != 0 && kvs[0].ModRevision != rev {
			return 0, false
		}
		rev = kvs[0].ModRevision
	}
	if rev == 0 {
		rev = answers[0].GetResponseRange().GetHeader().GetRevision()
	}
	return rev, true
}
