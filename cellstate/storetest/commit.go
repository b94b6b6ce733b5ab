package storetest

import (
	"context"
	"errors"
	"slices"

	"github.com/omegacell/omegacell/cellstate"
)

// wantVerdict commits and compares the verdict as describe gives it.
func (b *bench) wantVerdict(t *cellstate.Txn, want string) cellstate.Verdict {
	b.Helper()
	v := b.commit(t)
	if got := describe(v); got != want {
		b.Fatalf("verdict %q, want %q (%v)", got, want, v.Conflicts)
	}
	if v.Rev == 0 {
		b.Fatal("verdict without a revision")
	}
	return v
}

func (b *bench) wantTasks(machine, want string) {
	b.Helper()
	if got := tasks(b.ledger(machine)); got != want {
		b.Errorf("%s holds tasks %q, want %q", machine, got, want)
	}
}

func testAdds(b *bench) {
	rev := b.machines(2, 1000)
	v := b.wantVerdict(txn(b.basis(), claim(0, "m0", 1000), claim(1, "m1", 400), claim(2, "m1", 600)), "+0 +1 +2")
	b.wantTasks("m0", "0")
	b.wantTasks("m1", "1 2")
	l0, l1 := b.ledger("m0"), b.ledger("m1")
	if l0.Rev <= rev || l0.Rev > v.Rev || l1.Rev > v.Rev {
		b.Errorf("ledgers have revisions %d and %d, created at %d, verdict %d", l0.Rev, l1.Rev, rev, v.Rev)
	}
	if r := b.get(cellstate.LedgerKey("m0")); r.CreateRev != rev || r.Rev != l0.Rev {
		b.Errorf("record has CreateRev %d and Rev %d, want %d and %d", r.CreateRev, r.Rev, rev, l0.Rev)
	}
}

func testPartition(b *bench) {
	b.machines(3, 1000)
	b.wantVerdict(txn(b.basis(), claim(0, "m0", 500), claim(1, "m1", 500), claim(2, "m2", 500)), "+0 +1 +2")
	t := txn(b.basis(),
		claim(10, "m0", 500), claim(11, "m0", 1), // the last that fits, and the first that does not
		claim(12, "nowhere", 1), claim(13, "m2", 501))
	t.Remove = []cellstate.ClaimRef{{Machine: "m1", ID: id(1)}}
	t.Evict = []cellstate.Evict{{ClaimRef: cellstate.ClaimRef{Machine: "m0", ID: id(0)}, Eviction: cellstate.Eviction{Deadline: 1 << 50}}}
	t.Move = []cellstate.Move{{From: "m2", To: claim(2, "m1", 500)}}
	v := b.commit(t)
	if got, want := answered(v), named(t); !slices.Equal(got, want) {
		b.Errorf("verdict names %v, want each of %v once", got, want)
	}
	// The move ties m1 and m2 together. It comes before the adds, so that 13 finds m2 empty.
	if got, want := describe(v), "+0 +1 +2 +10 -11:full -12:no-machine +13"; got != want {
		b.Errorf("verdict %q, want %q", got, want)
	}
	v = b.commit(&cellstate.Txn{ID: "t", Scheduler: "batch", Mode: cellstate.Incremental, Rule: cellstate.FitRule, Basis: b.basis(),
		Add:  []cellstate.Claim{claim(20, "m0", 0), claim(21, "m1", 501)}, // the second does not fit, the move with it
		Move: []cellstate.Move{{From: "m2", To: claim(13, "m1", 501)}}})
	if got, want := describe(v), "-13:full +20 -21:full"; got != want {
		b.Errorf("verdict %q, want %q", got, want)
	}
}

func testRemoves(b *bench) {
	b.machines(1, 1000)
	b.wantVerdict(txn(b.basis(), claim(0, "m0", 1000)), "+0")
	t := txn(b.basis(), claim(1, "m0", 1000))
	t.Remove = []cellstate.ClaimRef{{Machine: "m0", ID: id(0)}}
	b.wantVerdict(t, "+0 +1") // the room is free in the same transaction
	b.wantTasks("m0", "1")
}

