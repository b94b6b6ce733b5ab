package etcdstore

import (
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/wire"
)

// ledgerAt is what etcd holds under a ledger's key. Ledger is nil where there is nothing (rev is 0 then) or nothing readable.
type ledgerAt struct {
	ledger *cellstate.Ledger
	rev    int64
}

// piece is one part of a transaction on its way. Its own goroutine has it first, then the queue under the store's mutex, then
// whoever took it from the queue.
type piece struct {
	store *Store
	call  *call
	part  cellstate.Part

	seen    map[string]ledgerAt // what etcd held, by machine; newer than the basis
	seenRev int64               // the revision at which the last of seen was read
	whole   bool                // all of the part was seen, at one revision: a decision that writes nothing is final
	stale   bool                // seen has more than the request was made from

	decision cellstate.Decision
	guards   []int64        // the revisions that the decision was made from, by index of part.Machines
	request  *pb.TxnRequest // what is to be sent
	fetch    bool           // the request only asks for the ledgers
	size     int            // of the request in bytes

	rev       int64 // once decided: where that is visible
	decided   bool
	resent    int
	unsettled bool // it was sent, and whether it was carried out is not known
}

// Ledger implements [cellstate.View]: the basis, and over it what etcd was seen to hold.
func (p *piece) Ledger(machine string) (*cellstate.Ledger, bool) {
	at, _ := p.at(machine)
	return at.ledger, at.ledger != nil
}

// at returns the newest that is known of a machine's ledger, and whether anything is: that a basis has no such machine may
// only mean that it is old.
func (p *piece) at(machine string) (ledgerAt, bool) {
	if at, ok := p.seen[machine]; ok {
		return at, true
	}
	if b := p.call.txn.Basis; b != nil {
		if l, ok := b.Ledger(machine); ok {
			return ledgerAt{l, l.Rev}, true
		}
	}
	return ledgerAt{}, false
}

// prepare decides the part on what is known and makes the request for it; or, where that is final already, leaves none. A
// decision on the basis alone is never final: the guard has to hold, even if there is nothing to put.
func (p *piece) prepare() error {
	p.stale, p.fetch, p.request = false, false, nil
	p.guards = p.guards[:0]
	for _, m := range p.part.Machines {
		at, ok := p.at(m)
		if !ok {
			p.fetch = true
			p.setRequest(&pb.TxnRequest{Success: p.gets()})
			return nil
		}
		p.guards = append(p.guards, at.rev)
	}
	p.decision = p.call.txn.CommitPart(p, p.part, p.store.cfg.Limits)
	if p.whole && len(p.decision.Ledgers) == 0 {
		p.finish(p.seenRev)
		return nil
	}
	req := &pb.TxnRequest{Failure: p.gets()}
	for i, m := range p.part.Machines {
		req.Compare = append(req.Compare, compareMod(p.store.ledgerKey(m), pb.Compare_EQUAL, p.guards[i]))
	}
	for _, l := range p.decision.Ledgers {
		b, err := wire.Marshal(l)
		if err != nil {
			return err
		}
		req.Success = append(req.Success, opPut(p.store.ledgerKey(l.Machine), b, 0))
	}
	p.setRequest(req)
	return nil
}

func (p *piece) setRequest(req *pb.TxnRequest) {
	p.request = req
	p.size = proto.Size(req) + nestedBytes
}

func (p *piece) gets() []*pb.RequestOp {
	ops := make([]*pb.RequestOp, 0, len(p.part.Machines))
	for _, m := range p.part.Machines {
		ops = append(ops, opGet(p.store.ledgerKey(m)))
	}
	return ops
}

// finish notes that the decision stands. It is visible at the latest of the ledgers that it rests on; where one is not there
// nothing says since when, so that the revision of looking has to do.
func (p *piece) finish(rev int64) {
	p.decided, p.request = true, nil
	if len(p.decision.Ledgers) > 0 {
		p.rev = rev
		return
	}
	p.rev = 0
	for _, g := range p.guards {
		if g == 0 {
			p.rev = rev
			return
		}
		p.rev = max(p.rev, g)
	}
}

