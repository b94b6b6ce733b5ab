package etcdstore

import "sync"

// doubts are the ledgers that an etcd Txn of unknown outcome may still overwrite, by machine: at which revision its guard takes
// them. While a ledger is at that revision the Txn may only be late. So a refusal that rests on it is not final, lest the late
// one does what was refused, and a piece that has nothing to put rewrites the ledger unchanged: then the late one's guard fails.
type doubts struct {
	mu sync.RWMutex
	of map[string]int64
}

// doubtedMachines bounds doubts. What goes is the oldest: where that many machines are in doubt and nobody has come back to
// them, its etcd Txn is the least likely to be still on its way.
const doubtedMachines = 1 << 15

// add notes that an etcd Txn of unknown outcome puts the machine's ledger if that is at rev.
func (d *doubts) add(machine string, rev int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.of[machine]; !ok && len(d.of) >= doubtedMachines {
		oldest, at := "", int64(0)
		for m, r := range d.of {
			if oldest == "" || r < at || r == at && m < oldest {
				oldest, at = m, r
			}
		}
		delete(d.of, oldest)
	}
	d.of[machine] = max(rev, d.of[machine])
}

// holds reports whether a machine's ledger may still be overwritten if it is at rev.
func (d *doubts) holds(machine string, rev int64) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	r, ok := d.of[machine]
	return ok && r == rev
}

// drop forgets the doubts about ledgers, of machines in order, that etcd said are newer by now, or gone.
func (d *doubts) drop(machines []string, at []ledgerAt) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.of) == 0 {
		return
	}
	for i, m := range machines {
		if r, ok := d.of[m]; ok && (at[i].rev == 0 || at[i].rev > r) {
			delete(d.of, m)
		}
	}
}
