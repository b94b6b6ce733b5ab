package cellstate

import (
	"fmt"
	"testing"
)

// busy is a ledger with n claims that have begun, of 100m each, and room for more. Timed ones end one after another, and as
// many reservations follow; with GPUs every fourth claim has a share of 250m.
func busy(machine string, n int, timed, gpus bool) *Ledger {
	l := NewLedger(machine, Resources{CPUMilli: int64(n+10) * 100, MemBytes: 1 << 40, GPUMilli: 8000})
	for i := range n {
		c := claimOf("batch", "busy", uint32(i), Resources{CPUMilli: 100, MemBytes: 1 << 20})
		if timed {
			c.End = Instant(1000 + i)
			if i%2 == 1 {
				c.Start, c.End = Instant(2000+i), 0
			}
		}
		if gpus && i%4 == 0 && i/4 < 24 {
			c.Resources.GPUMilli = 250
			c.GPUs = []GPUShare{{uint16(i / 16), 250}}
		}
		l.Claims = append(l.Claims, c)
	}
	return l.Sum()
}

// BenchmarkFit asks about a claim that fits and one that does not, on claims without an end; about one beside claims that end
// and begin later; and about a share of a GPU.
func BenchmarkFit(b *testing.B) {
	for _, n := range []int{1, 10, 100, 1000} {
		plain, timed, gpus := busy("m1", n, false, false), busy("m1", n, true, false), busy("m1", n, false, true)
		short, long := lasting("new", 1000, 500, 0), lasting("new", 1001, 500, 0)
		share := short
		share.Resources.GPUMilli = 300
		lim := Limits{}.WithDefaults()
		for _, bb := range []struct {
			name string
			l    *Ledger
			c    Claim
			fits bool
		}{
			{"fits", plain, short, true}, {"full", plain, long, false}, {"future", timed, long, n > 1}, {"gpu-share", gpus, share, true},
		} {
			b.Run(fmt.Sprintf("%s/claims=%d", bb.name, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if s := bb.l.Fit(&bb.c, lim); (s == Shortage{}) != bb.fits {
						b.Fatal(s)
					}
				}
			})
		}
	}
}

// BenchmarkFitGPUs asks about a share, from before most of 20 claims begin, of a machine of eight devices.
func BenchmarkFitGPUs(b *testing.B) {
	l := NewLedger("m1", Resources{CPUMilli: 100_000, GPUMilli: 8000})
	for i := range 20 {
		c := claimOf("batch", "busy", uint32(i), Resources{CPUMilli: 100, GPUMilli: 400})
		c.GPUs = []GPUShare{{uint16(i / 2 % 8), 400}}
		c.Start, c.End = Instant(100*(i/16)), Instant(100+100*(i/16)) // four follow when the first end
		l.Claims = append(l.Claims, c)
	}
	l.Sum()
	for _, bb := range []struct {
		name  string
		start Instant
	}{{"sweep", 50}, {"pass", 150}} {
		c := claimOf("s", "new", 0, Resources{CPUMilli: 100, GPUMilli: 200})
		c.Start = bb.start
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if s := l.Fit(&c, Limits{}); s != (Shortage{}) {
					b.Fatal(s)
				}
			}
		})
	}
}

// BenchmarkCommitGoes removes, or evicts, every second claim of a machine in one transaction.
func BenchmarkCommitGoes(b *testing.B) {
	for _, n := range []int{100, 1000} {
		l := busy("m1", n, false, false)
		v := newCell(l)
		removes := &Txn{ID: "t", Scheduler: "batch", Mode: Incremental, Rule: FitRule}
		evicts := &Txn{ID: "t", Scheduler: "batch", Mode: Incremental, Rule: FitRule}
		for i := 0; i < n; i += 2 {
			ref := ClaimRef{"m1", l.Claims[i].ID}
			removes.Remove = append(removes.Remove, ref)
			evicts.Evict = append(evicts.Evict, Evict{ref, Eviction{Deadline: 9}})
		}
		for _, bb := range []struct {
			name string
			x    *Txn
		}{{"remove", removes}, {"evict", evicts}} {
			p := bb.x.Parts()[0]
			b.Run(fmt.Sprintf("%s/claims=%d", bb.name, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if o := bb.x.CommitPart(v, p, Limits{}); len(o.Committed) != n/2 {
						b.Fatal(o.Conflicts)
					}
				}
			})
		}
	}
}

