package etcdstore_test

import (
	"context"
	"errors"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/etcdstore"
	"github.com/omegacell/omegacell/cellstate/etcdstore/etcdtest"
)

// An answer is lost after etcd carried the request out. The commit settles that by looking, and claims nothing twice (I4),
// whatever happened to the machine, or to the fence, in between.
func TestLostAnswer(t *testing.T) {
	m := etcdtest.Start(t)
	for _, tt := range []struct {
		name      string
		mode      cellstate.Mode
		fence     bool
		meanwhile func(t *testing.T, other cellstate.Store)
		resent    int
	}{
		{name: "nothing else happens", mode: cellstate.Incremental},
		{name: "a gang", mode: cellstate.AllOrNothing},
		{name: "another claim comes", mode: cellstate.Incremental, meanwhile: func(t *testing.T, other cellstate.Store) {
			commit(t, other, txn(nil, claim(99, "m0", 1)))
		}},
		{name: "the fence still holds", mode: cellstate.Incremental, fence: true},
		{name: "the fence is gone", mode: cellstate.Incremental, fence: true, meanwhile: func(t *testing.T, other cellstate.Store) {
			sw := cellstate.Swap{Delete: []cellstate.Key{cellstate.LeaderKey("batch", 0)}}
			if _, err := other.Swap(t.Context(), sw); err != nil {
				t.Error(err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var tap wiretap
			reg := prometheus.NewRegistry()
			s := open(t, etcdstore.Config{Client: m.Client(tap.option), Metrics: reg, RetryMin: 1})
			other := open(t, etcdstore.Config{Client: m.Client()})
			x := txn(machines(t, s, 2, 1000), claim(0, "m0", 600), claim(1, "m1", 600))
			x.Mode = tt.mode
			if tt.fence {
				x.Fence = lead(t, other)
			}
			tap.set(&wiretap{drop: first, after: func(n int) {
				if n == 0 && tt.meanwhile != nil {
					tt.meanwhile(t, other)
				}
			}})
			v := commit(t, s, x)
			if len(v.Committed) != 2 || len(v.Conflicts) != 0 {
				t.Errorf("verdict %+v, want both committed", v)
			}
			for _, name := range []string{"m0", "m1"} {
				if l := ledgers(t, other)[name]; l.Used().CPUMilli/600 != 1 {
					t.Errorf("%s has %d in use", name, l.Used().CPUMilli)
				}
			}
			if got := metric(t, reg, "unknown_settled_total"); got == 0 {
				t.Error("nothing was unknown: this no longer tests anything")
			}
		})
	}
}

// lead makes a leader key and returns the fence on it.
func lead(t *testing.T, s cellstate.Store) *cellstate.Fence {
	t.Helper()
	sw := cellstate.Swap{Put: []cellstate.Put{{Value: &cellstate.Leader{Scheduler: "batch", Holder: t.Name()}}}}
	if _, err := s.Swap(t.Context(), sw); err != nil {
		t.Fatal(err)
	}
	r, err := cellstate.Get(t.Context(), s, cellstate.LeaderKey("batch", 0))
	if err != nil {
		t.Fatal(err)
	}
	return &cellstate.Fence{Key: r.Key, CreateRev: r.CreateRev}
}

// While etcd takes requests and answers none, the commit goes on until its context ends. Sent again it is in effect once.
func TestUnknownUntilContextEnds(t *testing.T) {
	m := etcdtest.Start(t)
	var tap wiretap
	s := open(t, etcdstore.Config{Client: m.Client(tap.option), RetryMin: 1})
	x := txn(machines(t, s, 1, 1000), claim(0, "m0", 600))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	tap.set(&wiretap{drop: every, after: func(n int) {
		if n == 2 {
			cancel()
		}
	}})
	if _, err := s.Commit(ctx, x); !errors.Is(err, cellstate.ErrUnknown) || !errors.Is(err, context.Canceled) {
		t.Fatalf("Commit: %v, want %v of %v", err, cellstate.ErrUnknown, context.Canceled)
	}
	tap.set(&wiretap{})
	if v := commit(t, s, x); len(v.Committed) != 1 {
		t.Errorf("sent again: %+v", v)
	}
	if l := ledgers(t, s)["m0"]; len(l.Claims) != 1 {
		t.Errorf("m0 holds %d claims", len(l.Claims))
	}
}

// A request that never leaves is no unknown outcome.
func TestNothingSent(t *testing.T) {
	m := etcdtest.Start(t)
	var tap wiretap
	s := open(t, etcdstore.Config{Client: m.Client(tap.option)})
	x := txn(machines(t, s, 1, 1000), claim(0, "m0", 600))
	tap.set(&wiretap{refuse: every})
	if _, err := s.Commit(t.Context(), x); !errors.Is(err, cellstate.ErrUnavailable) {
		t.Errorf("Commit: %v, want %v", err, cellstate.ErrUnavailable)
	}
	if _, err := s.Swap(t.Context(), cellstate.Swap{Delete: []cellstate.Key{cellstate.TenantKey("a")}}); !errors.Is(err, cellstate.ErrUnavailable) {
		t.Errorf("Swap: %v, want %v", err, cellstate.ErrUnavailable)
	}
}

// A swap whose answer is lost is settled by what stands at its keys, or is unknown where somebody wrote over them.
func TestSwapLostAnswer(t *testing.T) {
	m := etcdtest.Start(t)
	var tap wiretap
	s := open(t, etcdstore.Config{Client: m.Client(tap.option), RetryMin: 1})
	other := open(t, etcdstore.Config{Client: m.Client()})
	put := func(s cellstate.Store, name string, guards ...cellstate.Guard) (cellstate.Swapped, error) {
		return s.Swap(t.Context(), cellstate.Swap{Guards: guards, Put: []cellstate.Put{{Value: &cellstate.Machine{
			Name: "m0", Labels: map[string]string{"by": name}}}}})
	}
	absent := cellstate.Guard{Key: cellstate.MachineKey("m0")}

	tap.set(&wiretap{drop: first})
	got, err := put(s, "one", absent)
	if err != nil || !got.OK {
		t.Fatalf("Swap: %+v, %v, want it done", got, err)
	}
	if r, err := cellstate.Get(t.Context(), other, absent.Key); err != nil || r.Rev != got.Rev || r.CreateRev != got.Rev {
		t.Errorf("the record is at %d, the swap says %d (%v)", r.Rev, got.Rev, err)
	}

	guard := cellstate.Guard{Key: absent.Key, Rev: got.Rev}
	tap.set(&wiretap{drop: first, after: func(n int) {
		if n == 0 {
			if _, err := put(other, "other"); err != nil {
				t.Error(err)
			}
		}
	}})
	if got, err := put(s, "two", guard); !errors.Is(err, cellstate.ErrUnknown) {
		t.Errorf("written over meanwhile: %+v, %v, want %v", got, err, cellstate.ErrUnknown)
	}
}
