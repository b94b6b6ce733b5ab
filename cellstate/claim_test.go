package cellstate

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestClaimIDSpelling(t *testing.T) {
	for _, tt := range []struct {
		id   ClaimID
		want string
	}{
		{ClaimID{Scheduler: "batch", Job: "hello"}, "batch/hello@0/0.0"},
		{ClaimID{Scheduler: "a-b.c_d", Job: "9", Run: 0xdeadbeef, Task: 4294967295, Attempt: 7}, "a-b.c_d/9@deadbeef/4294967295.7"},
	} {
		if got := tt.id.String(); got != tt.want {
			t.Errorf("String = %q, want %q", got, tt.want)
		}
	}
	for _, s := range []string{
		"", "/", "//", "batch", "batch/hello", "batch/hello@1", "batch/hello@1/0", "batch/hello@1/0.", "batch/hello@1/.0",
		"batch/hello/0.0", "batch/@1/0.0", "/hello@1/0.0", "batch/hello@/0.0", "batch/hello@g/0.0", "batch/hello@1/0.0.0",
		"batch/hello@1/0.0/", "batch/hello@100000000/0.0", "batch/hello@1/4294967296.0", "batch/hello@1/0.4294967296",
		"batch/hello@1/-1.0", "batch/hello@1/+1.0", "batch/hello@-1/0.0", " batch/hello@1/0.0", "batch/hello@1/0.0 ",
		"batch/he llo@1/0.0", "batch/h@1@1/0.0",
		// One claim has one spelling.
		"batch/hello@01/0.0", "batch/hello@A/0.0", "batch/hello@1/00.0", "batch/hello@1/0.00",
	} {
		id, err := ParseClaimID(s)
		checkInvalid(t, s, err, false)
		if id != (ClaimID{}) {
			t.Errorf("ParseClaimID(%q) = %v beside its error", s, id)
		}
		if err != nil && s != "" && !strings.Contains(err.Error(), s) {
			t.Errorf("ParseClaimID(%q): %v does not name the place", s, err)
		}
	}
}

func TestClaimIDRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id, other := drawClaimID(t, "id"), drawClaimID(t, "other")
		got, err := ParseClaimID(id.String())
		if err != nil || got != id {
			t.Fatalf("ParseClaimID(%q) = %v, %v", id.String(), got, err)
		}
		if (id == other) != (id.String() == other.String()) || (id == other) != (id.Compare(other) == 0) {
			t.Fatalf("%v and %v: equality, spelling and order disagree", id, other)
		}
		if id.Compare(other) != -other.Compare(id) {
			t.Fatalf("%v and %v: order is not antisymmetric", id, other)
		}
	})
}

func drawClaimID(t *rapid.T, label string) ClaimID {
	name := rapid.StringMatching(`[a-b0-1][a-b._-]{0,2}`)
	n := rapid.OneOf(rapid.Uint32Range(0, 2), rapid.Uint32())
	return ClaimID{Scheduler: name.Draw(t, label+" scheduler"), Job: name.Draw(t, label+" job"),
		Run: n.Draw(t, label+" run"), Task: n.Draw(t, label+" task"), Attempt: n.Draw(t, label+" attempt")}
}

func TestClaimIDOrder(t *testing.T) {
	sorted := []ClaimID{ // each differs from the one before in one field, and all later fields fall
		{"a", "a", 0, 0, 0}, {"a", "a", 0, 0, 9}, {"a", "a", 0, 10, 1}, {"a", "a", 2, 9, 0}, {"a", "b", 1, 8, 0}, {"b", "a", 0, 7, 0},
	}
	if !slices.IsSortedFunc(sorted, ClaimID.Compare) {
		t.Error("order is not scheduler, job, run, task, attempt")
	}
}

func TestCheckName(t *testing.T) {
	for s, ok := range map[string]bool{
		"": false, "a": true, "Z": true, "0": true, "m1.rack-7_x": true,
		".a": false, "-a": false, "_a": false, "a.": true, "a..b": true, "..": false,
		"a/b": false, "a b": false, "a@b": false, "a\x00": false, "é": false, "a:b": false, "a`": false, "a{": false, "a[": false,
		strings.Repeat("a", MaxNameLength): true, strings.Repeat("a", MaxNameLength+1): false,
	} {
		checkInvalid(t, s, CheckName(s), ok)
	}
}

func TestBands(t *testing.T) {
	for _, tt := range []struct {
		p    Precedence
		band Band
		ok   bool
	}{
		{-1, BandBestEffort, false}, {0, BandBestEffort, true}, {99, BandBestEffort, true},
		{100, BandBatch, true}, {199, BandBatch, true},
		{200, BandProduction, true}, {299, BandProduction, true},
		{300, BandMonitoring, true}, {399, BandMonitoring, true}, {400, 5, false},
	} {
		checkInvalid(t, tt.band.String(), tt.p.Check(), tt.ok)
		if tt.ok && tt.p.Band() != tt.band {
			t.Errorf("precedence %d is %s, want %s", tt.p, tt.p.Band(), tt.band)
		}
	}
	for _, b := range Bands() {
		if p := b.Lowest(); p.Band() != b || p > 0 && (p-1).Band() == b {
			t.Errorf("lowest of %s is %d", b, p)
		}
	}
}

