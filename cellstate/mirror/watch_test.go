package mirror

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/memstore"
)

func now() cellstate.Instant { return cellstate.InstantOf(time.Now()) }

// A snapshot is as new as the store was last heard to have nothing newer: from a quiet one too, and no longer while it is
// away. Observers are not told of that alone, and a snapshot that was handed out keeps what it said.
func TestAsOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(memstore.Config{})
		client := store.Client()
		put(t, store, ledger("m1", 1))
		m, err := New(Config{Store: client, Now: now})
		if err != nil {
			t.Fatal(err)
		}
		if asOf := m.Snapshot().AsOf(); asOf != 0 {
			t.Errorf("before anything was heard it is as of %v", asOf)
		}
		m = running(t, Config{Store: client})
		synctest.Wait()
		began, first := now(), m.Snapshot()
		calls := 0
		defer m.Observe(func(cellstate.Snapshot, []cellstate.Change) { calls++ })()
		age := func() time.Duration { return now().Sub(m.Snapshot().AsOf()) }
		time.Sleep(10500 * time.Millisecond)
		synctest.Wait()
		if a := age(); a != 500*time.Millisecond || m.Snapshot().Rev() != first.Rev() || calls != 1 {
			t.Errorf("of a quiet cell the snapshot is %v old, at %d after %d, and was told %d times", a, m.Snapshot().Rev(), first.Rev(), calls)
		}
		if first.AsOf() != began {
			t.Errorf("the first snapshot is as of %v, it was made at %v", first.AsOf(), began)
		}
		client.SetAvailable(false)
		time.Sleep(time.Hour)
		if a := age(); a != time.Hour+500*time.Millisecond {
			t.Errorf("after an hour without the store it is %v old", a)
		}
		client.SetAvailable(true)
		put(t, store, ledger("m1", 2))
		time.Sleep(2 * backoffMax)
		synctest.Wait()
		if a := age(); a > time.Second || calls != 2 {
			t.Errorf("with the store back it is %v old, told %d times", a, calls)
		}
	})
}

// Where a quiet watch says nothing, the store is asked; its answer counts only while the mirror is at the latest revision.
func TestAsOfOfAStoreThatKeepsQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(memstore.Config{Progress: 1000 * time.Hour})
		put(t, store, ledger("m1", 1))
		m := running(t, Config{Store: slow{store, time.Second}})
		synctest.Wait()
		time.Sleep(time.Minute)
		synctest.Wait()
		if age := now().Sub(m.Snapshot().AsOf()); age < time.Second || age > quiet+time.Second {
			t.Errorf("after a quiet minute the snapshot is %v old", age)
		}
		asOf, at := m.Snapshot().AsOf(), m.Snapshot().Rev()
		for _, rev := range []int64{at + 1, at - 1} {
			if err := m.take(&news{Batch: cellstate.Batch{Rev: rev}, at: asOf + 7, asked: true}); err != nil {
				t.Fatal(err)
			}
			if s := m.Snapshot(); s.Rev() != at || (s.AsOf() == asOf) != (rev > at) {
				t.Errorf("with the store at %d, the mirror at %d, it is as of %v at %d", rev, at, s.AsOf(), s.Rev())
			}
		}
	})
}

// slow takes a while to list.
type slow struct {
	cellstate.Store
	takes time.Duration
}

func (s slow) List(ctx context.Context, r cellstate.Range, rev int64) (cellstate.Listing, error) {
	l, err := s.Store.List(ctx, r, rev)
	time.Sleep(s.takes)
	return l, err
}

