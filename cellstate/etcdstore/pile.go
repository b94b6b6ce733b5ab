package etcdstore

import (
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/wire"
)

// pile is what goes as one nested Txn: a piece; or several of different transactions on the same machine, each decided on what
// those before it make of the ledger, of which only the last is put. Each has its own verdict.
type pile struct {
	pieces []*piece
	// fences are those of its pieces where they have not all the same one. Then they are conditions of the nested Txn, and when
	// that fails the answer tells which did not hold.
	fences []cellstate.Fence

	ledgers []*cellstate.Ledger // to be put, and values in their stored form
	values  [][]byte
	size    int // of the request in bytes, at most
}

// unwritten is the revision of a ledger that is still to be put: rule seq is to see that it is not the one before.
const unwritten = -1

func (pl *pile) lead() *piece { return pl.pieces[0] }

// takes reports whether p may go on top: both concern the same machine, and only that, and etcd refused neither in a pile.
func (pl *pile) takes(p *piece) bool {
	lead := pl.lead()
	return len(p.part.Machines) == 1 && len(lead.part.Machines) == 1 && !lead.fetch && !lead.apart && !p.apart
}

// ready decides what of the pile is to be sent, now that its turn has come. What it leaves out is decided already, or failed,
// or waits for the next turn.
func (pl *pile) ready(failed map[*piece]error) {
	var newest ledgerAt
	if len(pl.pieces) > 1 {
		for _, p := range pl.pieces { // a later snapshot may be the newer one
			if p.base[0].rev > newest.rev {
				newest = p.base[0]
			}
		}
	}
	for len(pl.pieces) > 0 {
		p := pl.lead()
		p.offered = newest
		if p.behind() {
			if err := p.prepare(); err != nil {
				failed[p] = err
			}
		}
		if !p.decided && failed[p] == nil {
			break
		}
		pl.pieces = pl.pieces[1:]
	}
	if len(pl.pieces) == 0 {
		return
	}
	lead := pl.lead()
	pl.ledgers, pl.values, pl.size = lead.puts, lead.values, lead.size
	if lead.fetch {
		pl.ledgers, pl.pieces = nil, pl.pieces[:1]
	}
	if len(pl.pieces) > 1 {
		pl.stack()
	}
	pl.fences = pl.mixed()
	pl.size += len(pl.fences) * fenceBytes
}

// stack decides the pieces after the first. If that makes a ledger that cannot be written, the first goes alone.
func (pl *pile) stack() {
	lead := pl.lead()
	on := standing{lead.part.Machines[0], lead.base[0].ledger}
	if len(lead.decision.Ledgers) > 0 {
		on.ledger = cellstate.WithRev(lead.decision.Ledgers[0], unwritten).(*cellstate.Ledger)
	}
	decisions := make([]cellstate.Decision, len(pl.pieces))
	changed := false
	for i, p := range pl.pieces[1:] {
		d := p.call.txn.CommitPart(on, p.part, p.store.cfg.Limits)
		decisions[i+1] = d
		if len(d.Ledgers) > 0 {
			on.ledger, changed = cellstate.WithRev(d.Ledgers[0], unwritten).(*cellstate.Ledger), true
		}
	}
	if changed {
		b, err := wire.Marshal(on.ledger)
		if err != nil {
			pl.pieces = pl.pieces[:1]
			return
		}
		pl.size += len(b)
		for _, v := range pl.values {
			pl.size -= len(v)
		}
		pl.ledgers, pl.values = []*cellstate.Ledger{on.ledger}, [][]byte{b}
	}
	for i, p := range pl.pieces[1:] {
		p.decision, p.base[0], p.stacked = decisions[i+1], lead.base[0], true
	}
}

// standing is a view of one machine.
type standing struct {
	machine string
	ledger  *cellstate.Ledger
}

func (s standing) Ledger(machine string) (*cellstate.Ledger, bool) {
	return s.ledger, machine == s.machine && s.ledger != nil
}

// mixed returns the fences of the pieces unless all have the same one, or none.
func (pl *pile) mixed() []cellstate.Fence {
	first := pl.lead().call.txn.Fence
	same := true
	for _, p := range pl.pieces[1:] {
		f := p.call.txn.Fence
		same = same && (f == nil) == (first == nil) && (f == nil || *f == *first)
	}
	if same {
		return nil
	}
	var out []cellstate.Fence
	seen := make(map[cellstate.Fence]bool)
	for _, p := range pl.pieces {
		if f := p.call.txn.Fence; f != nil && !seen[*f] {
			seen[*f] = true
			out = append(out, *f)
		}
	}
	return out
}

