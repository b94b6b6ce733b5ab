package etcdstore_test

import (
	"context"
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// wiretap sits between an etcd client and its connection and spoils etcd Txns. Its functions are called for each with its
// number, from 0.
type wiretap struct {
	mu     sync.Mutex
	n      int
	last   *pb.TxnRequest
	before func(n int) // before it is sent
	refuse func(n int) bool
	after  func(n int) // when it was carried out and before anybody knows
	drop   func(n int) bool
}

func (w *wiretap) option(c *clientv3.Config) {
	c.DialOptions = append(c.DialOptions, grpc.WithChainUnaryInterceptor(w.intercept))
}

func (w *wiretap) intercept(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if method != "/etcdserverpb.KV/Txn" {
		return invoke(ctx, method, req, reply, cc, opts...)
	}
	w.mu.Lock()
	n := w.n
	w.n++
	w.last = req.(*pb.TxnRequest)
	before, refuse, after, drop := w.before, w.refuse, w.after, w.drop
	w.mu.Unlock()
	if before != nil {
		before(n)
	}
	if refuse != nil && refuse(n) {
		return status.Error(codes.Unavailable, "refused by the test")
	}
	err := invoke(ctx, method, req, reply, cc, opts...)
	if after != nil {
		after(n)
	}
	if err == nil && drop != nil && drop(n) {
		return status.Error(codes.Unavailable, "dropped by the test")
	}
	return err
}

// set starts counting anew with these functions in place.
func (w *wiretap) set(next *wiretap) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n, w.before, w.refuse, w.after, w.drop = 0, next.before, next.refuse, next.after, next.drop
}

func (w *wiretap) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.n
}

// request returns the last one that was sent.
func (w *wiretap) request() *pb.TxnRequest {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

func first(n int) bool { return n == 0 }
func every(int) bool   { return true }
