package etcdstore_test

import (
	"errors"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/etcdstore"
	"github.com/omegacell/omegacell/cellstate/etcdstore/etcdtest"
)

// While the only member is down everything is unavailable, and a watch waits; when it is back both work.
func TestMemberRestart(t *testing.T) {
	m := etcdtest.Start(t)
	s := open(t, etcdstore.Config{Client: m.Client(), RetryMin: 1, RequestTimeout: time.Second})
	basis := machines(t, s, 1, 1000)
	seen := make(chan cellstate.Batch)
	go func() {
		defer close(seen)
		for b, err := range s.Watch(t.Context(), cellstate.Range{}, 0) {
			if err != nil {
				return
			}
			if len(b.Events) > 0 || b.Rev == basis["m0"].Rev {
				seen <- b
			}
		}
	}()
	<-seen // the watch is set up
	m.Stop()
	if _, err := s.Commit(t.Context(), txn(basis, claim(0, "m0", 1))); !errors.Is(err, cellstate.ErrUnavailable) {
		t.Errorf("Commit: %v, want %v", err, cellstate.ErrUnavailable)
	}
	if _, err := s.Swap(t.Context(), cellstate.Swap{Delete: []cellstate.Key{cellstate.TenantKey("a")}}); !errors.Is(err, cellstate.ErrUnavailable) {
		t.Errorf("Swap: %v, want %v", err, cellstate.ErrUnavailable)
	}
	if _, err := s.List(t.Context(), cellstate.Range{}, 0); !errors.Is(err, cellstate.ErrUnavailable) {
		t.Errorf("List: %v, want %v", err, cellstate.ErrUnavailable)
	}
	m.Restart()
	var v cellstate.Verdict
	for {
		var err error
		if v, err = s.Commit(t.Context(), txn(basis, claim(0, "m0", 1))); err == nil {
			break
		}
		if !errors.Is(err, cellstate.ErrUnavailable) {
			t.Fatalf("after the restart: %v", err)
		}
	}
	if len(v.Committed) != 1 {
		t.Errorf("after the restart: %+v", v)
	}
	if b := <-seen; b.Rev != v.Rev || len(b.Events) != 1 {
		t.Errorf("the watch goes on with %+v, want the commit at %d", b, v.Rev)
	}
}

// A value that nobody can read is named, counted, and in nobody's way; so is a key.
func TestCorruptValuesAreCounted(t *testing.T) {
	m := etcdtest.Start(t)
	reg := prometheus.NewRegistry()
	c := m.Client()
	s := open(t, etcdstore.Config{Client: c, Metrics: reg})
	basis := machines(t, s, 2, 1000)
	putRaw(t, c, cellstate.LedgerKey("m0"), "\xff")
	v := commit(t, s, txn(basis, claim(0, "m0", 1), claim(1, "m1", 1)))
	if len(v.Committed) != 1 || len(v.Conflicts) != 1 || v.Conflicts[0].Reason != cellstate.ReasonNoMachine {
		t.Errorf("verdict %+v", v)
	}
	if got := metric(t, reg, "corrupt_values_total"); got != 1 {
		t.Errorf("%v corrupt values counted, want 1", got)
	}
	if _, err := c.Put(t.Context(), "/omegacell/test/nonsense/x", "y"); err != nil {
		t.Fatal(err)
	}
	l, err := s.List(t.Context(), cellstate.Range{}, 0)
	if err != nil || len(l.Records) != 3 {
		t.Fatalf("%d records, %v", len(l.Records), err)
	}
	if r := l.Records[0]; r.Err == nil || r.Raw != "/omegacell/test/nonsense/x" {
		t.Errorf("a key that cannot be read lists as %+v", r)
	}
}

// Two stores of one process may share a registry.
func TestSharedRegistry(t *testing.T) {
	m := etcdtest.Start(t)
	reg := prometheus.NewRegistry()
	one := open(t, etcdstore.Config{Client: m.Client(), Metrics: reg})
	two := open(t, etcdstore.Config{Client: m.Client(), Metrics: reg})
	basis := machines(t, one, 1, 1000)
	commit(t, one, txn(basis, claim(0, "m0", 1)))
	commit(t, two, txn(basis, claim(1, "m0", 1)))
	if got := metric(t, reg, "commits_total"); got != 2 {
		t.Errorf("%v commits counted, want 2", got)
	}
	if got := metric(t, reg, "resent_total"); got != 1 {
		t.Errorf("%v parts counted as sent again, want 1", got)
	}
}

func TestConfigRefused(t *testing.T) {
	m := etcdtest.Start(t)
	c := m.Client()
	for _, cfg := range []etcdstore.Config{
		{Cell: "test"}, {Client: c}, {Client: c, Cell: "a/b"}, {Client: c, Cell: "test", InFlight: -1}, {Client: c, Cell: "test", Progress: -1},
	} {
		if _, err := etcdstore.New(cfg); !errors.Is(err, cellstate.ErrInvalid) {
			t.Errorf("New(%+v): %v, want %v", cfg, err, cellstate.ErrInvalid)
		}
	}
}

// A quiet watch of the whole cell is told how far etcd is, also when others than the cell write; so a mirror never waits in
// vain for a revision at which nothing of its cell changed.
func TestProgressOfQuietWatch(t *testing.T) {
	m := etcdtest.Start(t)
	c := m.Client()
	s := open(t, etcdstore.Config{Client: c, Progress: time.Millisecond})
	wrote := int64(0)
	for b, err := range s.Watch(t.Context(), cellstate.Range{}, 0) {
		if err != nil {
			t.Fatalf("Watch: %v", err)
		}
		if wrote == 0 {
			r, err := c.Put(t.Context(), "/elsewhere", "x")
			if err != nil {
				t.Fatal(err)
			}
			wrote = r.Header.Revision
		}
		if len(b.Events) > 0 {
			t.Fatalf("the watch shows %+v", b)
		}
		if b.Rev >= wrote {
			return
		}
	}
}