// fence is the one that all pieces have, if it is to be the condition of a Txn around the pile's.
func (pl *pile) fence() *cellstate.Fence {
	if len(pl.fences) > 0 {
		return nil
	}
	return pl.lead().call.txn.Fence
}

// doubt notes that nobody knows whether the pile was carried out, or will be.
func (pl *pile) doubt() {
	p := pl.lead()
	for _, l := range pl.ledgers {
		i, _ := slices.BinarySearch(p.part.Machines, l.Machine)
		p.store.doubts.add(l.Machine, p.base[i].rev)
	}
}

// part sees to it that the pieces of a pile that etcd did not take go one by one. What a piece that has to ask for its ledger
// adds to a pile is not in its size, so that the pile could be made, and refused, for ever.
func (pl *pile) part() {
	for _, p := range pl.pieces {
		p.apart = p.apart || len(pl.pieces) > 1
	}
}

func (pl *pile) unsettled() bool {
	for _, p := range pl.pieces {
		if p.unsettled {
			return true
		}
	}
	return false
}

// request makes the nested Txn.
func (pl *pile) request() *pb.TxnRequest {
	p := pl.lead()
	if p.fetch {
		return &pb.TxnRequest{Success: pl.gets()}
	}
	req := &pb.TxnRequest{Failure: pl.gets()}
	for _, f := range pl.fences {
		req.Compare = append(req.Compare, p.store.compareFence(f))
		req.Failure = append(req.Failure, opGet(p.store.key(f.Key)))
	}
	for i, key := range p.keys {
		req.Compare = append(req.Compare, compareMod(key, pb.Compare_EQUAL, p.base[i].rev))
	}
	for i, v := range pl.values {
		req.Success = append(req.Success, opPut(p.keyOf(pl.ledgers[i].Machine), v, 0))
	}
	return req
}

func (pl *pile) gets() []*pb.RequestOp {
	ops := make([]*pb.RequestOp, 0, len(pl.lead().keys)+len(pl.fences))
	for _, k := range pl.lead().keys {
		ops = append(ops, opGet(k))
	}
	return ops
}

// absorb takes etcd's answer to the request.
func (pl *pile) absorb(resp *pb.TxnResponse, rev int64, note func(*piece, error)) {
	p := pl.lead()
	if resp.Succeeded && !p.fetch {
		pl.done(rev)
		return
	}
	seen := p.look(resp.Responses)
	held := make(map[cellstate.Fence]bool, len(pl.fences))
	for i, f := range pl.fences {
		kvs := resp.Responses[len(p.keys)+i].GetResponseRange().GetKvs()
		held[f] = len(kvs) > 0 && kvs[0].CreateRevision == f.CreateRev
	}
	for _, p := range pl.pieces {
		if f := p.call.txn.Fence; len(pl.fences) > 0 && f != nil && !held[*f] {
			note(p, p.fenced(seen, rev))
		} else {
			note(p, p.lost(seen, rev))
		}
	}
}

// done notes that the nested Txn was carried out, at rev if it put anything.
func (pl *pile) done(rev int64) {
	for _, p := range pl.pieces {
		p.finish(rev)
		if p.stacked && len(pl.ledgers) > 0 {
			p.rev = rev // it rests on what those before it put
		}
	}
	if len(pl.ledgers) == 0 {
		return
	}
	machines, at := make([]string, len(pl.ledgers)), make([]ledgerAt, len(pl.ledgers))
	for i, l := range pl.ledgers {
		machines[i], at[i] = l.Machine, ledgerAt{cellstate.WithRev(l, rev).(*cellstate.Ledger), rev}
	}
	s := pl.lead().store
	s.known.put(machines, at)
	s.doubts.drop(machines, at)
}

// fenced takes the answer that the fence around it does not hold. Looked are the answers to gets of its ledgers, if it is
// unsettled.
func (pl *pile) fenced(looked []*pb.ResponseOp, rev int64, note func(*piece, error)) {
	var seen []ledgerAt
	if pl.unsettled() {
		seen = pl.lead().look(looked)
	}
	for _, p := range pl.pieces {
		note(p, p.fenced(seen, rev))
	}
}