func TestMayEvict(t *testing.T) {
	for _, tt := range []struct {
		p, victim Precedence
		may       bool
	}{
		{0, 0, false}, {1, 0, true}, {0, 1, false},
		{99, 98, true}, {99, 99, false}, {99, 100, false},
		{100, 99, true}, {100, 100, false}, {199, 198, true}, {199, 199, false},
		{199, 200, false}, {200, 199, true}, {200, 200, false},
		{201, 200, false}, {299, 200, false}, {299, 298, false}, {299, 199, true}, // production never evicts production
		{300, 299, true}, {299, 300, false}, {300, 200, true},
		{300, 300, false}, {301, 300, true}, {399, 398, true}, {399, 399, false},
	} {
		if got := tt.p.MayEvict(tt.victim); got != tt.may {
			t.Errorf("%d may evict %d = %v, want %v", tt.p, tt.victim, got, tt.may)
		}
	}
}

func TestClaimCheck(t *testing.T) {
	with := func(f func(c *Claim)) Claim {
		c := claimOf("batch", "hello", 0, cpu(1000))
		f(&c)
		return c
	}
	shares := func(milli int64, gpus ...GPUShare) Claim {
		return with(func(c *Claim) { c.Resources, c.GPUs = gpu(milli), gpus })
	}
	for _, tt := range []struct {
		name string
		c    Claim
		ok   bool
	}{
		{"plain", with(func(*Claim) {}), true},
		{"no scheduler", with(func(c *Claim) { c.ID.Scheduler = "" }), false},
		{"job with a slash", with(func(c *Claim) { c.ID.Job = "a/b" }), false},
		{"no machine", with(func(c *Claim) { c.Machine = "" }), false},
		{"highest precedence", with(func(c *Claim) { c.Precedence = MaxPrecedence }), true},
		{"above the scale", with(func(c *Claim) { c.Precedence = MaxPrecedence + 1 }), false},
		{"below the scale", with(func(c *Claim) { c.Precedence = -1 }), false},
		{"negative amount", with(func(c *Claim) { c.Resources.DiskBytes = -1 }), false},
		{"one millisecond", with(func(c *Claim) { c.Start, c.End = 10, 11 }), true},
		{"empty interval", with(func(c *Claim) { c.Start, c.End = 10, 10 }), false},
		{"backward interval", with(func(c *Claim) { c.Start, c.End = 10, 9 }), false},
		{"no end", with(func(c *Claim) { c.Start, c.End = 10, 0 }), true},
		{"negative start", with(func(c *Claim) { c.Start, c.End = -1, 10 }), false},
		{"share on one device", shares(300, GPUShare{3, 300}), true},
		{"two whole devices", shares(2000, GPUShare{0, 1000}, GPUShare{2, 1000}), true},
		{"devices add up to less", shares(2000, GPUShare{0, 1000}), false},
		{"devices without an amount", shares(0, GPUShare{0, 1}), false},
		{"a device twice", shares(2000, GPUShare{1, 1000}, GPUShare{1, 1000}), false},
		{"an empty share", shares(1000, GPUShare{0, 1000}, GPUShare{1, 0}), false},
		{"more than a device", shares(2000, GPUShare{0, 2000}), false},
		{"a share split over devices", shares(300, GPUShare{0, 100}, GPUShare{1, 200}), false},
		{"a whole device split over two", shares(1000, GPUShare{0, 500}, GPUShare{1, 500}), false},
	} {
		checkInvalid(t, tt.name, tt.c.Check(), tt.ok)
	}
}

func TestActiveAndOverlaps(t *testing.T) {
	c := claimOf("batch", "hello", 0, cpu(1))
	c.Start, c.End = 10, 20
	endless, evicted, ended := c, c, c
	endless.End = 0
	evicted.Evict = &Eviction{Deadline: 15}
	ended.Ended = true
	late := c
	late.Evict = &Eviction{Deadline: 25}
	for _, tt := range []struct {
		name   string
		c      Claim
		at     Instant
		active bool
	}{
		{"before", c, 9, false}, {"start", c, 10, true}, {"last", c, 19, true}, {"end is exclusive", c, 20, false},
		{"endless before", endless, 9, false}, {"endless", endless, Forever - 1, true},
		{"evicted last", evicted, 14, true}, {"evicted at the deadline", evicted, 15, false},
		{"deadline after the end: last", late, 19, true}, {"deadline after the end: end", late, 20, false},
		{"ended", ended, 10, false},
	} {
		if got := tt.c.ActiveAt(tt.at); got != tt.active {
			t.Errorf("%s: ActiveAt(%d) = %v, want %v", tt.name, tt.at, got, tt.active)
		}
	}
	for _, tt := range []struct {
		name       string
		c          Claim
		start, end Instant
		overlaps   bool
	}{
		{"touches before", c, 5, 10, false}, {"first instant", c, 5, 11, true},
		{"last instant", c, 19, 30, true}, {"touches after", c, 20, 30, false},
		{"inside", c, 12, 13, true}, {"around", c, 0, Forever, true},
		{"last before the deadline", evicted, 14, 30, true}, {"from the deadline", evicted, 15, 30, false},
		{"ended", ended, 0, Forever, false},
	} {
		if got := tt.c.Overlaps(tt.start, tt.end); got != tt.overlaps {
			t.Errorf("%s: Overlaps(%d, %d) = %v, want %v", tt.name, tt.start, tt.end, got, tt.overlaps)
		}
	}
}
