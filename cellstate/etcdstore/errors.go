package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/omegacell/omegacell/cellstate"
)

// fate is what an error of a request says about the request.
type fate uint8

const (
	fateInvalid   fate = iota + 1 // it is refused and always will be
	fateOps                       // it has more operations than etcd takes
	fateBytes                     // it is larger than etcd, or the client, takes
	fateNotDone                   // nothing was done
	fateUnknown                   // it may have been done
	fateCompacted                 // the revision it asks for is compacted
)

// fateOf judges an error of etcd, or of gRPC on the way. Sent says that the request may have left for a server.
func fateOf(err error, sent bool) fate {
	unsure := fateUnknown
	if !sent {
		unsure = fateNotDone
	}
	switch known := rpctypes.Error(err); {
	case errors.Is(known, rpctypes.ErrTooManyOps):
		return fateOps
	case errors.Is(known, rpctypes.ErrRequestTooLarge):
		return fateBytes
	case errors.Is(known, rpctypes.ErrCompacted):
		return fateCompacted
	case errors.Is(known, rpctypes.ErrNoSpace), errors.Is(known, rpctypes.ErrTooManyRequests),
		errors.Is(known, rpctypes.ErrAuthOldRevision):
		return fateNotDone
	case errors.Is(known, rpctypes.ErrNotLeader), errors.Is(known, rpctypes.ErrLeaderChanged):
		return unsure
	}
	code := codes.Unknown
	var known rpctypes.EtcdError
	if st, ok := status.FromError(err); ok {
		code = st.Code()
	} else if errors.As(err, &known) {
		code = known.Code()
	}
	switch code {
	case codes.ResourceExhausted:
		// gRPC itself, on either side: "trying to send message larger than max", "received message larger than max".
		if strings.Contains(err.Error(), "larger than max") {
			return fateBytes
		}
		return fateNotDone
	case codes.InvalidArgument, codes.NotFound, codes.FailedPrecondition, codes.OutOfRange, codes.AlreadyExists,
		codes.PermissionDenied, codes.Unauthenticated, codes.Unimplemented:
		return fateInvalid
	}
	return unsure
}

// readError gives the error of a request that only reads, or of a lease: one that may be repeated at will.
func readError(op, on string, err error) error {
	kind := cellstate.ErrUnavailable
	switch fateOf(err, false) {
	case fateInvalid, fateOps, fateBytes:
		kind = cellstate.ErrInvalid
	case fateCompacted:
		kind = cellstate.ErrCompacted
	}
	return opError(op, on, kind, err)
}

// opError keeps what caused err readable, and what may be asked of it with errors.Is: the kind, and an ended context.
func opError(op, on string, kind, err error) error {
	if cause := contextCause(err); cause != nil {
		return &cellstate.OpError{Op: op, On: on, Err: fmt.Errorf("%w: %w", kind, cause)}
	}
	return &cellstate.OpError{Op: op, On: on, Err: fmt.Errorf("%w: %v", kind, err)}
}

func contextCause(err error) error {
	for _, c := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, c) {
			return c
		}
	}
	return nil
}
