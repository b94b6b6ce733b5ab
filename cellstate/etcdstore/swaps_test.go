package etcdstore_test

import (
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/etcdstore"
	"github.com/omegacell/omegacell/cellstate/etcdstore/etcdtest"
)

// shared makes swaps that queue up, in order, behind a first one. It returns what came of each, and how many etcd Txns these
// were without the first.
func shared(t *testing.T, m *etcdtest.Member, drop func(n int) bool, swaps ...cellstate.Swap) (out []cellstate.Swapped, errs []error, txns int) {
	t.Helper()
	var tap wiretap
	s := open(t, etcdstore.Config{Client: m.Client(tap.option), InFlight: 1, RetryMin: 1})
	opened := make(chan struct{})
	tap.set(&wiretap{before: func(n int) {
		if n == 0 {
			<-opened
		}
	}, drop: drop})
	first := make(chan error, 1)
	go func() {
		_, err := s.Swap(t.Context(), cellstate.Swap{Put: []cellstate.Put{{Value: &cellstate.Tenant{Name: "first"}}}})
		first <- err
	}()
	for tap.count() == 0 {
		runtime.Gosched()
	}
	out, errs = make([]cellstate.Swapped, len(swaps)), make([]error, len(swaps))
	done := make(chan int, len(swaps))
	for i, sw := range swaps {
		go func() {
			out[i], errs[i] = s.Swap(t.Context(), sw)
			done <- i
		}()
		for s.QueuedSwaps() != i+1 {
			runtime.Gosched()
		}
	}
	close(opened)
	for range swaps {
		<-done
	}
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	return out, errs, tap.count() - 1
}

func tenant(name string, lease int64) cellstate.Put {
	return cellstate.Put{Value: &cellstate.Tenant{Name: name}, Lease: lease}
}

