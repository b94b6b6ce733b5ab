package cellstate

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// The oracle is a second reading of the fit rule that shares no code with the first: it walks through time one millisecond
// at a time and adds up. Drawn times stay below horizon, so that nothing happens after it.
const horizon = 24

// holdsAt is the oracle's reading of [start, end), evictions and ends.
func holdsAt(c *Claim, t Instant) bool {
	if c.Ended || t < c.Start {
		return false
	}
	if c.End != 0 && t >= c.End {
		return false
	}
	return c.Evict == nil || t < c.Evict.Deadline
}

// leastFree walks through [start, end) and returns the least free amount in every dimension, and on every device.
func leastFree(l *Ledger, start, end Instant) (least map[string]int64, devices []int64) {
	amounts := func(r *Resources) map[string]int64 {
		m := map[string]int64{"cpu": r.CPUMilli, "memory": r.MemBytes, "disk": r.DiskBytes, "network": r.NetBitsPerSecond, "gpu": r.GPUMilli}
		for _, e := range r.Extended {
			m["x/"+e.Name] += e.Amount
		}
		return m
	}
	least = map[string]int64{}
	for n := int64(0); n < l.Capacity.GPUMilli/1000; n++ {
		devices = append(devices, 1000)
	}
	for t := start; t < end && t <= horizon; t++ {
		free := amounts(&l.Capacity)
		device := make([]int64, len(devices))
		for i := range l.Claims {
			c := &l.Claims[i]
			if !holdsAt(c, t) {
				continue
			}
			for name, n := range amounts(&c.Resources) {
				free[name] -= n
			}
			for _, g := range c.GPUs {
				device[g.Device] += int64(g.Milli)
			}
		}
		for name, n := range free {
			if have, ok := least[name]; !ok || n < have {
				least[name] = n
			}
		}
		for d, used := range device {
			devices[d] = min(devices[d], 1000-used)
		}
	}
	return least, devices
}

// oracleFits decides by plain search whether c fits.
func oracleFits(l *Ledger, c *Claim) bool {
	end := c.End
	if end == 0 {
		end = Forever
	}
	least, devices := leastFree(l, c.Start, end)
	r := &c.Resources
	wanted := map[string]int64{"cpu": r.CPUMilli, "memory": r.MemBytes, "disk": r.DiskBytes, "network": r.NetBitsPerSecond, "gpu": r.GPUMilli}
	for _, e := range r.Extended {
		wanted["x/"+e.Name] = e.Amount
	}
	for name, n := range wanted {
		if n > 0 && n > least[name] { // who wants none is not concerned, however over-full it is
			return false
		}
	}
	if len(c.GPUs) > 0 {
		for _, g := range c.GPUs {
			if int(g.Device) >= len(devices) || int64(g.Milli) > devices[g.Device] {
				return false
			}
		}
		return true
	}
	switch {
	case r.GPUMilli == 0:
		return true
	case r.GPUMilli < 1000:
		return slices.ContainsFunc(devices, func(n int64) bool { return n >= r.GPUMilli })
	default:
		whole := int64(0)
		for _, n := range devices {
			if n == 1000 {
				whole++
			}
		}
		return whole*1000 >= r.GPUMilli
	}
}

func drawResources(t *rapid.T, label string, most int64) Resources {
	n := rapid.Int64Range(0, most)
	r := Resources{CPUMilli: n.Draw(t, label+" cpu"), GPUMilli: rapid.SampledFrom([]int64{0, 0, 250, 300, 500, 1000, 2000}).Draw(t, label+" gpu")}
	switch rapid.IntRange(0, 4).Draw(t, label+" more") {
	case 0:
		r.MemBytes = n.Draw(t, label+" memory")
	case 1:
		r.DiskBytes = n.Draw(t, label+" disk")
	case 2:
		r.NetBitsPerSecond = n.Draw(t, label+" network")
	case 3:
		for _, name := range []string{"a", "b"} {
			if amount := n.Draw(t, label+" "+name); amount > 0 {
				r.Extended = append(r.Extended, Extended{name, amount})
			}
		}
	}
	return r
}

// drawClaim draws a claim of the task, of which the whole life lies before horizon. Every second one names devices.
func drawClaim(t *rapid.T, scheduler string, task uint32, devices int) Claim {
	c := claimOf(scheduler, "j", task, drawResources(t, "claim", 5))
	c.Start = Instant(rapid.IntRange(0, 8).Draw(t, "start"))
	if rapid.Bool().Draw(t, "ends") {
		c.End = c.Start + Instant(rapid.IntRange(1, 8).Draw(t, "length"))
	}
	if n := c.Resources.GPUMilli; n > 0 && devices > 0 && rapid.Bool().Draw(t, "names devices") {
		first := rapid.IntRange(0, devices-1).Draw(t, "device")
		for i := 0; n > 0; i++ {
			m := min(n, 1000)
			c.GPUs = append(c.GPUs, GPUShare{uint16((first + i) % max(devices, 2)), uint16(m)})
			n -= m
		}
	}
	return c
}

