package etcdstore

import (
	"fmt"
	"slices"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.uber.org/zap"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/wire"
)

// piece is one part of a transaction on its way. Its own goroutine has it first, then the queue under the store's mutex, then
// whoever took it from the queue.
type piece struct {
	store *Store
	call  *call
	part  cellstate.Part
	keys  [][]byte // of the ledgers, by index of part.Machines

	seen    []ledgerAt // what etcd held, at seenRev, once a guard failed or the ledgers were fetched
	seenRev int64
	base    []ledgerAt // the newest that is known: what the decision was made from
	fetch   bool       // some of it is not known: the ledgers have to be asked for
	stacked bool       // the decision was made on top of others', which may not have been carried out
	offered ledgerAt   // of its only machine: the newest that others piled up with it were decided on
	apart   bool       // it was in a pile that etcd did not take, and is not piled up again

	decision cellstate.Decision
	puts     []*cellstate.Ledger // the decision's, and those to be rewritten because they are in doubt
	values   [][]byte            // of puts
	size     int                 // of the request in bytes, at most

	rev       int64 // once decided: where that is visible
	decided   bool
	resent    int
	unsettled bool // it was sent, and whether it was carried out is not known
}

// Ledger implements [cellstate.View].
func (p *piece) Ledger(machine string) (*cellstate.Ledger, bool) {
	i, ok := slices.BinarySearch(p.part.Machines, machine)
	if !ok {
		return nil, false
	}
	return p.base[i].ledger, p.base[i].ledger != nil
}

// newest returns the newest that is known of a machine's ledger, and whether anything is: that a basis has no such machine may
// only mean that it is old.
func (p *piece) newest(i int) (ledgerAt, bool) {
	m := p.part.Machines[i]
	own, ok := p.store.known.get(m)
	if p.seen != nil {
		if ok && own.rev > p.seenRev {
			return own, true
		}
		return p.seen[i], true
	}
	if b := p.call.txn.Basis; b != nil {
		if l, there := b.Ledger(m); there && (!ok || l.Rev >= own.rev) {
			own, ok = ledgerAt{l, l.Rev}, true
		}
	}
	if p.offered.ledger != nil && (!ok || p.offered.rev > own.rev) {
		return p.offered, true
	}
	return own, ok
}

// behind reports whether something newer is known now than the decision was made from, or that is in doubt now.
func (p *piece) behind() bool {
	if p.stacked || p.doubted() || p.seen == nil && p.offered.rev > p.base[0].rev {
		return true
	}
	for i, m := range p.part.Machines {
		if own, ok := p.store.known.get(m); ok && (p.fetch || own.rev > max(p.base[i].rev, p.seenRev)) {
			return true
		}
	}
	return false
}

// doubted reports whether what the decision was made from may still be overwritten by an etcd Txn that is late.
func (p *piece) doubted() bool {
	for i, m := range p.part.Machines {
		if p.store.doubts.holds(m, p.base[i].rev) {
			return true
		}
	}
	return false
}

// withDoubted adds to ledgers to be put, which are in order, those that are to be rewritten as they are.
func (p *piece) withDoubted(puts []*cellstate.Ledger) []*cellstate.Ledger {
	for i, m := range p.part.Machines {
		if l := p.base[i].ledger; l != nil && len(puts) < len(p.part.Machines) && p.store.doubts.holds(m, p.base[i].rev) {
			at, there := slices.BinarySearchFunc(puts, m, func(l *cellstate.Ledger, m string) int { return strings.Compare(l.Machine, m) })
			if !there {
				puts = slices.Insert(slices.Clip(puts), at, l)
			}
		}
	}
	return puts
}

// prepare decides the part on what is known and encodes what it is to put; or finds that the decision is final already. A
// decision on the basis alone never is: the guard has to hold, even if there is nothing to put.
func (p *piece) prepare() error {
	p.fetch, p.stacked, p.puts, p.values = false, false, nil, p.values[:0]
	if p.base == nil {
		p.base = make([]ledgerAt, len(p.part.Machines))
	}
	for i := range p.base {
		at, ok := p.newest(i)
		p.base[i] = at
		p.fetch = p.fetch || !ok
	}
	p.size = 0
	for _, k := range p.keys {
		p.size += 3*len(k) + guardBytes
	}
	if p.fetch {
		return nil
	}
	p.decision = p.call.txn.CommitPart(p, p.part, p.store.cfg.Limits)
	if len(p.decision.Ledgers) == 0 && slices.Equal(p.base, p.seen) && !p.doubted() {
		p.finish(p.seenRev)
		return nil
	}
	p.puts = p.withDoubted(p.decision.Ledgers)
	for _, l := range p.puts {
		b, err := wire.Marshal(l)
		if err != nil {
			return err
		}
		p.values = append(p.values, b)
		p.size += len(b)
	}
	return nil
}

// finish notes that the decision stands. It is visible at the latest of the ledgers that it rests on; where one is not there
// nothing says since when, so that the revision of looking has to do.
func (p *piece) finish(rev int64) {
	p.decided, p.rev = true, rev
	if len(p.decision.Ledgers) > 0 {
		return
	}
	latest := int64(0)
	for _, at := range p.base {
		if at.rev == 0 {
			return
		}
		latest = max(latest, at.rev)
	}
	p.rev = latest
}

// refuse decides the part against the transaction, whatever would fit.
func (p *piece) refuse(why cellstate.Reason, rev int64) {
	p.decision = p.part.Refuse(why)
	p.decided, p.rev = true, rev
}

// lost takes the ledgers as they are, because a guard failed or because they were asked for. Unless the part is then decided,
// it is to be sent again.
func (p *piece) lost(seen []ledgerAt, rev int64) error {
	guardFailed := !p.fetch
	p.seen, p.seenRev = seen, rev
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
// fence still held: the ledgers tell, which seen has then.
func (p *piece) fenced(seen []ledgerAt, rev int64) error {
	if p.unsettled {
		p.seen, p.seenRev = seen, rev
		if err := p.prepare(); err != nil || p.decided {
			return err
		}
		if len(p.decision.Ledgers) == 0 { // what may be late yet does not concern it: that has the fence as a condition too
			p.finish(rev)
			return nil
		}
	}
	p.refuse(cellstate.ReasonFenced, rev)
	return nil
}

// look reads the answers to gets of the part's ledgers.
func (p *piece) look(answers []*pb.ResponseOp) []ledgerAt {
	s := p.store
	seen := make([]ledgerAt, len(p.part.Machines))
	for i, m := range p.part.Machines {
		kvs := answers[i].GetResponseRange().GetKvs()
		if len(kvs) == 0 {
			continue
		}
		seen[i].rev = kvs[0].ModRevision
		v, err := wire.Unmarshal(cellstate.LedgerKey(m), kvs[0].Value, kvs[0].ModRevision)
		if err != nil {
			s.corrupt(string(kvs[0].Key), err)
		} else {
			seen[i].ledger = v.(*cellstate.Ledger)
		}
	}
	s.known.put(p.part.Machines, seen)
	s.doubts.drop(p.part.Machines, seen)
	return seen
}

func (p *piece) keyOf(machine string) []byte {
	i, _ := slices.BinarySearch(p.part.Machines, machine)
	return p.keys[i]
}

// check returns an error if the piece alone is more than etcd takes.
func (p *piece) check(ops, bytes *limit) error {
	n := len(p.part.Machines)
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
