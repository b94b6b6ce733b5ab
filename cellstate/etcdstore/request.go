package etcdstore

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"

	"github.com/omegacell/omegacell/cellstate"
)

const (
	nestedBytes  = 16  // of the messages around a nested Txn
	guardBytes   = 64  // of the messages around a ledger's guard, put and get, and the Txn around them
	fenceBytes   = 256 // of a fence's guard and get
	requestBytes = 512 // of what etcd puts around a request before it measures it
)

// send sends one etcd Txn. Sent is false if it surely never left for a server.
func (s *Store) send(ctx context.Context, req *pb.TxnRequest) (resp *pb.TxnResponse, sent bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	var to peer.Peer // filled in once gRPC had a connection for the request; never without gRPC
	resp, err = s.kv.Txn(ctx, req, grpc.Peer(&to))
	return resp, err == nil || to.Addr != nil || s.cfg.KV != nil, err
}

func compareMod(key []byte, how pb.Compare_CompareResult, rev int64) *pb.Compare {
	return &pb.Compare{Key: key, Target: pb.Compare_MOD, Result: how, TargetUnion: &pb.Compare_ModRevision{ModRevision: rev}}
}

func (s *Store) compareFence(f cellstate.Fence) *pb.Compare {
	return &pb.Compare{Key: s.key(f.Key), Target: pb.Compare_CREATE, Result: pb.Compare_EQUAL,
		TargetUnion: &pb.Compare_CreateRevision{CreateRevision: f.CreateRev}}
}

func opGet(key []byte) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: key}}}
}

func opPut(key, value []byte, lease int64) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: key, Value: value, Lease: lease}}}
}

func opDelete(key []byte) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: &pb.DeleteRangeRequest{Key: key}}}
}

func opTxn(t *pb.TxnRequest) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestTxn{RequestTxn: t}}
}

// txnOps counts the operations of a Txn as etcd does: the most of compares and either branch, and below that the most that
// any nested one counts for (etcd 3.7, server/etcdserver/api/v3rpc/key.go, checkTxnRequest).
func txnOps(t *pb.TxnRequest) int {
	below := 0
	for _, branch := range [][]*pb.RequestOp{t.Success, t.Failure} {
		for _, op := range branch {
			if n := op.GetRequestTxn(); n != nil {
				below = max(below, txnOps(n))
			}
		}
	}
	return max(len(t.Compare), len(t.Success), len(t.Failure)) + below
}

// batch is what one etcd Txn carries: piles by fence. Those without one come first where there are any.
type batch struct {
	piles  []*pile // all of them
	groups []group
	rev    int64 // once answered
	lost   int   // piles of which a guard did not hold
}

type group struct {
	fence *cellstate.Fence
	piles []*pile
}

func newBatch(piles []*pile) *batch {
	b := &batch{piles: piles}
	at := make(map[cellstate.Fence]int)
	for _, pl := range piles {
		var f cellstate.Fence
		if fence := pl.fence(); fence != nil {
			f = *fence
		}
		i, ok := at[f]
		if !ok {
			i = len(b.groups)
			at[f] = i
			b.groups = append(b.groups, group{fence: pl.fence()})
		}
		b.groups[i].piles = append(b.groups[i].piles, pl)
	}
	return b
}

func (b *batch) pieces() []*piece {
	var all []*piece
	for _, pl := range b.piles {
		all = append(all, pl.pieces...)
	}
	return all
}

// bytes is how large the request is at most.
func (b *batch) bytes() int {
	n := requestBytes
	for _, pl := range b.piles {
		n += pl.size
	}
	return n
}

// nested makes the etcd Txn of which each pile is decided by itself. A lone pile is the Txn itself; a lone fence is its
// condition; else both are nested.
func (b *batch) nested(s *Store) *pb.TxnRequest {
	if len(b.groups) == 1 {
		return b.groups[0].request(s)
	}
	out := new(pb.TxnRequest)
	for _, g := range b.groups {
		if g.fence != nil {
			out.Success = append(out.Success, opTxn(g.request(s)))
			continue
		}
		for _, pl := range g.piles {
			out.Success = append(out.Success, opTxn(pl.request()))
		}
	}
	return out
}

func (g *group) request(s *Store) *pb.TxnRequest {
	if g.fence == nil && len(g.piles) == 1 {
		return g.piles[0].request()
	}
	out := &pb.TxnRequest{Success: make([]*pb.RequestOp, 0, len(g.piles))}
	for _, pl := range g.piles {
		out.Success = append(out.Success, opTxn(pl.request()))
	}
	if g.fence != nil {
		out.Compare = []*pb.Compare{s.compareFence(*g.fence)}
		for _, pl := range g.piles {
			if pl.unsettled() {
				out.Failure = append(out.Failure, opTxn(&pb.TxnRequest{Success: pl.gets()}))
			}
		}
	}
	return out
}

