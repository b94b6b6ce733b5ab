package cellstate

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// TestSumSorts: claims come in any order and are found by bisection afterwards.
func TestSumSorts(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for n := range 6 {
		l := NewLedger("m1", cpu(1000))
		for i := range n {
			c := claimOf("batch", "j", uint32(i), cpu(1))
			c.Machine = "elsewhere"
			l.Claims = append(l.Claims, c)
		}
		rng.Shuffle(n, func(i, j int) { l.Claims[i], l.Claims[j] = l.Claims[j], l.Claims[i] })
		l.Sum()
		for i := range n {
			c := l.Find(claimOf("batch", "j", uint32(i), Resources{}).ID)
			if c == nil || c.Machine != "m1" || c != &l.Claims[i] {
				t.Errorf("%d claims: task %d is not in its place: %+v", n, i, c)
			}
		}
	}
}

// TestDerivedLeavesTheOriginal makes ledgers from one that holds extended amounts; what the first sums up is its own.
func TestDerivedLeavesTheOriginal(t *testing.T) {
	fpga := func(n int64) Resources { return Resources{Extended: []Extended{{"fpga", n}}} }
	there := claimOf("batch", "a", 0, fpga(2))
	l := ledgerOf(fpga(10), there)
	for name, change := range map[string]func() *Ledger{
		"with":   func() *Ledger { return l.With(claimOf("batch", "b", 0, fpga(3))) },
		"insert": func() *Ledger { n := l.Clone(); c := claimOf("batch", "b", 0, fpga(3)); n.insert(&c, nil); return n },
		"remove": func() *Ledger { n := l.Clone(); n.remove([]ClaimID{there.ID}); return n },
		"ended":  func() *Ledger { return l.MarkEnded([]ClaimID{there.ID}, 5) },
	} {
		if n := change(); n.Used().Equal(fpga(2)) || !l.Used().Equal(fpga(2)) || len(l.Claims) != 1 || !l.Claims[0].Resources.Equal(fpga(2)) {
			t.Errorf("%s: the new one uses %s, the old one %s of %s", name, n.Used(), l.Used(), l.Claims[0].Resources)
		}
	}
}

// TestRemove takes any set of claims out at once, whatever of it is there and in whatever order it is named.
func TestRemove(t *testing.T) {
	for _, tt := range []struct{ there, gone, left string }{
		{"", "a", ""}, {"abc", "", "abc"}, {"abc", "b", "ac"}, {"abc", "ca", "b"}, {"abc", "cxba", ""}, {"abc", "x", "abc"}, {"abc", "aa", "bc"},
	} {
		l := NewLedger("m1", cpu(1000))
		for i, job := range strings.Split(tt.there, "") {
			l.Claims = append(l.Claims, lasting(job, 1<<i, Instant(i), 0))
		}
		l.Sum()
		var ids []ClaimID
		for _, job := range strings.Split(tt.gone, "") {
			ids = append(ids, lasting(job, 0, 0, 0).ID)
		}
		named := slices.Clone(ids)
		l.remove(ids)
		left := ""
		for i := range l.Claims {
			left += l.Claims[i].ID.Job
		}
		if fresh := l.Clone().Sum(); left != tt.left || !fresh.used.Equal(l.used) || fresh.lastStart != l.lastStart {
			t.Errorf("%s without %s: %s, using %s", tt.there, tt.gone, left, l.used)
		}
		if !slices.Equal(ids, named) {
			t.Errorf("remove put its argument in another order: %v", ids)
		}
	}
}

// A copy of a ledger whose last claim went has no room in common with it.
func TestCloneOfEmptied(t *testing.T) {
	l := &Ledger{Machine: "m", Capacity: Resources{CPUMilli: 10}, Claims: make([]Claim, 0, 1)}
	a, b := l.Clone(), l.Clone()
	a.Claims = append(a.Claims, Claim{ID: ClaimID{Job: "a"}})
	b.Claims = append(b.Claims, Claim{ID: ClaimID{Job: "b"}})
	if a.Claims[0].ID.Job != "a" {
		t.Errorf("a holds %v after b was changed", a.Claims[0].ID)
	}
}
