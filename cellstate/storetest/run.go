package storetest

import (
	"testing"

	"github.com/omegacell/omegacell/cellstate"
)

// Cell is one new, empty cell under test.
type Cell struct {
	// Open returns another client of the cell. The test cleans up after it.
	Open func() cellstate.Store
	// Compact forgets the history before rev.
	Compact func(rev int64)
	// Corrupt puts something at the key that cannot be read.
	Corrupt func(k cellstate.Key)
	// Cut ends a client that Open returned as if its process had died: its leases run out.
	Cut func(s cellstate.Store)
}

// Run tests a store, in subtests with a new cell each.
func Run(t *testing.T, fresh func(t *testing.T) Cell) {
	for _, tt := range []struct {
		name string
		test func(b *bench)
	}{
		{"commit/adds", testAdds},
		{"commit/verdict partitions", testPartition},
		{"commit/removes", testRemoves},
		{"commit/evicts", testEvicts},
		{"commit/moves", testMoves},
		{"commit/refused leaves no trace", testNoTrace},
		{"commit/gang", testGang},
		{"commit/sent again", testSentAgain},
		{"commit/sent again under seq", testSentAgainSeq},
		{"commit/without basis", testWithoutBasis},
		{"commit/stale basis refuses nothing", testStaleBasis},
		{"commit/unreadable ledger", testUnreadableLedger},
		{"commit/invalid", testInvalidTxn},
		{"commit/revision is enough to plan again", testVerdictRev},
		{"commit/ended context", testEndedContext},
		{"commit/empty", testEmptyTxn},
		{"commit/many machines", testManyMachines},
		{"race/seq and fit", testSeqAndFit},
		{"race/hammer", testHammer},
		{"fence/holds and does not", testFence},
		{"swap/guards", testSwapGuards},
		{"swap/all or none", testSwapAllOrNone},
		{"swap/unchanged", testSwapUnchanged},
		{"swap/delete", testSwapDelete},
		{"swap/invalid", testSwapInvalid},
		{"list/ranges", testListRanges},
		{"list/at a revision", testListAt},
		{"list/unreadable", testListUnreadable},
		{"watch/whole revisions without gaps", testWatchWhole},
		{"watch/from a past revision", testWatchPast},
		{"watch/from now", testWatchNow},
		{"watch/range", testWatchRange},
		{"watch/compacted", testWatchCompacted},
		{"watch/unreadable", testWatchUnreadable},
		{"watch/ended context", testWatchEnded},
		{"lease/close", testLeaseClose},
		{"lease/runs out", testLeaseRunsOut},
		{"lease/unknown", testLeaseUnknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := fresh(t)
			tt.test(&bench{T: t, cell: c, s: c.Open()})
		})
	}
}

// bench is a cell with its first client, and shorthands that fail the test on an error.
type bench struct {
	*testing.T
	cell Cell
	s    cellstate.Store
}

// machines creates ledgers m0 … m(n−1) with so much CPU, in one revision, and returns it.
func (b *bench) machines(n int, milli int64) int64 {
	b.Helper()
	var sw cellstate.Swap
	for i := range n {
		sw.Put = append(sw.Put, cellstate.Put{Value: cellstate.NewLedger(machine(i), cellstate.Resources{CPUMilli: milli})})
	}
	return b.swap(sw).Rev
}

func (b *bench) swap(sw cellstate.Swap) cellstate.Swapped {
	b.Helper()
	got, err := b.s.Swap(b.Context(), sw)
	if err != nil {
		b.Fatalf("Swap: %v", err)
	}
	return got
}

func (b *bench) put(v cellstate.Value) int64 {
	b.Helper()
	return b.swap(cellstate.Swap{Put: []cellstate.Put{{Value: v}}}).Rev
}

func (b *bench) commit(t *cellstate.Txn) cellstate.Verdict {
	b.Helper()
	v, err := b.s.Commit(b.Context(), t)
	if err != nil {
		b.Fatalf("Commit: %v", err)
	}
	return v
}

func (b *bench) list(r cellstate.Range, rev int64) cellstate.Listing {
	b.Helper()
	l, err := b.s.List(b.Context(), r, rev)
	if err != nil {
		b.Fatalf("List %v at %d: %v", r, rev, err)
	}
	return l
}

func (b *bench) get(k cellstate.Key) cellstate.Record {
	b.Helper()
	r, err := cellstate.Get(b.Context(), b.s, k)
	if err != nil {
		b.Fatalf("Get %s: %v", k, err)
	}
	return r
}

func (b *bench) ledger(machine string) *cellstate.Ledger {
	b.Helper()
	l, ok := b.get(cellstate.LedgerKey(machine)).Value.(*cellstate.Ledger)
	if !ok {
		b.Fatalf("no ledger of %s", machine)
	}
	return l
}

// basis reads all ledgers.
func (b *bench) basis() view {
	b.Helper()
	v, err := basisOf(b.s, b.T)
	if err != nil {
		b.Fatalf("List of ledgers: %v", err)
	}
	return v
}

func basisOf(s cellstate.Store, t *testing.T) (view, error) {
	l, err := s.List(t.Context(), cellstate.Range{Kind: cellstate.KindLedger}, 0)
	v := make(view)
	for _, r := range l.Records {
		if led, ok := r.Value.(*cellstate.Ledger); ok {
			v[led.Machine] = led
		}
	}
	return v, err
}

// view is a snapshot of ledgers.
type view map[string]*cellstate.Ledger

func (v view) Ledger(machine string) (*cellstate.Ledger, bool) {
	l, ok := v[machine]
	return l, ok
}
