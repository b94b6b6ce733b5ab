package etcdstore_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/etcdstore"
	"github.com/omegacell/omegacell/cellstate/etcdstore/etcdtest"
)

// A part whose guard fails is decided again on the ledgers that the same answer brought, and only that part is sent again.
func TestElseBranchRepairs(t *testing.T) {
	m := etcdtest.Start(t)
	var tap wiretap
	s := open(t, etcdstore.Config{Client: m.Client(tap.option)})
	basis := machines(t, s, 3, 1000)
	commit(t, open(t, etcdstore.Config{Client: m.Client()}), txn(basis, claim(90, "m1", 400), claim(91, "m2", 500)))
	tap.set(&wiretap{})
	v := commit(t, s, txn(basis, claim(0, "m0", 600), claim(1, "m1", 600), claim(2, "m2", 501)))
	if got := fmt.Sprint(v.Committed, v.Conflicts); got != "[batch/job@0/0.0 batch/job@0/1.0] [batch/job@0/2.0 on m2: full: cpu wants 501, free 500]" {
		t.Errorf("verdict %s", got)
	}
	if v.Resent != 1 {
		t.Errorf("%d parts sent again, want 1: m1 fits still, m2 does not", v.Resent)
	}
	if n := tap.count(); n != 2 {
		t.Errorf("%d etcd transactions, want 2", n)
	}
}

// Somebody who always wins the race makes the part contended, after the bound and no earlier.
func TestContended(t *testing.T) {
	m := etcdtest.Start(t)
	for _, tt := range []struct {
		lost   int // races
		refuse bool
	}{{3, false}, {4, true}} {
		t.Run(fmt.Sprint(tt.lost), func(t *testing.T) {
			var tap wiretap
			s := open(t, etcdstore.Config{Client: m.Client(tap.option), Rounds: 3})
			other := open(t, etcdstore.Config{Client: m.Client()})
			x := txn(machines(t, other, 1, 1000), claim(0, "m0", 1))
			tap.set(&wiretap{before: func(n int) {
				if n < tt.lost {
					commit(t, other, txn(nil, claim(100+n, "m0", 1)))
				}
			}})
			v := commit(t, s, x)
			if v.Resent != 3 {
				t.Errorf("sent again %d times, want 3", v.Resent)
			}
			if refused := len(v.Conflicts) == 1 && v.Conflicts[0].Reason == cellstate.ReasonContended; refused != tt.refuse {
				t.Errorf("verdict %+v", v)
			}
		})
	}
}

// gate holds the first etcd Txn until it is opened.
func gate(tap *wiretap) (opened func()) {
	c := make(chan struct{})
	tap.set(&wiretap{before: func(n int) {
		if n == 0 {
			<-c
		}
	}})
	return func() { close(c) }
}

func waitQueued(s *etcdstore.Store, n int) {
	for s.Queued() != n {
		runtime.Gosched()
	}
}

// What comes while an etcd Txn is under way goes into the next one together: 200 transactions in 2.
func TestCoalesces(t *testing.T) {
	const n = 200
	m := etcdtest.Start(t)
	var tap wiretap
	reg := prometheus.NewRegistry()
	s := open(t, etcdstore.Config{Client: m.Client(tap.option), Metrics: reg, InFlight: 1})
	basis := machines(t, s, n, 1000)
	fence := lead(t, s)
	opened := gate(&tap)
	var wg sync.WaitGroup
	for i := range n {
		x := txn(basis, claim(i, machine(i), 1000))
		if i%3 == 0 {
			x.Fence = fence
		}
		wg.Go(func() {
			if v, err := s.Commit(t.Context(), x); err != nil || len(v.Committed) != 1 {
				t.Errorf("%d: %+v, %v", i, v, err)
			}
		})
		for tap.count() == 0 { // the first one alone is under way
			runtime.Gosched()
		}
	}
	waitQueued(s, n-1)
	opened()
	wg.Wait()
	if got := tap.count(); got != 2 {
		t.Errorf("%d etcd transactions, want 2", got)
	}
	if got := metric(t, reg, "coalesced_total"); got != n-1 {
		t.Errorf("%v coalesced, want %d", got, n-1)
	}
	for name, l := range ledgers(t, s) {
		if len(l.Claims) != 1 {
			t.Errorf("%s holds %d claims", name, len(l.Claims))
		}
	}
}

// Transactions on one machine go one after the other, each decided on what the one before left: no guard fails.
func TestSameMachineTakesTurns(t *testing.T) {
	const n = 20
	m := etcdtest.Start(t)
	var tap wiretap
	s := open(t, etcdstore.Config{Client: m.Client(tap.option)})
	basis := machines(t, s, 1, n-1)
	opened := gate(&tap)
	var wg sync.WaitGroup
	var mu sync.Mutex
	committed, resent := 0, 0
	for i := range n {
		wg.Go(func() {
			v, err := s.Commit(t.Context(), txn(basis, claim(i, "m0", 1)))
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			committed += len(v.Committed)
			resent += v.Resent
		})
		for tap.count() == 0 { // the first one alone is under way
			runtime.Gosched()
		}
	}
	waitQueued(s, n-1)
	opened()
	wg.Wait()
	if committed != n-1 || resent != 0 {
		t.Errorf("%d committed of %d that fit, %d sent again", committed, n-1, resent)
	}
}

// A caller that stops waiting is answered at once, and takes nobody with it: what was queued was never sent.
func TestEachCallersContext(t *testing.T) {
	m := etcdtest.Start(t)
	var tap wiretap
	s := open(t, etcdstore.Config{Client: m.Client(tap.option), InFlight: 1})
	basis := machines(t, s, 3, 1000)
	opened := gate(&tap)
	ctx, cancel := context.WithCancel(t.Context())
	type answer struct {
		v   cellstate.Verdict
		err error
	}
	send := func(ctx context.Context, task int) chan answer {
		c := make(chan answer, 1)
		go func() {
			v, err := s.Commit(ctx, txn(basis, claim(task, machine(task), 1)))
			c <- answer{v, err}
		}()
		return c
	}
	flying := send(ctx, 0)
	for tap.count() != 1 {
		runtime.Gosched()
	}
	queued := send(ctx, 1)
	waitQueued(s, 1)
	patient := send(t.Context(), 2)
	waitQueued(s, 2)
	cancel()
	if a := <-flying; !errors.Is(a.err, cellstate.ErrUnknown) {
		t.Errorf("under way: %v, want %v", a.err, cellstate.ErrUnknown)
	}
	if a := <-queued; !errors.Is(a.err, cellstate.ErrUnavailable) {
		t.Errorf("queued: %v, want %v", a.err, cellstate.ErrUnavailable)
	}
	opened()
	if a := <-patient; a.err != nil || len(a.v.Committed) != 1 {
		t.Errorf("the patient one: %+v", a)
	}
	if l := ledgers(t, s)["m1"]; len(l.Claims) != 0 {
		t.Error("what was abandoned in the queue was sent")
	}
}