func read(t *testing.T, m *etcdtest.Member, k cellstate.Key) cellstate.Record {
	t.Helper()
	r, err := cellstate.Get(t.Context(), open(t, etcdstore.Config{Client: m.Client()}), k)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Swaps that come together share an etcd Txn, each with its own guards, answer and lease.
func TestSwapsShare(t *testing.T) {
	m := etcdtest.Start(t)
	s := open(t, etcdstore.Config{Client: m.Client()})
	lease, err := s.Lease(t.Context(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	old, err := s.Swap(t.Context(), cellstate.Swap{Put: []cellstate.Put{tenant("old", 0), tenant("gone", 0)}})
	if err != nil {
		t.Fatal(err)
	}
	oldKey := cellstate.TenantKey("old")
	got, errs, txns := shared(t, m, nil,
		cellstate.Swap{Put: []cellstate.Put{tenant("a", lease.ID())}},
		cellstate.Swap{Guards: []cellstate.Guard{{Key: oldKey, Rev: old.Rev + 1}}, Put: []cellstate.Put{tenant("b", 0)}},
		cellstate.Swap{Guards: []cellstate.Guard{{Key: oldKey, Rev: old.Rev}}, Put: []cellstate.Put{tenant("c", 0)}},
		cellstate.Swap{Delete: []cellstate.Key{cellstate.TenantKey("gone")}},
		cellstate.Swap{Unchanged: []cellstate.RangeGuard{{Range: cellstate.Range{Kind: cellstate.KindLedger}}}, Put: []cellstate.Put{tenant("d", 0)}},
	)
	if txns != 1 {
		t.Errorf("%d etcd transactions, want 1", txns)
	}
	for i, want := range []bool{true, false, true, true, true} {
		if errs[i] != nil || got[i].OK != want || got[i].Rev != got[0].Rev {
			t.Errorf("swap %d: %+v, %v, want OK %v at %d", i, got[i], errs[i], want, got[0].Rev)
		}
	}
	if now := got[1].Now; len(now) != 1 || now[0].Key != oldKey || now[0].Rev != old.Rev {
		t.Errorf("the refused one is shown %+v", now)
	}
	for name, want := range map[string]int64{"a": got[0].Rev, "b": 0, "c": got[0].Rev, "d": got[0].Rev, "gone": 0} {
		if r := read(t, m, cellstate.TenantKey(name)); r.Rev != want {
			t.Errorf("%s is at %d, want %d", name, r.Rev, want)
		}
	}
	if r := read(t, m, cellstate.TenantKey("a")); r.Lease != lease.ID() {
		t.Errorf("a has lease %x, want %x", r.Lease, lease.ID())
	}
}

// What one swap writes, another one neither writes nor rests on in the same etcd Txn: they take turns, in order.
func TestSwapsTakeTurns(t *testing.T) {
	key := cellstate.TenantKey("x")
	tenants := cellstate.Range{Kind: cellstate.KindTenant}
	put := cellstate.Swap{Put: []cellstate.Put{tenant("x", 0)}}
	absent := cellstate.Swap{Guards: []cellstate.Guard{{Key: key}}, Put: []cellstate.Put{tenant("y", 0)}}
	for _, tt := range []struct {
		name  string
		swaps []cellstate.Swap
		ok    []bool
		txns  int
	}{
		{"two write", []cellstate.Swap{put, put}, []bool{true, true}, 2},
		{"one writes, one deletes", []cellstate.Swap{put, {Delete: []cellstate.Key{key}}}, []bool{true, true}, 2},
		{"written, then guarded", []cellstate.Swap{put, absent}, []bool{true, false}, 2},
		{"guarded, then written", []cellstate.Swap{absent, put}, []bool{true, true}, 2},
		{"written, then in a range", []cellstate.Swap{put, {Unchanged: []cellstate.RangeGuard{{Range: tenants, Rev: 2}}}}, []bool{true, false}, 2},
		{"in a range, then written", []cellstate.Swap{{Unchanged: []cellstate.RangeGuard{{Range: tenants, Rev: 2}}}, put}, []bool{true, true}, 2},
		{"both guard", []cellstate.Swap{absent, {Guards: absent.Guards, Put: []cellstate.Put{tenant("z", 0)}}}, []bool{true, true}, 1},
		{"nobody overtakes for ever", []cellstate.Swap{put, {Put: []cellstate.Put{tenant("x", 0), tenant("y", 0)}},
			{Put: []cellstate.Put{tenant("y", 0)}}}, []bool{true, true, true}, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, errs, txns := shared(t, etcdtest.Start(t), nil, tt.swaps...)
			for i := range got {
				if errs[i] != nil || got[i].OK != tt.ok[i] {
					t.Errorf("swap %d: %+v, %v, want OK %v", i, got[i], errs[i], tt.ok[i])
				}
			}
			if txns != tt.txns {
				t.Errorf("%d etcd transactions, want %d", txns, tt.txns)
			}
		})
	}
}

// etcd refuses a Txn whole for one lease that is not there. Only who asked for it is refused.
func TestSwapsRefusedAlone(t *testing.T) {
	m := etcdtest.Start(t)
	got, errs, _ := shared(t, m, nil,
		cellstate.Swap{Put: []cellstate.Put{tenant("a", 0)}},
		cellstate.Swap{Put: []cellstate.Put{tenant("b", 12345)}},
		cellstate.Swap{Put: []cellstate.Put{tenant("c", 0)}},
	)
	if errs[0] != nil || !got[0].OK || errs[2] != nil || !got[2].OK {
		t.Errorf("the neighbours: %+v, %v", got, errs)
	}
	if !errors.Is(errs[1], cellstate.ErrInvalid) {
		t.Errorf("the lease that is not there: %v, want %v", errs[1], cellstate.ErrInvalid)
	}
}

// The answer to a shared Txn is lost: each swap finds out by itself what came of it.
func TestSwapsLostAnswer(t *testing.T) {
	m := etcdtest.Start(t)
	var swaps []cellstate.Swap
	for i := range 4 {
		name := fmt.Sprint("t", i)
		swaps = append(swaps, cellstate.Swap{Guards: []cellstate.Guard{{Key: cellstate.TenantKey(name)}}, Put: []cellstate.Put{tenant(name, 0)}})
	}
	swaps[3].Guards[0].Rev = 99
	got, errs, _ := shared(t, m, func(n int) bool { return n == 1 }, swaps...)
	for i := range 3 {
		r := read(t, m, swaps[i].Guards[0].Key)
		if errs[i] != nil || !got[i].OK || got[i].Rev != r.Rev || r.CreateRev != r.Rev {
			t.Errorf("swap %d: %+v, %v; the record is at %d, made at %d", i, got[i], errs[i], r.Rev, r.CreateRev)
		}
	}
	// Of the refused one nothing tells whether it was carried out and somebody deleted the record since.
	if got[3].OK || errs[3] != nil && !errors.Is(errs[3], cellstate.ErrUnknown) {
		t.Errorf("the refused one: %+v, %v", got[3], errs[3])
	}
}

// With small limits, found out by refusal, all swaps get through.
func TestSwapsWithinLimits(t *testing.T) {
	m := etcdtest.Start(t, func(c *embed.Config) { c.MaxTxnOps, c.MaxRequestBytes = 8, 2<<10 })
	var swaps []cellstate.Swap
	for i := range 100 {
		swaps = append(swaps, cellstate.Swap{Put: []cellstate.Put{tenant(fmt.Sprint("t", i), 0)}})
	}
	got, errs, txns := shared(t, m, nil, swaps...)
	for i := range got {
		if errs[i] != nil || !got[i].OK {
			t.Errorf("swap %d: %+v, %v", i, got[i], errs[i])
		}
	}
	t.Logf("%d etcd transactions", txns)
}
