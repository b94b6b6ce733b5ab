package mirror

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	zapobserver "go.uber.org/zap/zaptest/observer"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/memstore"
)

func ledger(machine string, cpu int64) *cellstate.Ledger {
	return cellstate.NewLedger(machine, cellstate.Resources{CPUMilli: cpu})
}

// changed describes changes as "key: old → new", by the revision of ledgers and the epoch of sessions.
func changed(changes []cellstate.Change) []string {
	var out []string
	spell := func(v cellstate.Value) string {
		switch v := v.(type) {
		case *cellstate.Ledger:
			return fmt.Sprint(v.Capacity.CPUMilli)
		case *cellstate.Session:
			return fmt.Sprint("epoch ", v.Epoch)
		}
		return "-"
	}
	for _, c := range changes {
		out = append(out, fmt.Sprintf("%s: %s → %s", c.Key, spell(c.Old), spell(c.New)))
	}
	return out
}

// A mirror that was cut off while its history was compacted sees exactly what differs, as one batch, and never less than it
// had before.
func TestCompactionUnderAPausedMirror(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(memstore.Config{})
		client := store.Client()
		put(t, store, ledger("same", 1), ledger("changed", 2), ledger("gone", 3), ledger("back", 4), &cellstate.Session{Machine: "same", Epoch: 7})
		m := running(t, Config{Store: client})
		synctest.Wait()
		var batches [][]string
		defer m.Observe(func(s cellstate.Snapshot, c []cellstate.Change) {
			if _, ok := s.Machine("same"); !ok {
				t.Errorf("revision %d has lost the machine that nobody touched", s.Rev())
			}
			batches = append(batches, changed(c))
		})()

		client.SetAvailable(false)
		put(t, store, ledger("changed", 20), ledger("new", 5))
		swap(t, store, cellstate.Swap{Delete: []cellstate.Key{cellstate.LedgerKey("gone"), cellstate.LedgerKey("back")}})
		rev := put(t, store, ledger("back", 40))
		store.Compact(rev)
		time.Sleep(time.Minute)
		if n := len(batches); n != 1 {
			t.Fatalf("%d batches came through a cut", n-1)
		}
		client.SetAvailable(true)
		if s, err := m.Wait(t.Context(), rev); err != nil || s.Rev() != rev {
			t.Fatal(s, err)
		}
		synctest.Wait()
		want := []string{"ledger back: 4 → 40", "ledger changed: 2 → 20", "ledger new: - → 5", "ledger gone: 3 → -"}
		if len(batches) != 2 || !slices.Equal(batches[1], want) {
			t.Errorf("batches %q, want one more, %q", batches, want)
		}
	})
}

// A short interruption without compaction lists nothing: the watch goes on where it ended.
func TestInterruptedWatchGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(memstore.Config{})
		client := &counting{Store: store.Client()}
		put(t, store, ledger("m1", 1))
		m := running(t, Config{Store: client})
		synctest.Wait()
		client.Store.(*memstore.Store).SetAvailable(false)
		put(t, store, ledger("m1", 2))
		rev := put(t, store, ledger("m1", 3))
		time.Sleep(time.Hour)
		// Down for an hour: at most one try in half of backoffMax, after the first few.
		if n := client.watches.Load(); n < 100 || n > int64(time.Hour/(backoffMax/2))+10 {
			t.Errorf("%d watches were tried in an hour", n)
		}
		var revs []int64
		defer m.Observe(func(s cellstate.Snapshot, _ []cellstate.Change) { revs = append(revs, s.Rev()) })()
		client.Store.(*memstore.Store).SetAvailable(true)
		if _, err := m.Wait(t.Context(), rev); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if want := []int64{rev - 2, rev}; !slices.Equal(revs, want) { // what waited came together
			t.Errorf("observed revisions %v, want %v", revs, want)
		}
		if n := client.lists.Load(); n != 1 {
			t.Errorf("listed %d times", n)
		}
	})
}

// counting counts calls and may change what Watch brings.
type counting struct {
	cellstate.Store
	lists, watches atomic.Int64
	watch          func(n int64, w iter.Seq2[cellstate.Batch, error]) iter.Seq2[cellstate.Batch, error]
}

