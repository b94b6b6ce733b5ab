package wire

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/cellpb"
)

// oracleLedger reads a ledger through the generated code: slow, and right by construction.
func oracleLedger(b []byte) (*cellstate.Ledger, error) {
	var r reader
	var m cellpb.Ledger
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(b, &m); err != nil {
		return nil, err
	}
	l := r.ledger(&m)
	return l, r.err
}

func (r *reader) ledger(m *cellpb.Ledger) *cellstate.Ledger {
	l := &cellstate.Ledger{
		Machine:  m.GetMachine(),
		Capacity: r.resources(m.GetCapacity()),
		Cordoned: m.GetCordoned(),
	}
	if d := m.GetDrain(); d != nil {
		l.Drain = &cellstate.Drain{Deadline: cellstate.Instant(d.GetDeadlineUnixMillis()), Reason: d.GetReason()}
	}
	if n := len(m.GetClaims()); n > 0 {
		l.Claims = make([]cellstate.Claim, n)
		for i, c := range m.GetClaims() {
			r.claim(&l.Claims[i], c)
		}
	}
	return l
}

func (r *reader) claim(c *cellstate.Claim, m *cellpb.Claim) {
	*c = cellstate.Claim{
		ID: cellstate.ClaimID{
			Scheduler: m.GetScheduler(), Job: m.GetJob(), Run: m.GetRun(), Task: m.GetTask(), Attempt: m.GetAttempt(),
		},
		JobVersion: m.GetJobVersion(),
		Precedence: cellstate.Precedence(m.GetPrecedence()),
		GangMin:    m.GetGangMin(),
		Resources:  r.resources(m.GetResources()),
		Start:      cellstate.Instant(m.GetStartUnixMillis()),
		End:        cellstate.Instant(m.GetEndUnixMillis()),
		Ended:      m.GetEnded(),
	}
	for _, g := range m.GetGpus() {
		if g.GetDevice() > math.MaxUint16 || g.GetMilli() > cellstate.GPUDevice {
			r.fail("claim %s: gpu device %d, share %dm is outside 0..65535, 1..1000m", c.ID, g.GetDevice(), g.GetMilli())
			return
		}
		c.GPUs = append(c.GPUs, cellstate.GPUShare{Device: uint16(g.GetDevice()), Milli: uint16(g.GetMilli())})
	}
	for _, id := range m.GetAfter() {
		c.After = append(c.After, claimIDFrom(id))
	}
	if e := m.GetEvict(); e != nil {
		c.Evict = &cellstate.Eviction{
			Deadline: cellstate.Instant(e.GetDeadlineUnixMillis()), Reason: e.GetReason(), By: claimIDFrom(e.GetBy()),
		}
	}
}

// The hand-written encoding of a ledger is the generated code's, byte for byte.
func TestLedgerEncodingIsTheContracts(t *testing.T) {
	for seed := uint64(1); seed <= 300; seed++ {
		f := filler{rng: rand.New(rand.NewPCG(seed, 9)), sparse: float64(seed%3) / 2}
		l := f.value(cellstate.KindLedger).(*cellstate.Ledger)
		if seed%5 == 0 { // a message of more than 127 and of more than 16383 bytes
			l.Drain = &cellstate.Drain{Reason: strings.Repeat("é", int(seed)*40)}
		}
		got, err := Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		want, err := proto.MarshalOptions{Deterministic: true}.Marshal(ledgerTo(l))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("seed %d:\n got %x\nwant %x", seed, got, want)
		}
	}
}

