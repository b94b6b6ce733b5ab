package etcdstore

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"

	"github.com/omegacell/omegacell/cellstate"
)

const (
	nestedBytes  = 16  // of the messages around one nested Txn
	requestBytes = 512 // of what etcd puts around a request before it measures it
)

// send sends one etcd Txn. Sent is false if it surely never left for a server.
func (s *Store) send(ctx context.Context, req *pb.TxnRequest) (resp *pb.TxnResponse, sent bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	var to peer.Peer // filled in once gRPC had a connection for the request
	resp, err = s.kv.Txn(ctx, req, grpc.Peer(&to))
	return resp, err == nil || to.Addr != nil, err
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

// batch is what one etcd Txn carries: pieces by fence. Those without one come first.
type batch struct {
	pieces []*piece // all of them
	groups []group
	rev    int64 // once answered
}

type group struct {
	fence  *cellstate.Fence
	pieces []*piece
}

func newBatch(pieces []*piece) *batch {
	b := &batch{pieces: pieces}
	at := make(map[cellstate.Fence]int)
	for _, p := range pieces {
		var f cellstate.Fence
		if p.call.txn.Fence != nil {
			f = *p.call.txn.Fence
		}
		i, ok := at[f]
		if !ok {
			i = len(b.groups)
			at[f] = i
			b.groups = append(b.groups, group{fence: p.call.txn.Fence})
		}
		b.groups[i].pieces = append(b.groups[i].pieces, p)
	}
	return b
}

// request makes the etcd Txn. A lone piece is the Txn itself, flat; a lone fence is its condition; else both are nested.
func (b *batch) request(s *Store) *pb.TxnRequest {
	if len(b.groups) == 1 {
		return b.groups[0].request(s)
	}
	out := new(pb.TxnRequest)
	for _, g := range b.groups {
		if g.fence != nil {
			out.Success = append(out.Success, opTxn(g.request(s)))
			continue
		}
		for _, p := range g.pieces {
			out.Success = append(out.Success, opTxn(p.request))
		}
	}
	return out
}

func (g *group) request(s *Store) *pb.TxnRequest {
	if g.fence == nil && len(g.pieces) == 1 {
		return g.pieces[0].request
	}
	out := new(pb.TxnRequest)
	for _, p := range g.pieces {
		out.Success = append(out.Success, opTxn(p.request))
	}
	if g.fence != nil {
		out.Compare = []*pb.Compare{s.compareFence(*g.fence)}
		for _, p := range g.pieces {
			if p.unsettled {
				out.Failure = append(out.Failure, opTxn(&pb.TxnRequest{Success: p.gets()}))
			}
		}
	}
	return out
}

// absorb hands etcd's answer to the pieces, in the shape that request gave it. It returns the error of each piece that failed.
func (b *batch) absorb(resp *pb.TxnResponse) map[*piece]error {
	b.rev = resp.Header.Revision
	failed := make(map[*piece]error)
	note := func(p *piece, err error) {
		if err != nil {
			failed[p] = err
		}
	}
	if len(b.groups) == 1 {
		b.groups[0].absorb(resp, b.rev, note)
		return failed
	}
	i := 0
	for _, g := range b.groups {
		if g.fence != nil {
			g.absorb(resp.Responses[i].GetResponseTxn(), b.rev, note)
			i++
			continue
		}
		for _, p := range g.pieces {
			note(p, p.absorb(resp.Responses[i].GetResponseTxn(), b.rev))
			i++
		}
	}
	return failed
}

func (g *group) absorb(resp *pb.TxnResponse, rev int64, note func(*piece, error)) {
	if g.fence == nil && len(g.pieces) == 1 {
		note(g.pieces[0], g.pieces[0].absorb(resp, rev))
		return
	}
	if resp.Succeeded {
		for i, p := range g.pieces {
			note(p, p.absorb(resp.Responses[i].GetResponseTxn(), rev))
		}
		return
	}
	i := 0
	for _, p := range g.pieces {
		var looked []*pb.ResponseOp
		if p.unsettled {
			looked = resp.Responses[i].GetResponseTxn().GetResponses()
			i++
		}
		note(p, p.fenced(looked, rev))
	}
}