func (c *counting) List(ctx context.Context, r cellstate.Range, rev int64) (cellstate.Listing, error) {
	c.lists.Add(1)
	return c.Store.List(ctx, r, rev)
}

func (c *counting) Watch(ctx context.Context, r cellstate.Range, from int64) iter.Seq2[cellstate.Batch, error] {
	n := c.watches.Add(1)
	w := c.Store.Watch(ctx, r, from)
	if c.watch != nil {
		return c.watch(n, w)
	}
	return w
}

// However a watch ends, and whatever it brings twice, the mirror lists again and goes on.
func TestWatchThatEndsOtherwise(t *testing.T) {
	for name, first := range map[string]func(yield func(cellstate.Batch, error) bool){
		"without an error": func(func(cellstate.Batch, error) bool) {},
		"with an odd error": func(yield func(cellstate.Batch, error) bool) {
			yield(cellstate.Batch{}, errors.New("odd"))
		},
		"going back": func(yield func(cellstate.Batch, error) bool) {
			yield(cellstate.Batch{Rev: 1, Events: []cellstate.Event{{Record: cellstate.Record{Key: cellstate.LedgerKey("m1"), Rev: 1}, Deleted: true}}}, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := memstore.New(memstore.Config{})
				put(t, store, ledger("m1", 1))
				client := &counting{Store: store, watch: func(n int64, w iter.Seq2[cellstate.Batch, error]) iter.Seq2[cellstate.Batch, error] {
					if n == 1 {
						return first
					}
					return w
				}}
				m := running(t, Config{Store: client})
				synctest.Wait()
				if _, ok := m.Snapshot().Machine("m1"); !ok {
					t.Error("the machine is gone")
				}
				rev := put(t, store, ledger("m2", 1))
				if _, err := m.Wait(t.Context(), rev); err != nil {
					t.Fatal(err)
				}
				if n := client.lists.Load(); n != 2 {
					t.Errorf("listed %d times, want 2", n)
				}
			})
		})
	}
}

// A store that lists something older than what was shown is not believed.
func TestRevisionNeverGoesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(memstore.Config{})
		put(t, store, ledger("m1", 1))
		rev := put(t, store, ledger("m1", 2))
		client := &stale{Store: store}
		client.at.Store(rev)
		m := running(t, Config{Store: client})
		synctest.Wait()
		client.at.Store(rev - 1)
		time.Sleep(time.Minute)
		synctest.Wait()
		if l, _ := m.Snapshot().Ledger("m1"); m.Snapshot().Rev() != rev || l.Capacity.CPUMilli != 2 {
			t.Errorf("revision %d after %d", m.Snapshot().Rev(), rev)
		}
	})
}

// stale lists as of one revision, and cannot be watched.
type stale struct {
	cellstate.Store
	at atomic.Int64
}

func (s *stale) List(ctx context.Context, r cellstate.Range, _ int64) (cellstate.Listing, error) {
	return s.Store.List(ctx, r, s.at.Load())
}

func (s *stale) Watch(context.Context, cellstate.Range, int64) iter.Seq2[cellstate.Batch, error] {
	return func(yield func(cellstate.Batch, error) bool) {
		yield(cellstate.Batch{}, cellstate.ErrCompacted)
	}
}

