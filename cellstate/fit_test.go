package cellstate

import (
	"slices"
	"testing"
)

// lasting is a claim of cpu during [start, end).
func lasting(job string, milli int64, start, end Instant) Claim {
	c := claimOf("batch", job, 0, cpu(milli))
	c.Start, c.End = start, end
	return c
}

func evictedAt(c Claim, deadline Instant) Claim {
	c.Evict = &Eviction{Deadline: deadline}
	return c
}

func ended(c Claim) Claim {
	c.Ended = true
	return c
}

// TestFitOverTime claims 600m of a machine of 1000m, beside what is there.
func TestFitOverTime(t *testing.T) {
	for _, tt := range []struct {
		name       string
		there      []Claim
		start, end Instant
		free       int64 // the least there is; fits where it is 600 or more
	}{
		{"empty machine", nil, 0, 0, 1000},
		{"touches the end of another", []Claim{lasting("a", 600, 10, 20)}, 20, 30, 1000},
		{"overlaps its end by 1 ms", []Claim{lasting("a", 600, 10, 20)}, 19, 30, 400},
		{"touches the start of another", []Claim{lasting("a", 600, 10, 20)}, 5, 10, 1000},
		{"1 ms that touches the start", []Claim{lasting("a", 600, 10, 20)}, 9, 10, 1000},
		{"overlaps its start by 1 ms", []Claim{lasting("a", 600, 10, 20)}, 5, 11, 400},
		{"inside another", []Claim{lasting("a", 600, 10, 20)}, 12, 13, 400},
		{"around another", []Claim{lasting("a", 600, 10, 20)}, 5, 30, 400},
		{"exactly what is left", []Claim{lasting("a", 400, 10, 20)}, 10, 20, 600},
		{"one less than that", []Claim{lasting("a", 401, 10, 20)}, 10, 20, 599},

		{"ends before a reservation", []Claim{lasting("a", 600, 100, 0)}, 0, 100, 1000},
		{"ends 1 ms into it", []Claim{lasting("a", 600, 100, 0)}, 0, 101, 400},
		{"endless before a reservation", []Claim{lasting("a", 600, 100, 0)}, 0, 0, 400},
		{"endless before one that ends", []Claim{lasting("a", 600, 100, 200)}, 0, 0, 400},
		{"after all that ends", []Claim{lasting("a", 600, 100, 200)}, 200, 0, 1000},

		{"two that do not meet count once", []Claim{lasting("a", 400, 10, 20), lasting("b", 400, 20, 30)}, 0, 0, 600},
		{"two that do not meet, up to 1 ms into the second", []Claim{lasting("a", 400, 10, 20), lasting("b", 400, 20, 30)}, 0, 21, 600},
		{"two that meet for 1 ms", []Claim{lasting("a", 400, 10, 21), lasting("b", 400, 20, 30)}, 0, 0, 200},
		{"the gap between two", []Claim{lasting("a", 600, 10, 20), lasting("b", 600, 30, 40)}, 20, 30, 1000},
		{"the gap and 1 ms before", []Claim{lasting("a", 600, 10, 20), lasting("b", 600, 30, 40)}, 19, 30, 400},
		{"the gap and 1 ms after", []Claim{lasting("a", 600, 10, 20), lasting("b", 600, 30, 40)}, 20, 31, 400},
		{"a short peak in a long claim", []Claim{lasting("a", 200, 0, 0), lasting("b", 201, 50, 51)}, 0, 0, 599},

		{"evicted, from its deadline", []Claim{evictedAt(lasting("a", 600, 0, 0), 50)}, 50, 0, 1000},
		{"evicted, 1 ms before", []Claim{evictedAt(lasting("a", 600, 0, 0), 50)}, 49, 0, 400},
		{"evicted later than its end: end", []Claim{evictedAt(lasting("a", 600, 0, 40), 50)}, 40, 0, 1000},
		{"evicted later than its end: before", []Claim{evictedAt(lasting("a", 600, 0, 40), 50)}, 39, 0, 400},
		{"evicted before it starts", []Claim{evictedAt(lasting("a", 600, 60, 0), 50)}, 0, 0, 1000},
		{"ended", []Claim{ended(lasting("a", 600, 0, 0))}, 0, 0, 1000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := ledgerOf(cpu(1000), tt.there...)
			c := lasting("new", 600, tt.start, tt.end)
			want := Shortage{}
			if tt.free < 600 {
				want = Shortage{Reason: ReasonFull, Dimension: CPU, Want: 600, Free: tt.free}
			}
			if got := l.Fit(&c, Limits{}); got != want {
				t.Errorf("Fit = %v, want %v", got, want)
			}
			if got := l.Free(c.Start, c.until()); !got.Equal(cpu(tt.free)) {
				t.Errorf("Free = %s, want %dm", got, tt.free)
			}
		})
	}
}

