package storetest

import (
	"errors"
	"time"

	"github.com/omegacell/omegacell/cellstate"
)

// underLease puts two sessions and a tenant, the sessions under a lease, and returns the revision.
func (b *bench) underLease(l cellstate.Lease) int64 {
	b.Helper()
	return b.swap(cellstate.Swap{Put: []cellstate.Put{
		{Value: &cellstate.Session{Machine: "m0", Epoch: 1}, Lease: l.ID()},
		{Value: &cellstate.Session{Machine: "m1", Epoch: 1}, Lease: l.ID()},
		{Value: &cellstate.Tenant{Name: "stays"}},
	}}).Rev
}

// wantGone watches until the two sessions are gone, both in one revision.
func (b *bench) wantGone(rev int64) {
	b.Helper()
	for batch, err := range b.s.Watch(b.Context(), cellstate.Range{}, rev+1) {
		if err != nil {
			b.Fatalf("Watch: %v", err)
		}
		if len(batch.Events) == 0 {
			continue
		}
		if got, want := change(batch), "[-session m0 -session m1]"; got != want {
			b.Errorf("the end of the lease changed %s, want %s", got, want)
		}
		break
	}
	if got := keys(b.list(cellstate.Range{}, 0)); got != "tenant stays" {
		b.Errorf("after the end of the lease there is %q", got)
	}
}

func (b *bench) lease(s cellstate.Store, ttl time.Duration) cellstate.Lease {
	b.Helper()
	l, err := s.Lease(b.Context(), ttl)
	if err != nil {
		b.Fatalf("Lease: %v", err)
	}
	return l
}

func testLeaseClose(b *bench) {
	l := b.lease(b.s, time.Minute)
	other := b.lease(b.s, time.Minute)
	if l.ID() == 0 || l.ID() == other.ID() {
		b.Fatalf("leases %x and %x", l.ID(), other.ID())
	}
	rev := b.underLease(l)
	if r := b.get(cellstate.SessionKey("m0")); r.Lease != l.ID() {
		b.Errorf("session m0 stands under lease %x, want %x", r.Lease, l.ID())
	}
	if err := l.Close(b.Context()); err != nil {
		b.Fatalf("Close: %v", err)
	}
	<-l.Done()
	b.wantGone(rev)
	if err := l.Close(b.Context()); err != nil {
		b.Errorf("closing again: %v", err)
	}
	select {
	case <-other.Done():
		b.Error("the other lease is done too")
	default:
	}
}

func testLeaseRunsOut(b *bench) {
	owner := b.cell.Open()
	l := b.lease(owner, time.Second)
	rev := b.underLease(l)
	b.cell.Cut(owner)
	b.wantGone(rev)
	<-l.Done()
}

func testLeaseUnknown(b *bench) {
	l := b.lease(b.s, time.Minute)
	if err := l.Close(b.Context()); err != nil {
		b.Fatalf("Close: %v", err)
	}
	_, err := b.s.Swap(b.Context(), cellstate.Swap{Put: []cellstate.Put{{Value: leader("late"), Lease: l.ID()}}})
	if !errors.Is(err, cellstate.ErrInvalid) {
		b.Errorf("a put under a lease that is gone: error %v, want %v", err, cellstate.ErrInvalid)
	}
	if _, err := b.s.Lease(b.Context(), 0); !errors.Is(err, cellstate.ErrInvalid) {
		b.Errorf("a lease of no time: error %v, want %v", err, cellstate.ErrInvalid)
	}
}