// A listing shows the cell as it was when it was asked for; news is as old as it is, however late it is applied.
func TestAsOfIsNotWhenItWasApplied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(memstore.Config{Progress: time.Hour})
		put(t, store, ledger("m1", 1))
		began := now()
		m := running(t, Config{Store: slow{store, 5 * time.Second}})
		if s, err := m.Wait(t.Context(), 1); err != nil || s.AsOf() != began {
			t.Errorf("the listing is as of %v, was asked for at %v: %v", s.AsOf(), began, err)
		}
		synctest.Wait()
		block := time.Duration(0)
		defer m.Observe(func(cellstate.Snapshot, []cellstate.Change) { time.Sleep(block) })()
		block = time.Minute
		put(t, store, ledger("m1", 2))
		synctest.Wait()
		time.Sleep(time.Second)
		put(t, store, ledger("m1", 3))
		time.Sleep(time.Second)
		came := now()
		rev := put(t, store, ledger("m1", 4)) // comes with the one before
		if s, err := m.Wait(t.Context(), rev); err != nil || s.AsOf() != came || now().Sub(came) < 50*time.Second {
			t.Errorf("what came at %v is as of %v: %v", came, s.AsOf(), err)
		}
	})
}

// What waits while an observer is busy comes as one snapshot: of each key from its first old to its last new value. Only a
// record that cannot be read comes by itself, for the version before it counts.
func TestWhatWaitsComesTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(memstore.Config{Progress: time.Hour})
		put(t, store, ledger("m1", 1), ledger("m2", 1), ledger("m3", 1))
		m := running(t, Config{Store: store})
		synctest.Wait()
		block := time.Duration(0)
		var told [][]string
		defer m.Observe(func(_ cellstate.Snapshot, c []cellstate.Change) {
			time.Sleep(block)
			told = append(told, changed(c))
		})()
		block = time.Minute
		put(t, store, ledger("m1", 2))
		synctest.Wait()
		block = 0

		put(t, store, ledger("m1", 3), ledger("m2", 3))
		put(t, store, ledger("new", 4), ledger("brief", 4))
		swap(t, store, cellstate.Swap{Delete: []cellstate.Key{cellstate.LedgerKey("m2"), cellstate.LedgerKey("brief")}})
		put(t, store, ledger("m1", 5))
		store.Corrupt(cellstate.LedgerKey("m1"), errors.New("flipped bits"))
		put(t, store, ledger("m3", 6))
		rev := put(t, store, ledger("m3", 7))
		if _, err := m.Wait(t.Context(), rev); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		want := [][]string{
			nil,
			{"ledger m1: 1 → 2"},
			{"ledger m1: 2 → 5", "ledger m2: 1 → -", "ledger new: - → 4"},
			{"ledger m1: 5 → 5"}, // cordoned
			{"ledger m3: 1 → 7"},
		}
		if !slices.EqualFunc(told, want, slices.Equal) {
			t.Errorf("told\n%q, want\n%q", told, want)
		}
		if l, _ := m.Snapshot().Ledger("m1"); !l.Cordoned || l.Capacity.CPUMilli != 5 {
			t.Errorf("the ledger that cannot be read is shown as %+v", l)
		}
	})
}

// A joining changes nothing that the store handed out, for other mirrors may have been given the same; and takes nothing that
// does not follow.
func TestJoinLeavesBatchesAlone(t *testing.T) {
	event := func(cpu int64) cellstate.Event {
		l := ledger("m1", cpu)
		return cellstate.Event{Record: cellstate.Record{Key: l.Key(), Value: l}}
	}
	first, second := make([]cellstate.Event, 1, 8), []cellstate.Event{event(2)}
	first[0] = event(1)
	n := &news{Batch: cellstate.Batch{Rev: 2, Events: first}, legible: true}
	if !n.join(&news{Batch: cellstate.Batch{Rev: 3, Events: second}, legible: true}) || len(n.Events) != 1 || n.Rev != 3 {
		t.Fatalf("joined: %+v", n)
	}
	for _, o := range []*news{
		{Batch: cellstate.Batch{Rev: 2}, legible: true},
		{Batch: cellstate.Batch{Rev: 3, Events: second}, legible: true},
		{Batch: cellstate.Batch{Rev: 4}, legible: true, err: cellstate.ErrCompacted},
		{Batch: cellstate.Batch{Rev: 4}, legible: true, asked: true},
	} {
		if n.join(o) || n.Rev != 3 {
			t.Errorf("%+v was joined to revision 3", o)
		}
	}
	if got := first[0].Record.Value.(*cellstate.Ledger).Capacity.CPUMilli; got != 1 {
		t.Errorf("the first batch now holds %d", got)
	}
}
