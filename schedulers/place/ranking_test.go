package place

import (
	"cmp"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// After any puts, takes, and changes of groups, the ranking lists what may be drawn in the order that sorting gives.
func TestRanking(t *testing.T) {
	type put struct {
		group *group
		score float64
		cand  int
	}
	rapid.Check(t, func(t *rapid.T) {
		n := func(label string, lo, hi int) int { return rapid.IntRange(lo, hi).Draw(t, label) }
		var r ranking
		for range n("groups", 1, 6) {
			r.add(nil)
		}
		pick := func() *group { return r.all[n("group", 0, len(r.all)-1)] }
		var puts []put // in order
		for cand := range n("steps", 1, 60) {
			switch n("step", 0, 5) {
			case 0, 1, 2:
				p := put{pick(), float64(n("score", 0, 5)), cand}
				puts = append(puts, p)
				r.push(p.group, p.score, p.cand)
			case 3:
				r.rejudge(pick(), float64(n("penalty", 0, 5)), n("shut", 0, 3) == 0)
			case 4:
				if r.ready > 0 {
					k := r.best(r.ready)[n("rank", 0, r.ready-1)]
					got := r.take(k)
					puts = slices.DeleteFunc(puts, func(p put) bool { return p.cand == got })
				}
			}
			var want []int
			open := slices.DeleteFunc(slices.Clone(puts), func(p put) bool { return p.group.shut })
			slices.SortStableFunc(open, func(a, b put) int { return cmp.Compare(b.score-b.group.penalty, a.score-a.group.penalty) })
			for _, p := range open {
				want = append(want, p.cand)
			}
			if r.ready != len(want) {
				t.Fatalf("%d ready, want %d", r.ready, len(want))
			}
			var got []int
			if r.ready > 0 {
				for _, k := range r.best(r.ready) {
					got = append(got, int(k.cand))
				}
			}
			if !slices.Equal(got, want) {
				t.Fatalf("ranked %v, want %v", got, want)
			}
		}
	})
}