func testEvicts(b *bench) {
	b.machines(1, 1000)
	b.wantVerdict(txn(b.basis(), claim(0, "m0", 1000)), "+0")
	evict := func(precedence cellstate.Precedence) *cellstate.Txn {
		c := claim(1, "m0", 1000)
		c.ID.Scheduler, c.Precedence, c.Start, c.After = "service", precedence, 5000, []cellstate.ClaimID{id(0)}
		t := txn(b.basis(), c)
		t.Scheduler = "service"
		t.Evict = []cellstate.Evict{{ClaimRef: cellstate.ClaimRef{Machine: "m0", ID: id(0)},
			Eviction: cellstate.Eviction{Deadline: 5000, By: c.ID}}}
		return t
	}
	b.wantVerdict(evict(100), "-0:precedence -1:full")
	b.wantVerdict(evict(101), "+0 +1")
	if e := b.ledger("m0").Find(id(0)).Evict; e == nil || e.Deadline != 5000 {
		b.Errorf("victim has eviction %v", e)
	}
}

func testMoves(b *bench) {
	b.machines(3, 1000)
	b.wantVerdict(txn(b.basis(), claim(0, "m0", 600), claim(1, "m1", 600)), "+0 +1")
	t := txn(b.basis())
	t.Move = []cellstate.Move{{From: "m0", To: claim(0, "m1", 600)}}
	b.wantVerdict(t, "-0:full")
	b.wantTasks("m0", "0")
	t = txn(b.basis())
	t.Move = []cellstate.Move{{From: "m0", To: claim(0, "m2", 600)}}
	b.wantVerdict(t, "+0")
	b.wantTasks("m0", "")
	b.wantTasks("m2", "0")
	if l0, l2 := b.ledger("m0"), b.ledger("m2"); l0.Rev != l2.Rev {
		b.Errorf("the two ends of a move were written at %d and %d", l0.Rev, l2.Rev)
	}
}

func testNoTrace(b *bench) {
	b.machines(2, 1000)
	before := b.list(cellstate.Range{}, 0)
	b.wantVerdict(txn(b.basis(), claim(0, "m0", 1001)), "-0:full")
	gang := txn(b.basis(), claim(0, "m0", 1000), claim(1, "m1", 1001))
	gang.Mode = cellstate.AllOrNothing
	b.wantVerdict(gang, "-0:abandoned -1:full")
	after := b.list(cellstate.Range{}, 0)
	for i, r := range after.Records {
		if r.Rev != before.Records[i].Rev {
			b.Errorf("%s has revision %d, was %d", r.Key, r.Rev, before.Records[i].Rev)
		}
	}
}

func testGang(b *bench) {
	b.machines(3, 1000)
	t := txn(b.basis(), claim(0, "m0", 1000), claim(1, "m1", 1000), claim(2, "m2", 1000))
	t.Mode = cellstate.AllOrNothing
	b.wantVerdict(t, "+0 +1 +2")
	if a, z := b.ledger("m0").Rev, b.ledger("m2").Rev; a != z {
		b.Errorf("members of a gang were written at %d and %d", a, z)
	}
	t = txn(b.basis(), claim(3, "m0", 0), claim(4, "m1", 1))
	t.Mode = cellstate.AllOrNothing
	b.wantVerdict(t, "-3:abandoned -4:full")
	b.wantTasks("m0", "0")
}

func testSentAgain(b *bench) {
	b.machines(2, 1000)
	t := txn(b.basis(), claim(0, "m0", 600), claim(1, "m1", 600))
	b.wantVerdict(t, "+0 +1")
	rev := b.ledger("m0").Rev
	b.wantVerdict(t, "+0 +1") // on its old basis, on which it would still fit
	b.wantTasks("m0", "0")
	if got := b.ledger("m0").Rev; got != rev {
		b.Errorf("sending again wrote the ledger: revision %d, was %d", got, rev)
	}
	b.wantVerdict(txn(b.basis(), claim(0, "m0", 601)), "-0:duplicate")
}

func testSentAgainSeq(b *bench) {
	b.machines(1, 1000)
	t := txn(b.basis(), claim(0, "m0", 600))
	t.Rule = cellstate.SeqRule
	b.wantVerdict(t, "+0")
	b.wantVerdict(t, "+0")
	b.wantTasks("m0", "0")
}

func testWithoutBasis(b *bench) {
	b.machines(2, 1000)
	b.wantVerdict(txn(nil, claim(0, "m0", 1000), claim(1, "m1", 1001), claim(2, "nowhere", 1)), "+0 -1:full -2:no-machine")
	b.wantTasks("m0", "0")
}