// TestFitSeesEveryDimension fills one dimension at a time: the first that lacks is named.
func TestFitSeesEveryDimension(t *testing.T) {
	capacity := Resources{CPUMilli: 2000, MemBytes: 2000, DiskBytes: 2000, NetBitsPerSecond: 2000, GPUMilli: 2000, Extended: []Extended{{"fpga", 2000}}}
	for _, dim := range everyDimension {
		there := claimOf("batch", "there", 0, dim.of(1000))
		if dim.d == GPU {
			there.GPUs = []GPUShare{{0, 1000}}
		}
		l := ledgerOf(capacity, there)
		for _, tt := range []struct {
			want int64
			fits bool
		}{{1000, true}, {2000, false}} {
			c := claimOf("batch", "new", 0, dim.of(tt.want))
			got := l.Fit(&c, Limits{})
			if (got == Shortage{}) != tt.fits {
				t.Errorf("%s: %d beside 1000 of 2000: %v", dim.d, tt.want, got)
			}
			if !tt.fits && (got.Reason != ReasonFull || got.Dimension != dim.d || got.Want != 2000 || got.Free != 1000) {
				t.Errorf("%s: shortage %+v", dim.d, got)
			}
		}
	}
}

// TestFitBesideOverfull shrinks the capacity of one dimension below what is claimed of it: that refuses only who wants some.
func TestFitBesideOverfull(t *testing.T) {
	for _, dim := range everyDimension {
		for _, other := range everyDimension {
			if other.d == dim.d {
				continue
			}
			there := claimOf("batch", "there", 0, dim.of(2000))
			if dim.d == GPU {
				there.GPUs = []GPUShare{{0, 1000}, {1, 1000}}
			}
			there.Start, there.End = 10, 20
			l := ledgerOf(dim.of(1000).Add(other.of(1000)), there)
			for _, tt := range []struct {
				name  string
				want  Resources
				start Instant
				short Shortage
			}{
				{"none of it", other.of(1000), 10, Shortage{}},
				{"one of it", other.of(1000).Add(dim.of(1)), 10, Shortage{Reason: ReasonFull, Dimension: dim.d, Want: 1, Free: -1000}},
				{"none of it, from before", other.of(1000), 0, Shortage{}},
				{"one of it, from before", other.of(1000).Add(dim.of(1)), 0, Shortage{Reason: ReasonFull, Dimension: dim.d, Want: 1, Free: -1000}},
				{"one of it, when it is over", other.of(1000).Add(dim.of(1)), 20, Shortage{}},
			} {
				c := claimOf("batch", "new", 0, tt.want)
				c.Start = tt.start
				if dim.d == ExtendedResource && tt.short != (Shortage{}) {
					tt.short.Name = "fpga"
				}
				if got := l.Fit(&c, Limits{}); got != tt.short {
					t.Errorf("%s over-full, %s wanted, %s: %+v, want %+v", dim.d, other.d, tt.name, got, tt.short)
				}
			}
		}
	}
}