// drawLedger draws any state of a machine, also over-committed ones, as when its capacity shrank.
func drawLedger(t *rapid.T) *Ledger {
	devices := rapid.IntRange(0, 3).Draw(t, "devices")
	capacity := Resources{CPUMilli: 12, MemBytes: 6, DiskBytes: 6, NetBitsPerSecond: 6, GPUMilli: int64(devices) * 1000,
		Extended: []Extended{{"a", 6}}}
	l := NewLedger("m1", capacity)
	n := rapid.IntRange(0, 7).Draw(t, "claims")
	for i := range n {
		c := drawClaim(t, "old", uint32(n-i), devices)
		c.GPUs = slices.DeleteFunc(c.GPUs, func(g GPUShare) bool { return int(g.Device) >= devices })
		c.Ended = rapid.IntRange(0, 5).Draw(t, "ended") == 0
		if rapid.IntRange(0, 3).Draw(t, "evicted") == 0 {
			c.Evict = &Eviction{Deadline: Instant(rapid.IntRange(1, 16).Draw(t, "deadline"))}
		}
		l.Claims = append(l.Claims, c)
	}
	return l.Sum()
}

// TestFitIsTheOracles compares the fit rule, with its short cuts, to the oracle (I1).
func TestFitIsTheOracles(t *testing.T) {
	fits, refused, beside := 0, 0, 0
	rapid.Check(t, func(t *rapid.T) {
		l := drawLedger(t)
		c := drawClaim(t, "new", 0, 2)
		got, want := l.Fit(&c, Limits{}), oracleFits(l, &c)
		if (got == Shortage{}) != want {
			t.Fatalf("Fit = %v, the oracle says %v\n%+v\non %+v", got, want, c, l)
		}
		if !want {
			refused++
			return
		}
		fits++
		checkAssigned(t, l, c)
		if checkNoFuller(t, l, c) {
			beside++
		}
	})
	if fits == 0 || refused == 0 || beside == 0 {
		t.Errorf("%d fitted, %d of them beside an over-full resource, and %d did not: this tests nothing", fits, beside, refused)
	}
}

// checkNoFuller: a claim that fits makes nothing over-full, nor what is over-full any fuller. It reports whether anything was.
func checkNoFuller(t *rapid.T, l *Ledger, c Claim) (overfull bool) {
	before, _ := leastFree(l, c.Start, c.until())
	n := l.Clone()
	n.insert(&c, c.GPUs)
	after, _ := leastFree(n, c.Start, c.until())
	for name, free := range after {
		overfull = overfull || before[name] < 0
		if free < 0 && free != before[name] {
			t.Fatalf("%s: %d free became %d by %+v", name, before[name], free, c)
		}
	}
	return overfull
}

// checkAssigned gives a claim that fits its devices and looks at the outcome with the oracle's eyes.
func checkAssigned(t *rapid.T, l *Ledger, c Claim) {
	if c.Resources.GPUMilli == 0 {
		return
	}
	if len(c.GPUs) == 0 {
		gpus, short := l.AssignGPUs(&c)
		again, _ := l.AssignGPUs(&c)
		if short != (Shortage{}) || !slices.Equal(gpus, again) {
			t.Fatalf("AssignGPUs of a claim that fits: %v, %v, then %v", gpus, short, again)
		}
		_, free := leastFree(l, c.Start, c.until())
		for _, g := range gpus {
			for d, f := range free {
				if c.Resources.GPUMilli < 1000 && f >= int64(g.Milli) && (f < free[g.Device] || f == free[g.Device] && d < int(g.Device)) {
					t.Fatalf("share on device %d of %v: device %d fits better", g.Device, free, d)
				}
			}
		}
		c.GPUs = gpus
		if err := c.Check(); err != nil {
			t.Fatalf("assigned %v: %v", gpus, err)
		}
	}
	_, before := leastFree(l, 0, Forever)
	n := l.Clone()
	n.insert(&c, c.GPUs)
	_, after := leastFree(n, 0, Forever)
	for d, f := range after {
		if f < 0 && f != before[d] {
			t.Fatalf("device %d: %d free became %d by %v", d, before[d], f, c.GPUs)
		}
	}
}

// TestFreeIsTheOracles compares what is said to be free, with its short cut, to the oracle, amount by amount.
func TestFreeIsTheOracles(t *testing.T) {
	short := 0
	rapid.Check(t, func(t *rapid.T) {
		l := drawLedger(t)
		start := Instant(rapid.IntRange(0, 18).Draw(t, "from"))
		end := start + Instant(rapid.IntRange(1, 18).Draw(t, "for"))
		if rapid.Bool().Draw(t, "endless") {
			end = Forever
		}
		least, devices := leastFree(l, start, end)
		free := l.Free(start, end)
		for name, got := range map[string]int64{"cpu": free.CPUMilli, "memory": free.MemBytes, "disk": free.DiskBytes,
			"network": free.NetBitsPerSecond, "gpu": free.GPUMilli, "x/a": free.Amount("a"), "x/b": free.Amount("b")} {
			if got != least[name] {
				t.Fatalf("free %s = %d, the oracle says %d", name, got, least[name])
			}
		}
		if slow := l.Capacity.Sub(l.peak(start, end)); !slow.Equal(free) {
			t.Fatalf("the short cut says %s, the long way %s", free, slow)
		}
		if got := l.GPUFree(start, end); !slices.Equal(got, devices) {
			t.Fatalf("GPUFree = %v, the oracle says %v", got, devices)
		}
		if start >= l.lastStart && start < l.firstUntil {
			short++
		}
		over := l.Overcommitted(start) != Shortage{}
		least, devices = leastFree(l, start, Forever)
		oracle := slices.ContainsFunc(devices, func(n int64) bool { return n < 0 })
		for _, n := range least {
			oracle = oracle || n < 0
		}
		if over != oracle {
			t.Fatalf("Overcommitted from %d = %v, the oracle says %v", start, over, oracle)
		}
	})
	if short == 0 {
		t.Error("no draw took the short cut: this tests nothing")
	}
}
