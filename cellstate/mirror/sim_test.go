package mirror

import (
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/memstore"
)

// Random histories, with the mirror cut off and the history compacted now and then. After every batch the mirror is the cell
// at its revision (I9), what observers were told adds up to it, and snapshots taken before are as they were.
// It is the same whether the claims of all schedulers, of one or of none are indexed.
func TestRandomHistories(t *testing.T) {
	var tally struct{ compactions, slotsReused, quarantined, batches int }
	for seed := uint64(1); seed <= 60; seed++ {
		synctest.Test(t, func(t *testing.T) {
			origin := memstore.New(memstore.Config{})
			h := &history{rng: rand.New(rand.NewPCG(seed, 0)), store: origin}
			for range 5 {
				h.write(t)
			}
			client := origin.Client()
			m := running(t, Config{Store: client, Schedulers: [][]string{nil, {"s0"}, {}}[seed%3]})
			told := follow(t, m, seed)

			type old struct {
				snap cellstate.Snapshot
				was  contents
			}
			var past []old
			slotOf := map[string]int{}
			for step := range 80 {
				switch h.rng.IntN(12) {
				case 0:
					client.SetAvailable(false)
				case 1:
					client.SetAvailable(true)
				case 2:
					_, rev := listed(t, origin, 0)
					origin.Compact(rev)
					tally.compactions++
				default:
					h.write(t)
				}
				time.Sleep(time.Duration(h.rng.IntN(3)) * time.Second) // lets backoffs pass, in the bubble's time
				synctest.Wait()
				snap := m.Snapshot()
				got := shown(t, snap)
				if want, _ := listedOrSkip(t, origin, snap.Rev()); want != nil && !reflect.DeepEqual(readable(snap, got), want) {
					t.Fatalf("seed %d step %d: I9 broken at revision %d:\n%s", seed, step, snap.Rev(), diff(want, readable(snap, got)))
				}
				if !reflect.DeepEqual(got, told.contents) {
					t.Fatalf("seed %d step %d: observers were told otherwise:\n%s", seed, step, diff(got, told.contents))
				}
				for _, s := range []string{"s0", "s1"} {
					for _, j := range []string{"j0", "j1", "j2"} {
						var have []string
						for c := range snap.Claims(s, j) {
							have = append(have, spell(c.Machine.Name(), c.Claim.ID, c.Status))
						}
						if want := claimsOf(got, s, j); !slices.Equal(have, want) {
							t.Fatalf("seed %d step %d: Claims(%s, %s) = %v, want %v", seed, step, s, j, have, want)
						}
					}
				}
				tally.quarantined += len(m.Quarantined())
				tally.slotsReused += checkSlots(t, slotOf, snap)
				past = append(past, old{snap, got})
			}
			client.SetAvailable(true)
			time.Sleep(2 * backoffMax)
			synctest.Wait()
			want, rev := listed(t, origin, 0)
			if got := readable(m.Snapshot(), shown(t, m.Snapshot())); m.Snapshot().Rev() != rev || !reflect.DeepEqual(got, want) {
				t.Fatalf("seed %d: at the end the mirror is at %d, the cell at %d:\n%s", seed, m.Snapshot().Rev(), rev, diff(want, got))
			}
			for _, o := range past {
				if now := shown(t, o.snap); !reflect.DeepEqual(now, o.was) {
					t.Fatalf("seed %d: the snapshot of revision %d has changed since:\n%s", seed, o.snap.Rev(), diff(o.was, now))
				}
			}
			tally.batches += told.batches
		})
	}
	if tally.compactions == 0 || tally.slotsReused == 0 || tally.quarantined == 0 || tally.batches == 0 {
		t.Errorf("%+v: this no longer tests anything", tally)
	}
}

// readable leaves out what the snapshot still shows of records that cannot be read now.
func readable(snap cellstate.Snapshot, c contents) contents {
	c = maps.Clone(c)
	for _, q := range snap.(*snapshot).bad {
		delete(c, q.Key)
	}
	return c
}

func diff(want, got contents) string {
	return cmp.Diff(want, got, cmp.AllowUnexported(cellstate.Ledger{}))
}

// listedOrSkip is listed, or nil where the revision is compacted already.
func listedOrSkip(t *testing.T, s cellstate.Store, rev int64) (contents, int64) {
	if _, err := s.List(t.Context(), cellstate.Range{}, rev); err != nil || rev == 0 {
		return nil, 0
	}
	return listed(t, s, rev)
}

// checkSlots fails where a machine moved, and counts slots that got another machine.
func checkSlots(t *testing.T, slotOf map[string]int, snap cellstate.Snapshot) (reused int) {
	t.Helper()
	for i := range snap.Len() {
		m := snap.At(i)
		if m == nil {
			continue
		}
		if was, ok := slotOf[m.Name()]; ok && was != i {
			reused++ // it may have been away in between: TestSlotsAreStable looks at one that was not
		}
		slotOf[m.Name()] = i
	}
	return reused
}

// followed is a cell as an observer puts it together from what it is told.
type followed struct {
	contents contents
	rev      int64
	batches  int
}

func follow(t *testing.T, m *Mirror, seed uint64) *followed {
	f := &followed{contents: contents{}}
	first := true
	stop := m.Observe(func(s cellstate.Snapshot, changes []cellstate.Change) {
		if first {
			if changes != nil {
				t.Errorf("seed %d: the first call brought changes", seed)
			}
			f.contents = shown(t, s)
		}
		if s.Rev() <= f.rev && !first && f.rev != 0 {
			t.Errorf("seed %d: revision %d after %d", seed, s.Rev(), f.rev)
		}
		first = false
		f.rev = s.Rev()
		f.batches++
		for _, c := range changes {
			if have := f.contents[c.Key]; have != c.Old || c.Old == nil && c.New == nil || c.Old == c.New {
				t.Errorf("seed %d revision %d: %s changed from %v to %v, but was %v", seed, s.Rev(), c.Key, c.Old, c.New, have)
			}
			if delete(f.contents, c.Key); c.New != nil {
				f.contents[c.Key] = c.New
			}
		}
	})
	t.Cleanup(stop)
	return f
}