func BenchmarkClone(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		l := busy("m1", n, false, false)
		b.Run(fmt.Sprintf("claims=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				l.Clone()
			}
		})
	}
}

// BenchmarkWith is what a planner pays to reckon with one decision more.
func BenchmarkWith(b *testing.B) {
	c := claimOf("s", "new", 0, Resources{CPUMilli: 100, MemBytes: 1 << 20})
	for _, n := range []int{1, 10, 100} {
		l := busy("m1", n, false, false)
		b.Run(fmt.Sprintf("claims=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				l.With(c)
			}
		})
	}
}

func BenchmarkSum(b *testing.B) {
	l := busy("m1", 100, false, false)
	b.ReportAllocs()
	for b.Loop() {
		l.Sum()
	}
}

// BenchmarkCommitPart adds a claim to one machine.
func BenchmarkCommitPart(b *testing.B) {
	for _, n := range []int{1, 10, 100, 1000} {
		v := newCell(busy("m1", n, false, false))
		c := claimOf("s", "new", 0, Resources{CPUMilli: 100, MemBytes: 1 << 20})
		x := &Txn{ID: "t", Scheduler: "s", Mode: Incremental, Rule: FitRule, Add: []Claim{c}}
		p := x.Parts()[0]
		b.Run(fmt.Sprintf("claims=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if o := x.CommitPart(v, p, Limits{}); len(o.Committed) != 1 {
					b.Fatal(o.Conflicts)
				}
			}
		})
	}
}

// BenchmarkCommit adds a claim to each of some machines that hold ten; and, the worst for a refusal, a gang of 10,000 of which
// none fits.
func BenchmarkCommit(b *testing.B) {
	v := newCell()
	var all []Claim
	for i := range 100 {
		c := claimOf("s", "new", uint32(i), Resources{CPUMilli: 100, MemBytes: 1 << 20})
		c.Machine = fmt.Sprintf("m%d", i)
		v.store(busy(c.Machine, 10, false, false))
		all = append(all, c)
	}
	run := func(name string, x *Txn, committed int) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if o, err := Commit(v, x, Limits{}); err != nil || len(o.Committed) != committed {
					b.Fatal(err, len(o.Conflicts))
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(x.Add)), "ns/claim")
		})
	}
	for _, n := range []int{1, 100} {
		for _, mode := range []Mode{Incremental, AllOrNothing} {
			for _, rule := range []Rule{FitRule, SeqRule} {
				x := &Txn{ID: "t", Scheduler: "s", Mode: mode, Rule: rule, Basis: v, Add: all[:n]}
				run(fmt.Sprintf("machines=%d/mode=%s/rule=%s", n, mode, rule), x, n)
			}
		}
	}
	huge := &Txn{ID: "t", Scheduler: "s", Mode: AllOrNothing, Rule: FitRule}
	for i := range 10_000 {
		c := all[i%100]
		c.ID.Task, c.Resources.CPUMilli = uint32(i), 1<<30
		huge.Add = append(huge.Add, c)
	}
	run("refused-gang=10000", huge, 0)
}

// TestFitAllocatesNothing: planners call it for every machine of the cell.
func TestFitAllocatesNothing(t *testing.T) {
	lim := Limits{}.WithDefaults()
	for _, tt := range []struct {
		name  string
		l     *Ledger
		start Instant
		room  int64
	}{
		{"endless claims", busy("m1", 100, false, false), 500, 1000},
		{"claims that end and begin, all before", busy("m1", 100, true, false), 2100, 6000},
	} {
		for _, milli := range []int64{tt.room, tt.room + 1} {
			c := lasting("new", milli, tt.start, 0)
			if s := tt.l.Fit(&c, lim); (s == Shortage{}) != (milli == tt.room) {
				t.Errorf("%s: %v", tt.name, s)
			}
			if n := testing.AllocsPerRun(100, func() { tt.l.Fit(&c, lim) }); n != 0 {
				t.Errorf("%s: Fit of %dm allocates %v times", tt.name, milli, n)
			}
		}
	}
}
