package etcdstore_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

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

// lateKV holds the first Txn back until opened, and gives the second up as timed out while it is still on its way.
type lateKV struct {
	pb.KVClient
	mu     sync.Mutex
	n      int
	opened chan struct{}
	held   *pb.TxnRequest
	onHeld func()
}

func (k *lateKV) Txn(ctx context.Context, r *pb.TxnRequest, o ...grpc.CallOption) (*pb.TxnResponse, error) {
	k.mu.Lock()
	n := k.n
	k.n++
	k.mu.Unlock()
	if n == 0 {
		<-k.opened
	}
	if n == 1 {
		k.mu.Lock()
		k.held = proto.Clone(r).(*pb.TxnRequest)
		k.mu.Unlock()
		k.onHeld()
		return nil, status.Error(codes.DeadlineExceeded, "timed out")
	}
	return k.KVClient.Txn(ctx, r, o...)
}

func (k *lateKV) count() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.n
}

// TestPileThatLandsLate guards I4: two transactions on one machine go as one put, the second in the room of what the first removes; its
// outcome stays unknown, the first one's caller gives up, and the second, decided alone, has no room. That is no answer as long
// as the put may still arrive.
func TestPileThatLandsLate(t *testing.T) {
	m := etcdtest.Start(t)
	c := m.Client()
	other := open(t, etcdstore.Config{Client: m.Client()})
	machines(t, other, 2, 1000)
	commit(t, other, txn(nil, claim(50, "m0", 600)))
	basis := ledgers(t, other)
	ctxA, cancelA := context.WithCancel(t.Context())
	kv := &lateKV{KVClient: clientv3.RetryKVClient(c), opened: make(chan struct{}), onHeld: cancelA}
	s := open(t, etcdstore.Config{Client: c, KV: kv, InFlight: 1, RetryMin: 200 * time.Millisecond})

	// m1 keeps the sender busy, so that A and B queue up on m0
	go s.Commit(t.Context(), txn(basis, claim(900, "m1", 1)))
	for kv.count() == 0 {
		runtime.Gosched()
	}
	a := txn(basis)
	a.Remove = []cellstate.ClaimRef{{Machine: "m0", ID: claim(50, "", 0).ID}}
	aDone := make(chan error, 1)
	go func() { _, err := s.Commit(ctxA, a); aDone <- err }()
	for s.Queued() != 1 {
		runtime.Gosched()
	}
	bDone := make(chan cellstate.Verdict, 1)
	go func() {
		v, err := s.Commit(t.Context(), txn(basis, claim(1, "m0", 500)))
		if err != nil {
			t.Error(err)
		}
		bDone <- v
	}()
	for s.Queued() != 2 {
		runtime.Gosched()
	}
	close(kv.opened)
	if err := <-aDone; !errors.Is(err, cellstate.ErrUnknown) {
		t.Errorf("%v, want an unknown outcome", err)
	}
	if v := <-bDone; len(v.Committed) > 0 {
		t.Errorf("%s in no room", verdict(v))
	}
	resp, err := kv.KVClient.Txn(t.Context(), kv.held) // now it arrives
	if err != nil {
		t.Fatal(err)
	}
	if l := ledgers(t, other)["m0"]; l.Find(claim(1, "m0", 0).ID) != nil || l.Find(claim(50, "m0", 0).ID) == nil {
		t.Errorf("m0 has %v after a refusal (carried out late: %v)", l.Claims, resp.Succeeded)
	}
}