// Of a corrupt record the last good version stays, of a ledger cordoned; it is named once however often it is written, and the
// next good value heals it. One of which no good version was ever seen is absent.
func TestQuarantine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(memstore.Config{})
		client := store.Client()
		core, logs := zapobserver.New(zap.ErrorLevel)
		reg := prometheus.NewRegistry()
		put(t, store, ledger("m1", 1), ledger("m2", 2), &cellstate.Session{Machine: "m2", Epoch: 1}, &cellstate.Tenant{Name: "t"})
		m := running(t, Config{Store: client, Log: zap.New(core), Metrics: reg})
		synctest.Wait()
		slot := func(name string) int {
			v, ok := m.Snapshot().Machine(name)
			if !ok {
				return -1
			}
			return v.Slot
		}
		m1, m2 := slot("m1"), slot("m2")
		var last []string
		defer m.Observe(func(_ cellstate.Snapshot, c []cellstate.Change) { last = changed(c) })()

		store.Corrupt(cellstate.LedgerKey("m1"), errors.New("flipped bits"))
		store.Corrupt(cellstate.TenantKey("t"), errors.New("flipped bits"))
		store.Corrupt(cellstate.SessionKey("m2"), errors.New("flipped bits"))
		store.Corrupt(cellstate.TenantKey("never"), errors.New("flipped bits"))
		store.Corrupt(cellstate.LedgerKey("m1"), errors.New("worse"))
		synctest.Wait()
		if v := m.Snapshot().At(m1); v == nil || !v.Ledger.Cordoned || v.Ledger.Capacity.CPUMilli != 1 {
			t.Errorf("a machine with a corrupt ledger is shown as %+v", v)
		}
		if _, ok := m.Snapshot().Tenant("t"); !ok {
			t.Error("a tenant that became corrupt is not shown")
		}
		if _, ok := m.Snapshot().Tenant("never"); ok {
			t.Error("a tenant that was never readable is shown")
		}
		if v := m.Snapshot().At(m2); v.Session == nil || v.LostAt != 0 {
			t.Errorf("a session that became corrupt counts as none: %+v", v)
		}
		if last != nil {
			t.Errorf("a second corruption changed %q", last)
		}
		bad := m.Quarantined()
		if len(bad) != 4 || fmt.Sprint(bad["ledger m1"]) != "worse" || bad["tenant t"] == nil || bad["session m2"] == nil {
			t.Errorf("quarantined %v", bad)
		}
		if n := logs.FilterField(zap.String("key", "ledger m1")).Len(); n != 1 || logs.Len() != 4 {
			t.Errorf("logged %d times, %d lines in all: %v", n, logs.Len(), logs.All())
		}
		if n := sample(t, reg, "omegacell_mirror_quarantined_total", "ledger"); n != 1 {
			t.Errorf("counted %v corrupt ledgers", n)
		}

		// A rebuild neither forgets nor repeats it.
		client.SetAvailable(false)
		rev := put(t, store, ledger("m3", 3))
		store.Compact(rev)
		client.SetAvailable(true)
		time.Sleep(time.Minute)
		synctest.Wait()
		if want := []string{"ledger m3: - → 3"}; !slices.Equal(last, want) || len(m.Quarantined()) != 4 || logs.Len() != 4 {
			t.Errorf("the rebuild changed %q, quarantines %v, logged %d lines", last, m.Quarantined(), logs.Len())
		}

		put(t, store, ledger("m1", 4))
		swap(t, store, cellstate.Swap{Delete: []cellstate.Key{cellstate.TenantKey("t")}})
		synctest.Wait()
		if v := m.Snapshot().At(m1); v == nil || v.Ledger.Cordoned || v.Ledger.Capacity.CPUMilli != 4 || len(m.Quarantined()) != 2 {
			t.Errorf("not healed: %+v, %v", v, m.Quarantined())
		}
		if _, ok := m.Snapshot().Tenant("t"); ok {
			t.Error("a corrupt tenant that was deleted is still shown")
		}
		if n := sample(t, reg, "omegacell_mirror_quarantined", ""); n != 2 {
			t.Errorf("the gauge says %v", n)
		}
	})
}