func testStaleBasis(b *bench) {
	b.wantVerdict(txn(view{}, claim(9, "m0", 1)), "-9:no-machine")
	b.machines(1, 1000)
	b.wantVerdict(txn(b.basis(), claim(0, "m0", 1000)), "+0")
	full := b.basis()
	t := txn(full)
	t.Remove = []cellstate.ClaimRef{{Machine: "m0", ID: id(0)}}
	b.wantVerdict(t, "+0")
	b.wantVerdict(txn(full, claim(1, "m0", 1000)), "+1")     // the basis says full, the cell does not
	b.wantVerdict(txn(view{}, claim(2, "m0", 1)), "-2:full") // the basis says no machine
}

func testUnreadableLedger(b *bench) {
	b.machines(2, 1000)
	basis := b.basis()
	b.cell.Corrupt(cellstate.LedgerKey("m0"))
	b.wantVerdict(txn(basis, claim(0, "m0", 1), claim(1, "m1", 1)), "-0:no-machine +1")
	b.wantVerdict(txn(nil, claim(0, "m0", 1)), "-0:no-machine")
	if r := b.get(cellstate.LedgerKey("m0")); r.Err == nil {
		b.Error("the unreadable record was written over")
	}
}

func testInvalidTxn(b *bench) {
	b.machines(1, 1000)
	t := txn(nil, claim(0, "m0", 1), claim(0, "m0", 1))
	if _, err := b.s.Commit(b.Context(), t); !errors.Is(err, cellstate.ErrInvalid) {
		b.Errorf("a claim named twice: error %v, want %v", err, cellstate.ErrInvalid)
	}
	b.wantTasks("m0", "")
}

func testVerdictRev(b *bench) {
	b.machines(1, 1000)
	stale := b.basis()
	v := b.wantVerdict(txn(stale, claim(0, "m0", 700)), "+0")
	b.listHas(v.Rev, "m0", "0")
	v = b.wantVerdict(txn(stale, claim(1, "m0", 700)), "-1:full")
	b.listHas(v.Rev, "m0", "0") // what refused it is visible at the verdict's revision
}

func (b *bench) listHas(rev int64, machine, want string) {
	b.Helper()
	l := b.list(cellstate.LedgerKey(machine).Only(), rev)
	if len(l.Records) != 1 {
		b.Fatalf("%d ledgers of %s at revision %d", len(l.Records), machine, rev)
	}
	if got := tasks(l.Records[0].Value.(*cellstate.Ledger)); got != want {
		b.Errorf("at revision %d %s holds %q, want %q", rev, machine, got, want)
	}
}

func testEndedContext(b *bench) {
	b.machines(1, 1000)
	ctx, cancel := context.WithCancel(b.Context())
	cancel()
	_, err := b.s.Commit(ctx, txn(nil, claim(0, "m0", 1)))
	if !errors.Is(err, cellstate.ErrUnavailable) || !errors.Is(err, context.Canceled) {
		b.Errorf("error %v, want %v of %v: nothing was sent", err, cellstate.ErrUnavailable, context.Canceled)
	}
	b.wantTasks("m0", "")
}

func testEmptyTxn(b *bench) {
	b.machines(1, 1000)
	v := b.commit(txn(nil))
	if len(answered(v)) > 0 {
		b.Errorf("verdict %v of an empty transaction", v)
	}
}

// testManyMachines has more machines than a store with small limits writes at once.
func testManyMachines(b *bench) {
	const n = 600
	for at := 0; at < n; at += 50 {
		var sw cellstate.Swap
		for i := at; i < at+50; i++ {
			sw.Put = append(sw.Put, cellstate.Put{Value: cellstate.NewLedger(machine(i), cellstate.Resources{CPUMilli: 1000})})
		}
		b.swap(sw)
	}
	t := txn(b.basis())
	for i := range n {
		t.Add = append(t.Add, claim(i, machine(i), 1000))
	}
	t.Add[17].Resources.CPUMilli++
	v := b.commit(t)
	if len(v.Committed) != n-1 || len(v.Conflicts) != 1 || v.Conflicts[0].ID != id(17) {
		b.Fatalf("%d committed, conflicts %v; want %d and task 17", len(v.Committed), v.Conflicts, n-1)
	}
	for _, r := range b.list(cellstate.Range{Kind: cellstate.KindLedger}, v.Rev).Records {
		if l := r.Value.(*cellstate.Ledger); len(l.Claims) != 1 && l.Machine != "m17" {
			b.Errorf("%s holds %d claims at the verdict's revision", l.Machine, len(l.Claims))
		}
	}
}
