package etcdstore_test

import (
	"context"
	"runtime"
	"sync"
	"testing"

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

// lateKV holds the etcd Txn number 0 until opened is closed, and lets number 1 hang about on its way: whoever sent it is told
// that time ran out.
type lateKV struct {
	pb.KVClient
	opened  chan struct{}
	timeout func() // called before the sender is told

	mu   sync.Mutex
	n    int
	late *pb.TxnRequest
}

func (k *lateKV) Txn(ctx context.Context, r *pb.TxnRequest, opts ...grpc.CallOption) (*pb.TxnResponse, error) {
	k.mu.Lock()
	n := k.n
	k.n++
	if n == 1 {
		k.late = proto.Clone(r).(*pb.TxnRequest)
	}
	k.mu.Unlock()
	switch n {
	case 0:
		<-k.opened
	case 1:
		k.timeout()
		return nil, status.Error(codes.DeadlineExceeded, "held by the test")
	}
	return k.KVClient.Txn(ctx, r, opts...)
}

func (k *lateKV) count() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.n
}

// The outcome of a pile is unknown, and who made room in it gives up. The one on top is then refused, and stays so when the
// pile reaches etcd at last: no verdict is overtaken by a request of its own (I4). So it is for who gave up and comes again.
func TestRefusedAndNotDoneLater(t *testing.T) {
	for _, tt := range []struct {
		name  string
		basis bool // without one the ledger is asked for first, and at once shows that there is no room
		again bool // the one on top gives up too, and the same transaction is sent again
	}{
		{"decided on the basis", true, false},
		{"decided on what was asked for", false, false},
		{"sent again", true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := etcdtest.Start(t)
			c := m.Client()
			other := open(t, etcdstore.Config{Client: m.Client()})
			machines(t, other, 2, 1000)
			commit(t, other, txn(nil, claim(50, "m0", 600)))
			basis := ledgers(t, other)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			kv := &lateKV{KVClient: clientv3.RetryKVClient(c), opened: make(chan struct{})}
			s := open(t, etcdstore.Config{Client: c, KV: kv, InFlight: 1, RetryMin: 1})
			var wg sync.WaitGroup
			send := func(ctx context.Context, x *cellstate.Txn) chan string {
				out := make(chan string, 1)
				wg.Go(func() {
					v, err := s.Commit(ctx, x)
					if err != nil {
						out <- err.Error()
						return
					}
					out <- verdict(v)
				})
				return out
			}
			defer wg.Wait()

			send(t.Context(), txn(basis, claim(900, "m1", 1))) // keeps the sender busy, so that the others pile up
			for kv.count() == 0 {
				runtime.Gosched()
			}
			room, top := txn(basis), txn(basis, claim(1, "m0", 500))
			room.Remove = []cellstate.ClaimRef{{Machine: "m0", ID: claim(50, "", 0).ID}}
			if !tt.basis {
				top.Basis = nil
			}
			gone := send(ctx, room)
			waitQueued(s, 1)
			patience := t.Context()
			if tt.again {
				patience = ctx
			}
			got := send(patience, top)
			waitQueued(s, 2)
			over := []chan string{gone}
			if tt.again {
				over = append(over, got)
			}
			kv.timeout = func() {
				cancel()
				for _, c := range over {
					<-c
				}
			}
			close(kv.opened)
			if tt.again {
				<-ctx.Done()
				got = send(t.Context(), top)
			}
			text := <-got
			if text != "-1:full" {
				t.Errorf("on top: %s, want it refused: the one that makes room is gone", text)
			}
			if kv.late == nil {
				t.Fatal("no request was late: this no longer tests anything")
			}
			if _, err := kv.KVClient.Txn(t.Context(), kv.late); err != nil {
				t.Fatal(err)
			}
			l := ledgers(t, other)["m0"]
			if l.Find(claim(1, "", 0).ID) != nil || l.Used().CPUMilli != 600 {
				t.Errorf("m0 has %d in use by %d claims: what was refused was done later", l.Used().CPUMilli, len(l.Claims))
			}
			if n := s.Doubted(); n != 0 {
				t.Errorf("%d machines are in doubt still", n)
			}
		})
	}
}