// sample reads one metric; label is the value of its only label, if it has one.
func sample(t *testing.T, reg *prometheus.Registry, name, label string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			if label == "" || m.GetLabel()[0].GetValue() == label {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	t.Fatalf("no metric %s{%s}", name, label)
	return 0
}

// What stands at a key that nobody can read, or is not what its key says, is quarantined too.
func TestQuarantineOfWhatTheStoreBrings(t *testing.T) {
	im, err := newImage(nil)
	if err != nil {
		t.Fatal(err)
	}
	event := func(r cellstate.Record) cellstate.Event { return cellstate.Event{Record: r} }
	odd := cellstate.Record{Rev: 2, Raw: "/omegacell/c/odd", Err: errors.New("no such key")}
	o := im.apply(cellstate.Batch{Rev: 2, Events: []cellstate.Event{
		event(odd),
		event(cellstate.Record{Key: cellstate.LedgerKey("m1"), Rev: 2}),
		event(cellstate.Record{Key: cellstate.LedgerKey("m2"), Rev: 2, Value: ledger("m3", 1)}),
	}}, 1)
	if len(o.fresh) != 3 || len(o.changes) != 0 || im.now.Len() != 0 {
		t.Errorf("%d quarantined, %d changes, %d machines", len(o.fresh), len(o.changes), im.now.Len())
	}
	before := im.now
	if b := im.difference(cellstate.Listing{Rev: 3, Records: []cellstate.Record{odd}}); len(b.Events) != 2 {
		t.Errorf("the listing that still has the odd key differs by %v", b.Events)
	}
	if o := im.apply(im.difference(cellstate.Listing{Rev: 4}), 1); len(o.healed) != 3 || len(im.now.bad) != 0 {
		t.Errorf("after an empty listing %v is quarantined", im.now.bad)
	}
	if len(before.bad) != 3 {
		t.Errorf("the snapshot before it lost %d", 3-len(before.bad))
	}
}

func TestLostAt(t *testing.T) {
	im, err := newImage(nil)
	if err != nil {
		t.Fatal(err)
	}
	session := &cellstate.Session{Machine: "m1"}
	rev := int64(1)
	step := func(at, want cellstate.Instant, events ...cellstate.Event) {
		t.Helper()
		rev++
		im.apply(cellstate.Batch{Rev: rev, Events: events}, at)
		if m, ok := im.now.Machine("m1"); ok != (want >= 0) || ok && m.LostAt != want {
			t.Errorf("at %d: %+v, want lost at %d", at, m, want)
		}
	}
	const none = -1
	up := cellstate.Event{Record: cellstate.Record{Key: session.Key(), Value: session}}
	down := cellstate.Event{Record: cellstate.Record{Key: session.Key()}, Deleted: true}
	here := cellstate.Event{Record: cellstate.Record{Key: cellstate.LedgerKey("m1"), Value: ledger("m1", 1)}}
	gone := cellstate.Event{Record: cellstate.Record{Key: cellstate.LedgerKey("m1")}, Deleted: true}
	attr := cellstate.Event{Record: cellstate.Record{Key: cellstate.MachineKey("m1"), Value: &cellstate.Machine{Name: "m1"}}}
	step(100, none, up)
	step(200, 0, here)
	step(300, 300, down)
	step(400, 300, here) // another change of the ledger
	step(500, 300, down) // known already
	step(600, 0, up)
	step(700, 700, down)
	step(800, none, gone)
	step(900, 900, here)    // first seen without a session
	step(1000, none, gone)  //
	step(1100, 0, up, here) // both in one batch, in either order
	step(1200, none, gone)  //
	step(1300, none, down)  // not shown
	step(1400, 1400, here)  //
	step(1500, 0, here, up) //
	step(1600, none, gone)  //
	step(1700, 0, here)     // it kept its session
	step(1800, none, gone)  //
	step(1900, none, down)  //
	step(2000, 2000, here)  //
	step(2100, 2000, down)  //
	step(2200, 2000, attr)  //
	step(2300, none, gone)  // its attributes stay
	step(2400, 2400, here)  //
}

// Names that run into each other when put side by side stay apart, and sort by part.
func TestNamesStayApart(t *testing.T) {
	im, err := newImage(nil)
	if err != nil {
		t.Fatal(err)
	}
	l := ledger("m", 1)
	var events []cellstate.Event
	for _, name := range [][2]string{{"a-b", "c"}, {"a", "bc"}, {"ab", "c"}, {"a", "b"}} {
		j := &cellstate.Job{Scheduler: name[0], Name: name[1]}
		events = append(events, cellstate.Event{Record: cellstate.Record{Key: j.Key(), Value: j}})
		l.Claims = append(l.Claims, cellstate.Claim{ID: cellstate.ClaimID{Scheduler: name[0], Job: name[1]}})
	}
	events = append(events, cellstate.Event{Record: cellstate.Record{Key: l.Key(), Value: l.Sum()}})
	im.apply(cellstate.Batch{Rev: 2, Events: events}, 1)
	for scheduler, want := range map[string][]string{"": {"a/b", "a/bc", "a-b/c", "ab/c"}, "a": {"a/b", "a/bc"}, "ab": {"ab/c"}, "b": nil} {
		var got []string
		for j := range im.now.Jobs(scheduler) {
			got = append(got, j.Scheduler+"/"+j.Name)
			n := 0
			for range im.now.Claims(j.Scheduler, j.Name) {
				n++
			}
			if n != 1 {
				t.Errorf("%d claims of %s/%s", n, j.Scheduler, j.Name)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("Jobs(%q) yields %v, want %v", scheduler, got, want)
		}
	}
}

// A machine keeps its slot while it is there; a freed one goes to the next newcomer.
func TestSlotsAreStable(t *testing.T) {
	im, err := newImage(nil)
	if err != nil {
		t.Fatal(err)
	}
	const n = 2*fan + 1
	var all, some []cellstate.Event
	for i := range n {
		l := ledger(fmt.Sprintf("m%d", i), 1)
		all = append(all, cellstate.Event{Record: cellstate.Record{Key: l.Key(), Value: l}})
		if i%2 == 0 {
			some = append(some, cellstate.Event{Record: cellstate.Record{Key: l.Key()}, Deleted: true})
		}
	}
	im.apply(cellstate.Batch{Rev: 2, Events: all}, 1)
	full := im.now
	im.apply(cellstate.Batch{Rev: 3, Events: some}, 1)
	half := im.now
	for i := range n {
		if full.At(i).Name() != fmt.Sprintf("m%d", i) {
			t.Fatalf("slot %d of the first snapshot holds %s", i, full.At(i).Name())
		}
		if m := half.At(i); (m == nil) != (i%2 == 0) || m != nil && m != full.At(i) {
			t.Fatalf("slot %d holds %v", i, m)
		}
	}
	l := ledger("new", 1)
	im.apply(cellstate.Batch{Rev: 4, Events: []cellstate.Event{{Record: cellstate.Record{Key: l.Key(), Value: l}}}}, 1)
	if m, ok := im.now.Machine("new"); !ok || m.Slot >= n || im.now.Len() != n {
		t.Errorf("the newcomer got slot %d of %d", m.Slot, im.now.Len())
	}
	if _, ok := half.Machine("new"); ok {
		t.Error("an old snapshot shows it")
	}
}

// Many read while one writes; the race detector watches.
func TestReadersAreNotDisturbed(t *testing.T) {
	m, err := New(Config{Store: memstore.New(memstore.Config{}), Now: func() cellstate.Instant { return 1 }})
	if err != nil {
		t.Fatal(err)
	}
	m.apply(&news{Batch: m.image.difference(bigCell(fan+10, 10)), at: 1})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for s := m.Snapshot(); s.Rev() < 200; s = m.Snapshot() {
				v, ok := s.Machine("rack1-m0")
				if !ok || s.At(v.Slot) != v {
					t.Errorf("revision %d shows %v", s.Rev(), v)
					return
				}
				n := 0
				for c := range s.Claims("batch", fmt.Sprintf("job-%d", (40+s.Rev())%1000)) {
					if c.Machine.Name() == v.Name() {
						n++
					}
				}
				if s.Rev() > 2 && n != 1 {
					t.Errorf("revision %d shows %d claims of that revision's job", s.Rev(), n)
					return
				}
			}
		})
	}
	for rev := int64(3); rev <= 200; rev++ {
		l := busy(40, 10, fmt.Sprintf("job-%d", (40+rev)%1000))
		m.apply(&news{Batch: cellstate.Batch{Rev: rev, Events: []cellstate.Event{{Record: cellstate.Record{Key: l.Key(), Rev: rev, Value: l}}}}, at: 1})
	}
	readers.Wait()
}

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(memstore.Config{})
		m := running(t, Config{Store: store})
		synctest.Wait()
		now := m.Snapshot().Rev()
		if s, err := m.Wait(t.Context(), now); err != nil || s.Rev() != now {
			t.Errorf("Wait for the present = %v, %v", s, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := m.Wait(ctx, now+1)
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, cellstate.ErrUnavailable) {
			t.Errorf("Wait for what never comes = %v", err)
		}
		if len(m.waiting) != 0 {
			t.Errorf("%d are still waiting", len(m.waiting))
		}
		got := make(chan int64)
		for ahead := range int64(3) {
			go func() {
				s, err := m.Wait(t.Context(), now+1+ahead)
				if err != nil {
					t.Error(err)
				}
				got <- s.Rev()
			}()
		}
		synctest.Wait()
		for i := range int64(3) {
			put(t, store, ledger("m1", i))
			synctest.Wait()
			if n := len(m.waiting); n != int(2-i) {
				t.Errorf("%d wait on at %d", n, now+1+i)
			}
			if rev := <-got; rev != now+1+i {
				t.Errorf("woken at %d, want %d", rev, now+1+i)
			}
		}
	})
}

func TestObserveUntilStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(memstore.Config{})
		m := running(t, Config{Store: store})
		synctest.Wait()
		calls := 0
		stop := m.Observe(func(s cellstate.Snapshot, c []cellstate.Change) { calls++ })
		if calls != 1 {
			t.Fatalf("%d calls before Observe returned", calls)
		}
		put(t, store, ledger("m1", 1))
		synctest.Wait()
		stop()
		put(t, store, ledger("m1", 2))
		synctest.Wait()
		if calls != 2 {
			t.Errorf("%d calls, want the first one and one change", calls)
		}
	})
}

func TestNewRefuses(t *testing.T) {
	store := memstore.New(memstore.Config{})
	now := func() cellstate.Instant { return 1 }
	for _, cfg := range []Config{{Now: now}, {Store: store}} {
		if m, err := New(cfg); m != nil || !errors.Is(err, cellstate.ErrInvalid) {
			t.Errorf("New(%+v) = %v, %v", cfg, m, err)
		}
	}
	reg := prometheus.NewRegistry()
	if _, err := New(Config{Store: store, Now: now, Metrics: reg}); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Config{Store: store, Now: now, Metrics: reg}); err == nil {
		t.Error("two mirrors share their metrics")
	}
}

// TestStartsBesideACorruptRecord: a mirror that starts while a record is unreadable shows the last version that could be
// read, a ledger's cordoned, as one that was there before does (I3, I4: its tasks are not gone).
func TestStartsBesideACorruptRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(memstore.Config{})
		put(t, store, ledger("m1", 1), &cellstate.Tenant{Name: "t"})
		put(t, store, ledger("m1", 2))
		store.Corrupt(cellstate.LedgerKey("m1"), errors.New("flipped bits"))
		store.Corrupt(cellstate.LedgerKey("m1"), errors.New("worse"))
		store.Corrupt(cellstate.TenantKey("t"), errors.New("flipped bits"))
		store.Corrupt(cellstate.LedgerKey("never"), errors.New("flipped bits"))
		m := running(t, Config{Store: store.Client()})
		synctest.Wait()
		v, ok := m.Snapshot().Machine("m1")
		if !ok || !v.Ledger.Cordoned || v.Ledger.Capacity.CPUMilli != 2 {
			t.Errorf("m1 is shown as %+v, want its second version, cordoned", v)
		}
		if _, ok := m.Snapshot().Tenant("t"); !ok {
			t.Error("the tenant is not shown")
		}
		if _, ok := m.Snapshot().Machine("never"); ok || len(m.Quarantined()) != 3 {
			t.Errorf("a ledger that was never readable is shown: %v; quarantined %v", ok, m.Quarantined())
		}
		put(t, store, ledger("m1", 4))
		synctest.Wait()
		if v, _ := m.Snapshot().Machine("m1"); v.Ledger.Cordoned || v.Ledger.Capacity.CPUMilli != 4 {
			t.Errorf("not healed: %+v", v)
		}
	})
}

// TestMerged: two lists of changes become one in which each key stands once, from its first old to its last new value.
func TestMerged(t *testing.T) {
	a, b, c := ledger("a", 1), ledger("a", 2), ledger("b", 1)
	got := merged(
		[]cellstate.Change{{Key: a.Key(), New: a}, {Key: c.Key(), New: c}},
		[]cellstate.Change{{Key: b.Key(), Old: a, New: b}},
	)
	if want := []cellstate.Change{{Key: b.Key(), New: b}, {Key: c.Key(), New: c}}; !slices.Equal(got, want) {
		t.Errorf("merged %+v, want %+v", got, want)
	}
}
