package storetest

import (
	"context"
	"errors"

	"github.com/omegacell/omegacell/cellstate"
)

func leader(holder string) *cellstate.Leader {
	return &cellstate.Leader{Scheduler: "batch", Holder: holder}
}

func testFence(b *bench) {
	b.machines(2, 1000)
	key := cellstate.LeaderKey("batch", 0)
	b.put(leader("one"))
	t := txn(b.basis(), claim(0, "m0", 1), claim(1, "m1", 1))
	t.Fence = &cellstate.Fence{Key: key, CreateRev: b.get(key).CreateRev}
	b.put(leader("one, still")) // another revision of the same creation
	b.wantVerdict(t, "+0 +1")

	b.swap(cellstate.Swap{Delete: []cellstate.Key{key}})
	late := txn(b.basis(), claim(2, "m0", 1), claim(3, "m1", 1))
	late.Fence = t.Fence
	b.wantVerdict(late, "-2:fenced -3:fenced")
	b.put(leader("two"))
	late.Mode = cellstate.AllOrNothing
	b.wantVerdict(late, "-2:fenced -3:fenced")
	b.wantTasks("m0", "0")
}

func testSwapGuards(b *bench) {
	key := cellstate.LeaderKey("batch", 0)
	absent := cellstate.Swap{Guards: []cellstate.Guard{{Key: key}}, Put: []cellstate.Put{{Value: leader("one")}}}
	first := b.swap(absent)
	if !first.OK || first.Rev == 0 {
		b.Fatalf("guarded by absence on an empty cell: %+v", first)
	}
	second := b.swap(absent)
	if second.OK || len(second.Now) != 1 || second.Now[0].Rev != first.Rev || second.Rev < first.Rev {
		b.Fatalf("guarded by absence of what is there: %+v", second)
	}
	if l := second.Now[0].Value.(*cellstate.Leader); l.Holder != "one" {
		b.Errorf("Now holds leader %q", l.Holder)
	}
	update := cellstate.Swap{Guards: []cellstate.Guard{{Key: key, Rev: first.Rev}}, Put: []cellstate.Put{{Value: leader("two")}}}
	third := b.swap(update)
	if !third.OK || third.Rev <= first.Rev {
		b.Fatalf("guarded by the right revision: %+v", third)
	}
	// Now comes in the order of the guards, with the zero Rev for what is not there.
	update.Guards = append([]cellstate.Guard{{Key: cellstate.TenantKey("nobody"), Rev: 3}}, update.Guards...)
	fourth := b.swap(update)
	if fourth.OK || len(fourth.Now) != 2 || fourth.Now[0].Rev != 0 || fourth.Now[0].Key != cellstate.TenantKey("nobody") ||
		fourth.Now[1].Rev != third.Rev {
		b.Errorf("two guards that do not hold: %+v", fourth)
	}
}

func testSwapAllOrNone(b *bench) {
	sw := cellstate.Swap{
		Guards: []cellstate.Guard{{Key: cellstate.TenantKey("a"), Rev: 99}},
		Put:    []cellstate.Put{{Value: &cellstate.Tenant{Name: "b"}}, {Value: &cellstate.Tenant{Name: "c"}}},
	}
	if b.swap(sw).OK {
		b.Fatal("a guard on what is not there holds")
	}
	if l := b.list(cellstate.Range{}, 0); len(l.Records) != 0 {
		b.Fatalf("a refused swap wrote %v", l.Records)
	}
	sw.Guards = nil
	got := b.swap(sw)
	for _, name := range []string{"b", "c"} {
		r := b.get(cellstate.TenantKey(name))
		if r.Rev != got.Rev {
			b.Errorf("tenant %s has revision %d, want the swap's %d", name, r.Rev, got.Rev)
		}
		if v := r.Value.(*cellstate.Tenant); v.Rev != got.Rev {
			b.Errorf("the value of tenant %s has revision %d, want %d", name, v.Rev, got.Rev)
		}
	}
}

func testSwapUnchanged(b *bench) {
	rev := b.machines(3, 1000)
	b.put(&cellstate.Tenant{Name: "later"}) // outside of the range
	ledgers := cellstate.Range{Kind: cellstate.KindLedger}
	guarded := func(rev int64) bool {
		return b.swap(cellstate.Swap{
			Unchanged: []cellstate.RangeGuard{{Range: ledgers, Rev: rev}},
			Put:       []cellstate.Put{{Value: &cellstate.Tenant{Name: "t"}}},
		}).OK
	}
	if !guarded(rev) {
		b.Error("nothing was written after the revision, and the guard does not hold")
	}
	if guarded(rev - 1) {
		b.Error("the range was written after the revision, and the guard holds")
	}
	later := b.wantVerdict(txn(b.basis(), claim(0, "m1", 1)), "+0").Rev
	if guarded(rev) {
		b.Error("one key of the range was written after the revision, and the guard holds")
	}
	if !guarded(later) {
		b.Error("the guard does not hold at the later revision")
	}
	one := cellstate.Swap{Unchanged: []cellstate.RangeGuard{{Range: cellstate.LedgerKey("m0").Only(), Rev: rev}}}
	if !b.swap(one).OK {
		b.Error("m0 was not written after the revision, and the guard on it alone does not hold")
	}
}

func testSwapDelete(b *bench) {
	rev := b.put(&cellstate.Tenant{Name: "a"})
	key := cellstate.TenantKey("a")
	if b.swap(cellstate.Swap{Guards: []cellstate.Guard{{Key: key, Rev: rev + 1}}, Delete: []cellstate.Key{key}}).OK {
		b.Error("a delete with a guard that does not hold happened")
	}
	if !b.swap(cellstate.Swap{Guards: []cellstate.Guard{{Key: key, Rev: rev}}, Delete: []cellstate.Key{key}}).OK {
		b.Error("a delete with a guard that holds was refused")
	}
	if r := b.get(key); r.Rev != 0 || r.Value != nil {
		b.Errorf("a deleted key reads %+v", r)
	}
	again := b.put(&cellstate.Tenant{Name: "a"})
	if r := b.get(key); r.CreateRev != again {
		b.Errorf("created again at %d, CreateRev %d", again, r.CreateRev)
	}
}

func testSwapInvalid(b *bench) {
	for _, tt := range []struct {
		name string
		sw   cellstate.Swap
	}{
		{"put twice", cellstate.Swap{Put: []cellstate.Put{{Value: leader("a")}, {Value: leader("b")}}}},
		{"put and deleted", cellstate.Swap{Put: []cellstate.Put{{Value: leader("a")}}, Delete: []cellstate.Key{cellstate.LeaderKey("batch", 0)}}},
		{"no value", cellstate.Swap{Put: []cellstate.Put{{}}}},
		{"bad name", cellstate.Swap{Put: []cellstate.Put{{Value: &cellstate.Tenant{Name: "a/b"}}}}},
	} {
		if _, err := b.s.Swap(b.Context(), tt.sw); !errors.Is(err, cellstate.ErrInvalid) {
			b.Errorf("%s: error %v, want %v", tt.name, err, cellstate.ErrInvalid)
		}
	}
	ctx, cancel := context.WithCancel(b.Context())
	cancel()
	if _, err := b.s.Swap(ctx, cellstate.Swap{Put: []cellstate.Put{{Value: leader("a")}}}); !errors.Is(err, cellstate.ErrUnavailable) {
		b.Errorf("ended context: error %v, want %v", err, cellstate.ErrUnavailable)
	}
	if l := b.list(cellstate.Range{}, 0); len(l.Records) != 0 {
		b.Errorf("an invalid swap wrote %v", l.Records)
	}
}
