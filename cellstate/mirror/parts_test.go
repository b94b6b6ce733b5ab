package mirror

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/omegacell/omegacell/cellstate"
)

// The persistent parts of a snapshot are held to a Go map: after every edit they hold the same, and so do all versions before.

func TestVector(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 0))
	var e vectorEdit[int]
	var v vector[int]
	model := map[int]int{}
	type version struct {
		v    vector[int]
		want map[int]int
	}
	var past []version
	check := func(v vector[int], want map[int]int) {
		t.Helper()
		n := 0
		for i := range v.n {
			if p := v.at(i); p != nil {
				if n++; *p != want[i] {
					t.Fatalf("slot %d holds %d, want %d", i, *p, want[i])
				}
			}
		}
		if n != len(want) {
			t.Fatalf("%d slots hold something, want %d", n, len(want))
		}
	}
	for round := range 30 {
		e.begin(v)
		for range rng.IntN(600) {
			i := e.n
			if rng.IntN(3) == 0 && e.n > 0 {
				i = rng.IntN(e.n)
			}
			if rng.IntN(5) == 0 && i < e.n {
				e.clear(i)
				delete(model, i)
				continue
			}
			for range 1 + rng.IntN(2) { // the second time in place
				n := rng.IntN(1000)
				*e.change(i) = n
				model[i] = n
			}
		}
		v = e.vector
		past = append(past, version{v, maps.Clone(model)})
		if round%10 == 9 {
			for _, p := range past {
				check(p.v, p.want)
			}
		}
	}
	if v.n < fan*fan+fan {
		t.Errorf("%d slots: no second branch was begun", v.n)
	}
}

func TestNames(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 0))
	var n names
	model := map[string]int{}
	folded := 0
	for range 400 {
		before, was := n, maps.Clone(model)
		e := namesEdit{names: n}
		for range 1 + rng.IntN(30) {
			name := fmt.Sprint("m", rng.IntN(3000))
			if _, there := model[name]; there && rng.IntN(2) == 0 {
				e.set(name, -1)
				delete(model, name)
			} else {
				e.set(name, len(name)*rng.IntN(100))
				model[name], _ = e.find(name)
			}
		}
		n = e.done()
		if len(n.recent) == 0 {
			if folded++; len(n.all) != len(model) {
				t.Fatalf("%d names are kept of %d", len(n.all), len(model))
			}
		}
		for i := range 3000 {
			name := fmt.Sprint("m", i)
			for _, at := range []struct {
				n    names
				want map[string]int
			}{{n, model}, {before, was}} {
				slot, ok := at.n.find(name)
				if want, there := at.want[name]; ok != there || ok && slot != want {
					t.Fatalf("%s has slot %d, %v; want %d, %v", name, slot, ok, want, there)
				}
			}
		}
		if len(n.recent) > maxRecent {
			t.Fatalf("%d names are recent", len(n.recent))
		}
	}
	if folded < 3 {
		t.Errorf("folded %d times: this no longer tests anything", folded)
	}
}

// Of schedulers whose claims are not to be indexed nothing is, and their claims are found all the same.
func TestIndexOfSome(t *testing.T) {
	im := mustImage(t, []string{"s1", "s3"})
	var events []cellstate.Event
	for _, m := range []string{"m2", "m1"} {
		l := ledger(m, 1)
		for _, s := range []string{"s0", "s1", "s2", "s3"} {
			l.Claims = append(l.Claims, cellstate.Claim{ID: cellstate.ClaimID{Scheduler: s, Job: "j"}})
		}
		events = append(events, cellstate.Event{Record: cellstate.Record{Key: l.Key(), Value: l.Sum()}})
	}
	im.apply(cellstate.Batch{Rev: 2, Events: events}, 1)
	indexed := 0
	for range all[jobEntry](im.now.tables, tableJob) {
		indexed++
	}
	if indexed != 2 {
		t.Errorf("%d jobs are indexed, want those of s1 and s3", indexed)
	}
	for _, s := range []string{"s0", "s1", "s2", "s3", "s4"} {
		got := ""
		for c := range im.now.Claims(s, "j") {
			got += c.Machine.Name() + " "
		}
		if want := map[bool]string{false: "m1 m2 "}[s == "s4"]; got != want {
			t.Errorf("claims of %s lie on %q, want %q", s, got, want)
		}
	}
}
