package wire

import (
	"bytes"
	"encoding/json"
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/cellpb"
)

// Marshal returns the bytes that v's key is to hold. Its revision is not in them. Equal values give equal bytes. A value that
// cellstate says cannot be, or a text that is not UTF-8, is an error that wraps cellstate.ErrInvalid.
func Marshal(v cellstate.Value) ([]byte, error) {
	if err := check(v); err != nil {
		return nil, opError("encode", v.Key(), err)
	}
	if l, ok := v.(*cellstate.Ledger); ok {
		return appendLedger(make([]byte, 0, 128+96*len(l.Claims)), l), nil
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(message(v))
	if err != nil {
		return nil, opError("encode", v.Key(), fmt.Errorf("%w: %w", cellstate.ErrInvalid, err))
	}
	return b, nil
}

// Unmarshal returns the value that key k holds in b, as of revision rev, which it sets where the type keeps it. The claims of
// a ledger are summed. The value keeps nothing of b. Every error wraps cellstate.ErrInvalid.
func Unmarshal(k cellstate.Key, b []byte, rev int64) (cellstate.Value, error) {
	if err := CheckKey(k); err != nil {
		return nil, err
	}
	v, err := decode(k, b, rev)
	if err == nil && v.Key() != k {
		err = fmt.Errorf("the value is that of %s: %w", v.Key(), cellstate.ErrInvalid)
	}
	if err == nil {
		err = check(v)
	}
	if err != nil {
		return nil, opError("decode", k, err)
	}
	return v, nil
}

// JSON returns v's message in protobuf's JSON form, on one line, with the names of cell.proto. Unlike protojson's own it is
// the same each time. Being for people, it shows also what Marshal would refuse, except text that is not UTF-8.
func JSON(v cellstate.Value) ([]byte, error) {
	spaced, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(message(v))
	if err != nil {
		return nil, opError("encode", v.Key(), fmt.Errorf("%w: %w", cellstate.ErrInvalid, err))
	}
	var b bytes.Buffer
	if err := json.Compact(&b, spaced); err != nil {
		return nil, opError("encode", v.Key(), fmt.Errorf("%w: %w", cellstate.ErrInvalid, err))
	}
	return b.Bytes(), nil
}

func opError(op string, k cellstate.Key, err error) error {
	return &cellstate.OpError{Op: op, On: k.String(), Err: err}
}

// message returns v in its stored form. The set of values is closed: another type is a bug of this repository.
func message(v cellstate.Value) proto.Message {
	switch v := v.(type) {
	case *cellstate.Ledger:
		return ledgerTo(v)
	case *cellstate.Report:
		return reportTo(v)
	case *cellstate.Session:
		return sessionTo(v)
	case *cellstate.Machine:
		return machineTo(v)
	case *cellstate.Tenant:
		return tenantTo(v)
	case *cellstate.Job:
		return jobTo(v)
	case *cellstate.JobStatus:
		return statusTo(v)
	case *cellstate.Scheduler:
		return schedulerTo(v)
	case *cellstate.Leader:
		return leaderTo(v)
	}
	panic(fmt.Sprintf("wire: no message for %T", v))
}

// decode reads what b says, whatever it says; see check. The kind of k is a known one.
func decode(k cellstate.Key, b []byte, rev int64) (cellstate.Value, error) {
	var r reader
	var v cellstate.Value
	switch k.Kind {
	case cellstate.KindLedger:
		l, err := readLedger(b, k.Name)
		if err != nil {
			return nil, err
		}
		l.Rev = rev
		v = l.Sum()
	case cellstate.KindReport:
		rep, err := readReport(b, k.Name)
		if err != nil {
			return nil, err
		}
		sortReport(rep)
		v = rep
	case cellstate.KindSession:
		var m cellpb.Session
		r.parse(b, &m)
		v = r.session(&m)
	case cellstate.KindMachine:
		var m cellpb.Machine
		r.parse(b, &m)
		v = r.machine(&m)
	case cellstate.KindTenant:
		var m cellpb.Tenant
		r.parse(b, &m)
		t := r.tenant(&m)
		t.Rev = rev
		v = t
	case cellstate.KindJob:
		var m cellpb.Job
		r.parse(b, &m)
		j := r.job(&m)
		j.Rev = rev
		v = j
	case cellstate.KindStatus:
		var m cellpb.JobStatus
		r.parse(b, &m)
		s := r.status(&m)
		s.Rev = rev
		v = s
	case cellstate.KindScheduler:
		var m cellpb.Scheduler
		r.parse(b, &m)
		v = r.scheduler(&m)
	case cellstate.KindLeader:
		var m cellpb.Leader
		r.parse(b, &m)
		v = r.leader(&m)
	}
	return v, r.err
}

// reader turns messages into values. It keeps the first thing that no value can hold, such as an unknown enumerator.
type reader struct{ err error }

func (r *reader) parse(b []byte, m proto.Message) {
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(b, m); err != nil {
		r.err = fmt.Errorf("%w: %w", cellstate.ErrInvalid, err)
	}
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format+": %w", append(args, cellstate.ErrInvalid)...)
	}
}

// enum converts an enumerator, whose numbers are those of cellstate. The zero is let through: whether it may be is check's.
func enum[E ~uint8, P ~int32](r *reader, field string, p P, last E) E {
	if p < 0 || p > P(last) {
		r.fail("%s: there is no enumerator %d", field, int32(p))
		return 0
	}
	return E(p)
}