func TestFitMachineRules(t *testing.T) {
	c := lasting("new", 1, 0, 0)
	l := ledgerOf(cpu(1000), lasting("a", 1, 0, 0), ended(lasting("b", 1, 0, 0)))
	for _, tt := range []struct {
		name   string
		change func(l *Ledger)
		limit  int
		want   Reason
	}{
		{"one below the limit", func(*Ledger) {}, 3, 0},
		{"at the limit; ended claims count too", func(*Ledger) {}, 2, ReasonTooManyClaims},
		{"zero is the default limit", func(*Ledger) {}, 0, 0},
		{"one below the hard bound", func(l *Ledger) { l.Claims = make([]Claim, MaxClaims-1) }, MaxClaims + 1, 0},
		{"at the hard bound", func(l *Ledger) { l.Claims = make([]Claim, MaxClaims) }, MaxClaims + 1, ReasonTooManyClaims},
		{"cordoned", func(l *Ledger) { l.Cordoned = true }, 0, ReasonCordoned},
		{"drained", func(l *Ledger) { l.Drain = &Drain{Deadline: 5} }, 0, ReasonCordoned},
	} {
		n := l.Clone()
		tt.change(n)
		if got := n.Fit(&c, Limits{ClaimsPerMachine: tt.limit}); got.Reason != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestOvercommitted(t *testing.T) {
	l := ledgerOf(cpu(1000), lasting("a", 600, 0, 20), lasting("b", 400, 10, 30))
	if got := l.Overcommitted(0); got != (Shortage{}) {
		t.Errorf("full to the last: %v", got)
	}
	l.Capacity = cpu(999)
	if got, want := l.Overcommitted(0), (Shortage{Reason: ReasonFull, Dimension: CPU, Want: 1000, Free: 999}); got != want {
		t.Errorf("one over during [10, 20): %v, want %v", got, want)
	}
	if got := l.Overcommitted(19); got == (Shortage{}) {
		t.Error("one over at 19 is not seen from 19 on")
	}
	if got := l.Overcommitted(20); got != (Shortage{}) {
		t.Errorf("from 20 on there is room: %v", got)
	}
	one, other := claimOf("batch", "a", 0, gpu(600)), claimOf("batch", "b", 0, gpu(401))
	one.GPUs, other.GPUs = []GPUShare{{1, 600}}, []GPUShare{{1, 401}}
	if got, want := ledgerOf(gpu(2000), one, other).Overcommitted(0), (Shortage{Reason: ReasonGPUDevice, Want: 1001, Free: 1000}); got != want {
		t.Errorf("device 1 over by one: %v, want %v", got, want)
	}
	other.Resources, other.GPUs = gpu(400), []GPUShare{{1, 400}}
	if got := ledgerOf(gpu(2000), one, other).Overcommitted(0); got != (Shortage{}) {
		t.Errorf("device 1 exactly full: %v", got)
	}
}

// TestAssignGPUs: a share takes the device with the least room that holds it; whole devices the first free ones.
func TestAssignGPUs(t *testing.T) {
	on := func(job string, milli int64, start, end Instant, gpus ...GPUShare) Claim {
		c := claimOf("batch", job, 0, gpu(milli))
		c.Start, c.End, c.GPUs = start, end, gpus
		return c
	}
	busy := []Claim{on("a", 300, 0, 0, GPUShare{1, 300}), on("b", 600, 0, 0, GPUShare{2, 600}), on("c", 1000, 100, 200, GPUShare{3, 1000})}
	for _, tt := range []struct {
		name       string
		there      []Claim
		want       int64
		start, end Instant
		got        []GPUShare
		short      Shortage
	}{
		{"empty: the first", nil, 500, 0, 0, []GPUShare{{0, 500}}, Shortage{}},
		{"best fit, exactly", busy, 400, 0, 0, []GPUShare{{2, 400}}, Shortage{}},
		{"best fit, one more", busy, 401, 0, 0, []GPUShare{{1, 401}}, Shortage{}},
		{"next best, exactly", busy, 700, 0, 0, []GPUShare{{1, 700}}, Shortage{}},
		{"only an empty one", busy, 701, 0, 0, []GPUShare{{0, 701}}, Shortage{}},
		{"a device reserved later is not free for an endless share", []Claim{on("c", 1000, 100, 200, GPUShare{0, 1000})}, 500, 0, 0, []GPUShare{{1, 500}}, Shortage{}},
		{"but for one that ends before", []Claim{on("c", 1000, 100, 200, GPUShare{0, 1000})}, 500, 0, 100, []GPUShare{{0, 500}}, Shortage{}},
		{"one whole", busy, 1000, 0, 0, []GPUShare{{0, 1000}}, Shortage{}},
		{"two whole before the reservation", busy, 2000, 0, 100, []GPUShare{{0, 1000}, {3, 1000}}, Shortage{}},
		{"two whole into the reservation", busy, 2000, 0, 101, nil, Shortage{Reason: ReasonGPUDevice, Want: 2000, Free: 1000}},
		{"a share of none", []Claim{on("a", 4000, 0, 0, GPUShare{0, 1000}, GPUShare{1, 1000}, GPUShare{2, 1000}, GPUShare{3, 1000})}, 1, 0, 0,
			nil, Shortage{Reason: ReasonGPUDevice, Want: 1}},
		{"room in sum, on no device", []Claim{on("a", 600, 0, 0, GPUShare{0, 600}), on("b", 600, 0, 0, GPUShare{1, 600}),
			on("c", 600, 0, 0, GPUShare{2, 600}), on("d", 600, 0, 0, GPUShare{3, 600})}, 401, 0, 0,
			nil, Shortage{Reason: ReasonGPUDevice, Want: 401, Free: 400}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := ledgerOf(gpu(4000), tt.there...)
			c := on("new", tt.want, tt.start, tt.end)
			got, short := l.AssignGPUs(&c)
			if !slices.Equal(got, tt.got) || short != tt.short {
				t.Errorf("AssignGPUs = %v, %v; want %v, %v", got, short, tt.got, tt.short)
			}
		})
	}
}

// TestNamedGPUs: a claim may name its devices; then those must have room.
func TestNamedGPUs(t *testing.T) {
	there := claimOf("batch", "a", 0, gpu(600))
	there.GPUs = []GPUShare{{0, 600}}
	l := ledgerOf(gpu(2000), there)
	for _, tt := range []struct {
		name string
		gpus []GPUShare
		want Shortage
	}{
		{"what is left of device 0", []GPUShare{{0, 400}}, Shortage{}},
		{"one more", []GPUShare{{0, 401}}, Shortage{Reason: ReasonGPUDevice, Want: 401, Free: 400}},
		{"the last device", []GPUShare{{1, 1000}}, Shortage{}},
		{"one beyond", []GPUShare{{2, 1000}}, Shortage{Reason: ReasonGPUDevice, Want: 1000}},
	} {
		c := claimOf("batch", "new", 0, gpu(int64(tt.gpus[0].Milli)))
		c.GPUs = tt.gpus
		if got := l.Fit(&c, Limits{}); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