// FuzzLedger holds the hand-written decoding to the generated code: the same is refused, and the rest reads the same.
func FuzzLedger(f *testing.F) {
	fill := filler{rng: rand.New(rand.NewPCG(1, 2)), sparse: 0.3}
	for range 5 {
		b, err := Marshal(fill.value(cellstate.KindLedger))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	// The same message twice is merged; groups, known numbers of other types and unknown numbers are passed over.
	twice, err := Marshal(fill.value(cellstate.KindLedger))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(twice, twice...))
	f.Add([]byte{0x0b, 0x08, 0x01, 0x0c, 0x08, 0x01, 0x2a, 0x05, 0x0d, 1, 2, 3, 4, 0xf8, 0x07, 0x01})
	f.Add([]byte{0x22, 0x02, 0x08, 0x05, 0x22, 0x03, 0x12, 0x01, 'x'})                                     // a drain in two parts
	f.Add([]byte{0x2a, 0x04, 0x62, 0x02, 0x08, 0x05, 0x2a, 0x09, 0x62, 2, 0x08, 5, 0x62, 3, 0x12, 1, 'x'}) // two claims; an eviction in two parts
	f.Add([]byte{0x22, 0x03, 0x12, 0x01, 0xff})                                                            // not UTF-8
	f.Add([]byte{0x00, 0x01})                                                                              // field 0, which cannot be
	f.Add([]byte{0x2a, 0x02, 0x0a, 0x01})                                                                  // a text that is longer than there is
	f.Add([]byte{0x80, 0x80, 0x80, 0x80, 0x10, 0x01})                                                      // field 2^29, the first that cannot be
	f.Add([]byte{0xf8, 0xff, 0xff, 0xff, 0x0f, 0x01})                                                      // field 2^29-1, the last that can
	f.Add([]byte{0x2a, 0x07, 0x1d, 1, 2, 3, 4, 0x18, 0x01})                                                // run as fixed32 and as varint
	f.Fuzz(func(t *testing.T, b []byte) {
		want, wantErr := oracleLedger(b)
		got, err := readLedger(b, "m")
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("error %v, the generated code's is %v", err, wantErr)
		}
		if err != nil {
			if !errors.Is(err, cellstate.ErrInvalid) {
				t.Fatalf("%v is not ErrInvalid", err)
			}
			return
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("read differently:\n%s", cmp.Diff(want, got, cmp.AllowUnexported(cellstate.Ledger{})))
		}
	})
}

// oracleReport reads a report through the generated code.
func oracleReport(b []byte) (*cellstate.Report, error) {
	var r reader
	var m cellpb.Report
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(b, &m); err != nil {
		return nil, err
	}
	v := &cellstate.Report{Machine: m.GetMachine(), Epoch: m.GetEpoch()}
	for _, c := range m.GetClaims() {
		v.Claims = append(v.Claims, r.claimStatus(c))
	}
	return v, r.err
}

// FuzzReport holds the hand-written decoding of reports to the generated code.
func FuzzReport(f *testing.F) {
	fill := filler{rng: rand.New(rand.NewPCG(1, 3)), sparse: 0.3}
	for range 5 {
		b, err := Marshal(fill.value(cellstate.KindReport))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(append(b, b...))
	}
	f.Add([]byte{0x1a, 0x04, 0x10, 0x07, 0x10, 0x01})                                                             // a phase that there is not, then one that there is
	f.Add([]byte{0x1a, 0x0b, 0x10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})                   // phase -1
	f.Add([]byte{0x1a, 0x07, 0x10, 0x81, 0x80, 0x80, 0x80, 0x10, 0x01})                                           // phase 2^32+1, cut to 1
	f.Add([]byte{0x1a, 0x08, 0x0a, 0x02, 0x20, 0x05, 0x0a, 0x02, 0x28, 0x03})                                     // an identity in two parts
	f.Add([]byte{0x1a, 0x0b, 0x28, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0x5a, 0x01, 0xff}) // pid -1; then not UTF-8
	f.Fuzz(func(t *testing.T, b []byte) {
		want, wantErr := oracleReport(b)
		got, err := readReport(b, "m")
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("error %v, the generated code's is %v", err, wantErr)
		}
		if err != nil {
			if !errors.Is(err, cellstate.ErrInvalid) {
				t.Fatalf("%v is not ErrInvalid", err)
			}
			return
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("read differently:\n%s", cmp.Diff(want, got))
		}
	})
}
