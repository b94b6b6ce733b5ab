package cellstate

import (
	"errors"
	"math"
	"testing"
)

// everyDimension lists the common amounts, each with a way to a vector that holds only it.
var everyDimension = []struct {
	d  Dimension
	of func(n int64) Resources
}{
	{CPU, func(n int64) Resources { return Resources{CPUMilli: n} }},
	{Memory, func(n int64) Resources { return Resources{MemBytes: n} }},
	{Disk, func(n int64) Resources { return Resources{DiskBytes: n} }},
	{Network, func(n int64) Resources { return Resources{NetBitsPerSecond: n} }},
	{GPU, func(n int64) Resources { return Resources{GPUMilli: n} }},
	{ExtendedResource, func(n int64) Resources { return Resources{Extended: []Extended{{"fpga", n}}} }},
}

func TestFits(t *testing.T) {
	for _, dim := range everyDimension {
		for _, tt := range []struct {
			name       string
			want, free int64
			fits       bool
		}{
			{"equality fits", 1000, 1000, true},
			{"one over does not", 1001, 1000, false},
			{"nothing from nothing", 0, 0, true},
			{"one from nothing does not", 1, 0, false},
			{"nothing from less than nothing", 0, -1, true},
			{"one from less than nothing does not", 1, -1, false},
		} {
			t.Run(dim.d.String()+"/"+tt.name, func(t *testing.T) {
				want, free := dim.of(tt.want), dim.of(tt.free)
				if got := want.Fits(&free); got != tt.fits {
					t.Errorf("%s fits in %s = %v, want %v", want, free, got, tt.fits)
				}
				short := firstShortage(&want, &free)
				if (short == Shortage{}) != tt.fits {
					t.Errorf("firstShortage = %v, but fits = %v: two fit rules", short, tt.fits)
				}
				if !tt.fits && (short.Dimension != dim.d || short.Want != tt.want || short.Free != tt.free) {
					t.Errorf("shortage %+v, want %s %d of %d", short, dim.d, tt.want, tt.free)
				}
			})
		}
	}
}

func TestFitsExtended(t *testing.T) {
	free := Resources{CPUMilli: 1000, Extended: []Extended{{"fpga", 2}, {"licence/a", 1}, {"over", -1}}}
	for _, tt := range []struct {
		name string
		want []Extended
		fits bool
	}{
		{"none wanted", nil, true},
		{"both equal", []Extended{{"fpga", 2}, {"licence/a", 1}}, true},
		{"second one over", []Extended{{"fpga", 2}, {"licence/a", 2}}, false},
		{"one that the machine does not have", []Extended{{"tpu", 1}}, false},
		{"one of an over-full one", []Extended{{"over", 1}}, false},
		{"none of it", []Extended{{"over", 0}}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := Resources{CPUMilli: 1, Extended: tt.want}
			if got := want.Fits(&free); got != tt.fits {
				t.Errorf("Fits = %v, want %v", got, tt.fits)
			}
		})
	}
}

func TestResourceSums(t *testing.T) {
	a := Resources{CPUMilli: 1, MemBytes: 2, DiskBytes: 3, NetBitsPerSecond: 4, GPUMilli: 5, Extended: []Extended{{"b", 6}, {"d", 1}}}
	b := Resources{CPUMilli: 10, MemBytes: 20, DiskBytes: 30, NetBitsPerSecond: 40, GPUMilli: 50, Extended: []Extended{{"a", 7}, {"b", 60}, {"e", 8}}}
	sum := Resources{CPUMilli: 11, MemBytes: 22, DiskBytes: 33, NetBitsPerSecond: 44, GPUMilli: 55,
		Extended: []Extended{{"a", 7}, {"b", 66}, {"d", 1}, {"e", 8}}}
	less := Resources{CPUMilli: 9, MemBytes: 18, DiskBytes: 27, NetBitsPerSecond: 36, GPUMilli: 45,
		Extended: []Extended{{"a", 7}, {"b", 54}, {"d", -1}, {"e", 8}}}
	thrice := Resources{CPUMilli: 3, MemBytes: 6, DiskBytes: 9, NetBitsPerSecond: 12, GPUMilli: 15, Extended: []Extended{{"b", 18}, {"d", 3}}}
	for _, tt := range []struct {
		name      string
		got, want Resources
	}{
		{"a+b", a.Add(b), sum},
		{"b+a", b.Add(a), sum},
		{"b-a", b.Sub(a), less},
		{"a+b-b", a.Add(b).Sub(b), a},
		{"a-a", a.Sub(a), Resources{}},
		{"3a", a.Times(3), thrice},
		{"0a", a.Times(0), Resources{}},
	} {
		if !tt.got.Equal(tt.want) {
			t.Errorf("%s = %s, want %s", tt.name, tt.got, tt.want)
		}
	}
	if a.Extended[0].Amount != 6 || b.Extended[1].Amount != 60 {
		t.Error("a sum changed its operands")
	}
	if !(Resources{}).IsZero() || a.IsZero() {
		t.Error("IsZero is wrong")
	}
	for _, dim := range everyDimension {
		if dim.of(1).IsZero() || dim.of(1).Equal(dim.of(2)) || dim.of(1).Equal(Resources{}) {
			t.Errorf("IsZero or Equal does not see %s", dim.d)
		}
	}
}