// refuse decides the part against the transaction, whatever would fit.
func (p *piece) refuse(why cellstate.Reason, rev int64) {
	p.decision = p.part.Refuse(why)
	p.decided, p.request, p.rev = true, nil, rev
}

// absorb takes etcd's answer to the request. Unless the part is then decided, it is to be sent again.
func (p *piece) absorb(resp *pb.TxnResponse, rev int64) error {
	if resp.Succeeded && !p.fetch {
		p.finish(rev)
		return nil
	}
	p.look(resp.Responses, rev)
	guardFailed := !p.fetch
	if err := p.prepare(); err != nil || p.decided {
		return err
	}
	if guardFailed {
		if p.resent == p.store.cfg.Rounds {
			p.refuse(cellstate.ReasonContended, rev)
			return nil
		}
		p.resent++
	}
	return nil
}

// fenced takes the answer that the fence does not hold. If the part was sent before, it may have been carried out while the
// fence still held: the ledgers tell.
func (p *piece) fenced(ledgers []*pb.ResponseOp, rev int64) error {
	if p.unsettled {
		p.look(ledgers, rev)
		if err := p.prepare(); err != nil || p.decided {
			return err
		}
	}
	p.refuse(cellstate.ReasonFenced, rev)
	return nil
}

// look replaces what is known by the answers to gets.
func (p *piece) look(answers []*pb.ResponseOp, rev int64) {
	p.seen = make(map[string]ledgerAt, len(p.part.Machines))
	p.seenRev, p.whole = rev, true
	for i, m := range p.part.Machines {
		var at ledgerAt
		if kvs := answers[i].GetResponseRange().GetKvs(); len(kvs) > 0 {
			at.rev = kvs[0].ModRevision
			v, err := wire.Unmarshal(cellstate.LedgerKey(m), kvs[0].Value, at.rev)
			if err != nil {
				p.store.corrupt(string(kvs[0].Key), err)
			} else {
				at.ledger = v.(*cellstate.Ledger)
			}
		}
		p.seen[m] = at
	}
}

// learn takes what another part found out about ledgers, while this one waits.
func (p *piece) learn(found map[string]ledgerAt, rev int64) {
	for _, m := range p.part.Machines {
		at, ok := found[m]
		if !ok {
			continue
		}
		if have, ok := p.at(m); ok && have.rev >= at.rev {
			continue
		}
		if p.seen == nil {
			p.seen = make(map[string]ledgerAt)
		}
		p.seen[m] = at
		p.seenRev, p.whole, p.stale = rev, len(p.part.Machines) == 1, true
	}
}

// tell adds what is known now of the part's ledgers to found, for others that wait for them.
func (p *piece) tell(found map[string]ledgerAt, rev int64) {
	for m, at := range p.seen {
		if at.ledger != nil {
			found[m] = at
		}
	}
	if p.decided {
		for _, l := range p.decision.Ledgers {
			found[l.Machine] = ledgerAt{cellstate.WithRev(l, rev).(*cellstate.Ledger), rev}
		}
	}
}

// ops is how many operations the request counts for at its own level: etcd takes the most of compares, puts and gets.
func (p *piece) ops() int { return len(p.part.Machines) }

// check returns an error if the piece alone is more than etcd takes.
func (p *piece) check(ops, bytes *limit) error {
	n := p.ops()
	if p.call.txn.Fence != nil {
		n++
	}
	for _, c := range []struct {
		n   int
		lim *limit
	}{{n, ops}, {p.size + requestBytes, bytes}} {
		if !c.lim.allows(c.n) {
			return &cellstate.OpError{Op: "commit", On: p.call.txn.ID, Err: fmt.Errorf(
				"what cannot be split, %d machines from %s on, needs %d of etcd's %s, and %d is too much: %w",
				len(p.part.Machines), p.part.Machines[0], c.n, c.lim.name, c.lim.least(), cellstate.ErrInvalid)}
		}
	}
	return nil
}

// corrupt notes a value that cannot be read.
func (s *Store) corrupt(key string, err error) {
	s.metrics.corrupt.Inc()
	s.cfg.Log.Error("value cannot be read", zap.String("key", key), zap.Error(err))
}