// guardedPut is what a flat Txn has of one ledger, in one allocation for many.
type guardedPut struct {
	compare pb.Compare
	rev     pb.Compare_ModRevision
	op      pb.RequestOp
	request pb.RequestOp_RequestPut
	put     pb.PutRequest
}

// flat makes the etcd Txn that is carried out whole, if all guards hold, or not at all. It costs etcd a quarter less than the
// nested one. Most is how many operations it may have. It returns nil where some pile cannot go that way: one whose outcome
// is unknown, or that has to ask for its ledgers. Nor can it where nothing is to be put: a Txn without operations is answered
// by one member from what it has (etcd 3.7, server/etcdserver/txn/txn.go, IsTxnSerializable), be that old.
func (b *batch) flat(s *Store, most int) *pb.TxnRequest {
	n := 0
	for _, pl := range b.piles {
		if pl.lead().fetch || pl.unsettled() {
			return nil
		}
		n += len(pl.lead().keys)
	}
	fences := make(map[cellstate.Fence]bool)
	req := &pb.TxnRequest{Compare: make([]*pb.Compare, 0, n+len(b.groups)), Success: make([]*pb.RequestOp, 0, n)}
	fence := func(f cellstate.Fence) {
		if !fences[f] {
			fences[f] = true
			req.Compare = append(req.Compare, s.compareFence(f))
		}
	}
	slab := make([]guardedPut, n)
	for _, pl := range b.piles {
		p := pl.lead()
		if f := pl.fence(); f != nil {
			fence(*f)
		}
		for _, f := range pl.fences {
			fence(f)
		}
		put := 0
		for i, key := range p.keys {
			g := &slab[0]
			slab = slab[1:]
			g.rev.ModRevision = p.base[i].rev
			g.compare.Key, g.compare.Target, g.compare.Result, g.compare.TargetUnion = key, pb.Compare_MOD, pb.Compare_EQUAL, &g.rev
			req.Compare = append(req.Compare, &g.compare)
			if put < len(pl.ledgers) && pl.ledgers[put].Machine == p.part.Machines[i] { // both are in order
				g.put.Key, g.put.Value = key, pl.values[put]
				g.request.RequestPut, g.op.Request = &g.put, &g.request
				req.Success = append(req.Success, &g.op)
				put++
			}
		}
	}
	if len(req.Compare) > most || len(req.Success) == 0 {
		return nil
	}
	return req
}

// done takes the answer that a flat Txn was carried out.
func (b *batch) done(rev int64) {
	b.rev = rev
	for _, pl := range b.piles {
		pl.done(rev)
	}
}

// absorb hands etcd's answer to the piles, in the shape that nested gave it. It notes the error of each piece that failed.
func (b *batch) absorb(resp *pb.TxnResponse, failed map[*piece]error) {
	b.rev = resp.Header.Revision
	note := func(p *piece, err error) {
		if err != nil {
			failed[p] = err
		}
	}
	take := func(pl *pile, resp *pb.TxnResponse) {
		if !resp.Succeeded {
			b.lost++
		}
		pl.absorb(resp, b.rev, note)
	}
	if len(b.groups) == 1 {
		b.groups[0].absorb(resp, b.rev, take, note)
		return
	}
	i := 0
	for _, g := range b.groups {
		if g.fence != nil {
			g.absorb(resp.Responses[i].GetResponseTxn(), b.rev, take, note)
			i++
			continue
		}
		for _, pl := range g.piles {
			take(pl, resp.Responses[i].GetResponseTxn())
			i++
		}
	}
}

func (g *group) absorb(resp *pb.TxnResponse, rev int64, take func(*pile, *pb.TxnResponse), note func(*piece, error)) {
	if g.fence == nil && len(g.piles) == 1 {
		take(g.piles[0], resp)
		return
	}
	if resp.Succeeded {
		for i, pl := range g.piles {
			take(pl, resp.Responses[i].GetResponseTxn())
		}
		return
	}
	i := 0
	for _, pl := range g.piles {
		var looked []*pb.ResponseOp
		if pl.unsettled() {
			looked = resp.Responses[i].GetResponseTxn().GetResponses()
			i++
		}
		pl.fenced(looked, rev, note)
	}
}