func TestResourcesCheck(t *testing.T) {
	for _, dim := range everyDimension {
		least := int64(0)
		if dim.d == ExtendedResource {
			least = 1
		}
		for _, tt := range []struct {
			n  int64
			ok bool
		}{{least, true}, {least - 1, false}, {MaxAmount, true}, {MaxAmount + 1, false}, {math.MinInt64, false}, {math.MaxInt64, false}} {
			if dim.d == GPU && tt.n == MaxAmount {
				tt.n -= tt.n % GPUDevice // whole devices
			}
			r := dim.of(tt.n)
			checkInvalid(t, r.String(), r.Check(), tt.ok)
		}
	}
	for _, tt := range []struct {
		name string
		r    Resources
		ok   bool
	}{
		{"largest share of a GPU", gpu(999), true},
		{"one GPU", gpu(1000), true},
		{"one GPU and a bit", gpu(1001), false},
		{"two GPUs less a bit", gpu(1999), false},
		{"two GPUs", gpu(2000), true},
		{"sorted", Resources{Extended: []Extended{{"a", 1}, {"b", 1}}}, true},
		{"doubled", Resources{Extended: []Extended{{"a", 1}, {"a", 1}}}, false},
		{"out of order", Resources{Extended: []Extended{{"b", 1}, {"a", 1}}}, false},
		{"without a name", Resources{Extended: []Extended{{"", 1}}}, false},
	} {
		checkInvalid(t, tt.name, tt.r.Check(), tt.ok)
	}
}

// TestSumsDoNotOverflow adds the greatest amounts that Check lets through, over a cell of a million machines and over
// the largest job.
func TestSumsDoNotOverflow(t *testing.T) {
	most := cpu(MaxAmount)
	for _, n := range []int64{1_000_000, int64(Limits{}.WithDefaults().TasksPerJob)} {
		if got := most.Times(n); got.CPUMilli/n != MaxAmount {
			t.Errorf("%d x %d overflows to %d", n, MaxAmount, got.CPUMilli)
		}
	}
}

func TestResourcesString(t *testing.T) {
	for _, tt := range []struct {
		r    Resources
		want string
	}{
		{Resources{}, "nothing"},
		{Resources{CPUMilli: 500, MemBytes: 64 << 20, DiskBytes: 1<<30 + 1, NetBitsPerSecond: 7, GPUMilli: 2000,
			Extended: []Extended{{"fpga", 1}}}, "cpu=500m memory=64Mi disk=1073741825 network=7bit gpu=2000m fpga=1"},
	} {
		if got := tt.r.String(); got != tt.want {
			t.Errorf("String = %q, want %q", got, tt.want)
		}
	}
	for n, want := range map[int64]string{0: "0", 1023: "1023", 1024: "1Ki", 1025: "1025", 1 << 20: "1Mi", 3 << 30: "3Gi", 5 << 40: "5Ti", -1024: "-1Ki"} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %q, want %q", n, got, want)
		}
	}
}

// checkInvalid fails unless err is nil where ok, and an ErrInvalid where not.
func checkInvalid(t *testing.T, name string, err error, ok bool) {
	t.Helper()
	if ok && err != nil {
		t.Errorf("%s: %v, want no error", name, err)
	}
	if !ok && !errors.Is(err, ErrInvalid) {
		t.Errorf("%s: %v, want an error that wraps ErrInvalid", name, err)
	}
}
