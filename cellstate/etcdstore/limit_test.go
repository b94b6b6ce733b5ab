package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// The search for a limit ends close below it, whatever it is, and follows when it is lowered.
func TestLimitSearch(t *testing.T) {
	l := limit{name: "x", most: 4096}
	for _, real := range []int{5000, 4096, 1000, 128, 3, 1} {
		refusals := 0
		for range 40 {
			if n := l.fill(); n <= real {
				l.took(n)
			} else {
				l.refuse(n)
				refusals++
			}
		}
		got, want := l.fill(), min(real, l.most)
		if got > want || refusals > 13 {
			t.Errorf("limit %d: fills %d after %d refusals", real, got, refusals)
		}
		if got < want-want/4 {
			t.Errorf("limit %d: fills only %d", real, got)
		}
		if l.refused != 0 && (l.allows(l.refused) || !l.allows(l.refused-1)) || l.allows(l.least()) || !l.allows(l.least()-1) {
			t.Errorf("limit %d: %+v allows %d or not one less", real, l, l.least())
		}
	}
}

// A nested Txn adds to the count of the one around it; compares and both branches of one do not add up.
func TestTxnOps(t *testing.T) {
	flat := func(compares, puts, gets int) *pb.TxnRequest {
		return &pb.TxnRequest{Compare: make([]*pb.Compare, compares), Success: make([]*pb.RequestOp, puts), Failure: make([]*pb.RequestOp, gets)}
	}
	nested := &pb.TxnRequest{Success: []*pb.RequestOp{opTxn(flat(1, 1, 1)), opTxn(flat(2, 1, 3)), opTxn(flat(2, 2, 2))}}
	for _, tt := range []struct {
		txn  *pb.TxnRequest
		want int
	}{{flat(3, 2, 1), 3}, {flat(1, 3, 2), 3}, {flat(1, 2, 4), 4}, {nested, 3 + 3}, {&pb.TxnRequest{Failure: []*pb.RequestOp{opTxn(nested)}}, 1 + 3 + 3}} {
		if got := txnOps(tt.txn); got != tt.want {
			t.Errorf("%d operations, want %d: %v", got, tt.want, tt.txn)
		}
	}
}

// The error's kind decides whether a caller may think that nothing happened: so each is here by name.
func TestFateOf(t *testing.T) {
	for _, tt := range []struct {
		err  error
		sent bool
		want fate
	}{
		{rpctypes.ErrGRPCTooManyOps, true, fateOps},
		{rpctypes.ErrGRPCRequestTooLarge, true, fateBytes},
		{status.Error(codes.ResourceExhausted, "trying to send message larger than max (3 vs. 2)"), false, fateBytes},
		{rpctypes.ErrGRPCNoSpace, true, fateNotDone},
		{rpctypes.ErrGRPCRequestTooManyRequests, true, fateNotDone},
		{rpctypes.ErrGRPCCompacted, true, fateCompacted},
		{rpctypes.ErrGRPCFutureRev, true, fateInvalid},
		{rpctypes.ErrGRPCDuplicateKey, true, fateInvalid},
		{rpctypes.ErrGRPCLeaseNotFound, true, fateInvalid},
		{rpctypes.ErrGRPCPermissionDenied, true, fateInvalid},
		{rpctypes.ErrGRPCTimeout, true, fateUnknown},
		{rpctypes.ErrGRPCTimeoutDueToLeaderFail, true, fateUnknown},
		{rpctypes.ErrGRPCLeaderChanged, true, fateUnknown},
		{rpctypes.ErrGRPCNotLeader, true, fateUnknown},
		{rpctypes.ErrGRPCStopped, true, fateUnknown},
		{status.Error(codes.Unavailable, "error reading from server: EOF"), true, fateUnknown},
		{status.Error(codes.Unavailable, "connection refused"), false, fateNotDone},
		{status.FromContextError(context.DeadlineExceeded).Err(), true, fateUnknown},
		{context.DeadlineExceeded, false, fateNotDone},
		{errors.New("something else"), true, fateUnknown},
	} {
		if got := fateOf(tt.err, tt.sent); got != tt.want {
			t.Errorf("fateOf(%v, sent %v) = %d, want %d", tt.err, tt.sent, got, tt.want)
		}
	}
	if err := opError("x", "y", errClosed, fmt.Errorf("in: %w", context.Canceled)); !errors.Is(err, context.Canceled) {
		t.Errorf("%v hides that the context ended", err)
	}
}
