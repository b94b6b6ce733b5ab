package etcdstore

import (
	"fmt"
	"testing"

	"github.com/omegacell/omegacell/cellstate"
)

// A ledger under way is recognised by its bytes when the watch is faster than the answer, and never by anything else.
func TestDecodedDrafts(t *testing.T) {
	k := known{of: make(map[string]knownLedger)}
	l := cellstate.NewLedger("m0", cellstate.Resources{CPUMilli: 1})
	k.draft([]*cellstate.Ledger{l}, [][]byte{[]byte("draft")})
	if _, ok := k.get("m0"); ok {
		t.Error("a draft is taken for what is there")
	}
	if k.decoded("m0", 7, []byte("other")) != nil || k.decoded("m1", 7, []byte("draft")) != nil {
		t.Error("another value is taken for the draft")
	}
	got := k.decoded("m0", 7, []byte("draft"))
	if got == nil || got.Rev != 7 || l.Rev != 0 {
		t.Fatalf("the draft reads %+v", got)
	}
	if at, ok := k.get("m0"); !ok || at.ledger != got {
		t.Errorf("known is %+v", at)
	}
	k.put([]string{"m0"}, []ledgerAt{{cellstate.WithRev(l, 7).(*cellstate.Ledger), 7}}) // the answer
	if at, _ := k.get("m0"); at.ledger != got {
		t.Error("the answer replaces what the watch brought at the same revision")
	}
	if k.decoded("m0", 8, []byte("draft")) != nil || k.decoded("m0", 7, nil) != got {
		t.Error("what is known is found at another revision, or not at its own")
	}
	k.put([]string{"m0"}, []ledgerAt{{l, 6}})
	if at, _ := k.get("m0"); at.rev != 7 {
		t.Errorf("an older ledger replaces a newer: revision %d", at.rev)
	}
}

// A store keeps the ledgers of so many machines and no more.
func TestKnownIsBounded(t *testing.T) {
	k := known{of: make(map[string]knownLedger)}
	for i := range knownMachines + 10 {
		m := fmt.Sprint("m", i)
		k.put([]string{m}, []ledgerAt{{cellstate.NewLedger(m, cellstate.Resources{}), int64(i + 1)}})
		if _, ok := k.get(m); !ok {
			t.Fatalf("%s is not there right after", m)
		}
	}
	if len(k.of) != knownMachines {
		t.Errorf("%d machines, want %d", len(k.of), knownMachines)
	}
}
