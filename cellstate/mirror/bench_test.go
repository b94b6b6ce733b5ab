package mirror

import (
	"fmt"
	"testing"

	"github.com/omegacell/omegacell/cellstate"
)

// bigCell lists n machines, each with a ledger of ten claims, a session, a report and attributes.
func bigCell(n int) cellstate.Listing {
	l := cellstate.Listing{Rev: 2}
	add := func(v cellstate.Value) {
		l.Records = append(l.Records, cellstate.Record{Key: v.Key(), Rev: 2, Value: cellstate.WithRev(v, 2)})
	}
	for i := range n {
		m := fmt.Sprintf("rack%d-m%d", i/40, i%40)
		add(busy(m, i, 0))
		add(&cellstate.Session{Machine: m})
		add(&cellstate.Report{Machine: m})
		add(&cellstate.Machine{Name: m})
	}
	return l
}

// busy is a ledger of ten claims of nine jobs, of which the first depends on round.
func busy(machine string, i, round int) *cellstate.Ledger {
	l := cellstate.NewLedger(machine, cellstate.Resources{CPUMilli: 64_000})
	job := func(j, task int) {
		l.Claims = append(l.Claims, cellstate.Claim{ID: cellstate.ClaimID{Scheduler: "batch", Job: fmt.Sprintf("job-%d", j), Task: uint32(task)}})
	}
	job((i+round)%1000, 0)
	for k := range 9 {
		job(1000+(i*7+k*13)%1000, k)
	}
	return l.Sum()
}

func mustImage(b testing.TB) *image {
	im, err := newImage()
	if err != nil {
		b.Fatal(err)
	}
	return im
}

// One ledger of 10,000 changes, by one claim in and one out, in batches of so many machines.
func BenchmarkApplyLedger(b *testing.B) {
	for _, size := range []int{1, 100} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			const n = 10_000
			im := mustImage(b)
			im.apply(im.difference(bigCell(n)), 1)
			events := make([][]cellstate.Event, 2*n/size)
			for i := range events {
				for k := range size {
					at := (i*size + k) * 7919 % n
					l := busy(fmt.Sprintf("rack%d-m%d", at/40, at%40), at, i/(n/size)+1)
					events[i] = append(events[i], cellstate.Event{Record: cellstate.Record{Key: l.Key(), Rev: 3, Value: l}})
				}
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				im.apply(cellstate.Batch{Rev: int64(3 + i), Events: events[i%len(events)]}, 1)
				i++
			}
			b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "ledgers/s")
		})
	}
}

func BenchmarkSnapshot(b *testing.B) {
	m, err := New(Config{Store: &counting{}, Now: func() cellstate.Instant { return 1 }})
	if err != nil {
		b.Fatal(err)
	}
	m.apply(m.image.difference(bigCell(10_000)))
	b.ReportAllocs()
	for b.Loop() {
		if m.Snapshot().Len() == 0 {
			b.Fatal("empty")
		}
	}
}

func BenchmarkMachineByName(b *testing.B) {
	im := mustImage(b)
	im.apply(im.difference(bigCell(10_000)), 1)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := im.now.Machine("rack100-m7"); !ok {
			b.Fatal("not there")
		}
	}
}

// A planner's walk over every machine.
func BenchmarkWalk(b *testing.B) {
	im := mustImage(b)
	im.apply(im.difference(bigCell(10_000)), 1)
	var snap cellstate.Snapshot = im.now
	b.ReportAllocs()
	for b.Loop() {
		for i := range snap.Len() {
			if snap.At(i) == nil {
				b.Fatal("not there")
			}
		}
	}
}

func BenchmarkColdRebuild(b *testing.B) {
	l := bigCell(100_000)
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		im := mustImage(b)
		im.apply(im.difference(l), 1)
	}
}

// Listing again when nothing changed.
func BenchmarkSameRebuild(b *testing.B) {
	l := bigCell(100_000)
	im := mustImage(b)
	im.apply(im.difference(l), 1)
	b.ReportAllocs()
	for b.Loop() {
		if d := im.difference(l); len(d.Events) > 0 {
			b.Fatal("differs")
		}
	}
}
