package etcdstore

import (
	"bytes"
	"sync"

	"github.com/omegacell/omegacell/cellstate"
)

// ledgerAt is what etcd holds under a ledger's key. Ledger is nil where there is nothing (rev is 0 then) or nothing readable.
type ledgerAt struct {
	ledger *cellstate.Ledger
	rev    int64
}

// known is the newest that the store's own answers told of machines' ledgers: what it put, and what failed guards brought. So
// a commit whose snapshot has not caught up with its own store has a guard that holds all the same, and what the store itself
// put need not be decoded when the watch brings it. It decides nothing: every guard is checked by etcd. Its ledgers are shared
// with whoever lists or watches.
type known struct {
	mu sync.RWMutex
	of map[string]knownLedger
}

type knownLedger struct {
	ledgerAt
	draft *cellstate.Ledger // under way to etcd, as bytes; nil: none
	bytes []byte
}

// knownMachines bounds known. What goes is any machine's.
const knownMachines = 1 << 15

func (k *known) get(machine string) (ledgerAt, bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	e := k.of[machine]
	return e.ledgerAt, e.ledger != nil
}

// draft notes ledgers about to be sent, with their stored form.
func (k *known) draft(ledgers []*cellstate.Ledger, values [][]byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i, l := range ledgers {
		e := k.entry(l.Machine)
		e.draft, e.bytes = l, values[i]
		k.of[l.Machine] = e
	}
}

// decoded returns the ledger that a machine has at revision rev in the stored form b, or nil if it has to be decoded.
func (k *known) decoded(machine string, rev int64, b []byte) *cellstate.Ledger {
	k.mu.RLock()
	e := k.of[machine]
	k.mu.RUnlock()
	if e.ledger != nil && e.rev == rev {
		return e.ledger
	}
	if e.draft == nil || !bytes.Equal(e.bytes, b) {
		return nil
	}
	l := cellstate.WithRev(e.draft, rev).(*cellstate.Ledger)
	k.put([]string{machine}, []ledgerAt{{l, rev}}) // so that the answer finds it there
	return l
}

// put notes ledgers, of machines in order, that are not older than what is there.
func (k *known) put(machines []string, at []ledgerAt) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i, m := range machines {
		if at[i].ledger == nil {
			continue
		}
		if e := k.entry(m); e.ledger == nil || e.rev < at[i].rev {
			k.of[m] = knownLedger{ledgerAt: at[i]}
		}
	}
}

// entry returns what there is of a machine, after making room for one more.
func (k *known) entry(machine string) knownLedger {
	e, ok := k.of[machine]
	if !ok && len(k.of) >= knownMachines {
		for other := range k.of {
			delete(k.of, other)
			break
		}
	}
	return e
}
