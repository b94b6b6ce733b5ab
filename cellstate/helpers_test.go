package cellstate

import (
	"maps"
	"slices"
)

// cell is the smallest View: ledgers by name, with the revisions a store would give them.
type cell struct {
	rev     int64
	ledgers map[string]*Ledger
}

func newCell(ledgers ...*Ledger) *cell {
	v := &cell{rev: 1, ledgers: make(map[string]*Ledger)}
	for _, l := range ledgers {
		v.ledgers[l.Machine] = stamped(l, v.rev)
	}
	return v
}

func stamped(l *Ledger, rev int64) *Ledger { return WithRev(l, rev).(*Ledger) }

func (v *cell) Ledger(machine string) (*Ledger, bool) {
	l, ok := v.ledgers[machine]
	return l, ok
}

func (v *cell) machines() []string { return slices.Sorted(maps.Keys(v.ledgers)) }

// snapshot is what a scheduler keeps while it thinks: ledgers are values, so copying the map is enough.
func (v *cell) snapshot() *cell { return &cell{rev: v.rev, ledgers: maps.Clone(v.ledgers)} }

// store writes the ledgers under one new revision; without ledgers nothing happens.
func (v *cell) store(ledgers ...*Ledger) {
	if len(ledgers) == 0 {
		return
	}
	v.rev++
	for _, l := range ledgers {
		v.ledgers[l.Machine] = stamped(l, v.rev)
	}
}

// claimOf is a claim of one task of one core, to be changed by the caller.
func claimOf(scheduler, job string, task uint32, r Resources) Claim {
	return Claim{ID: ClaimID{Scheduler: scheduler, Job: job, Run: 1, Task: task}, Machine: "m1", JobVersion: 1, Precedence: 100, Resources: r}
}

func cpu(milli int64) Resources { return Resources{CPUMilli: milli} }

func gpu(milli int64) Resources { return Resources{GPUMilli: milli} }

// ledgerOf is a ledger that holds these claims.
func ledgerOf(capacity Resources, claims ...Claim) *Ledger {
	l := NewLedger("m1", capacity)
	l.Claims = claims
	return l.Sum()
}
