package place

import (
	"fmt"
	"testing"
)

func TestNextWidth(t *testing.T) {
	for _, tt := range []struct {
		width, conflicts, attempts int
		want                       int
	}{
		{8, 0, 100, 4},   // no conflict: half
		{1, 0, 100, 1},   // never below one
		{8, 5, 100, 8},   // the tolerated share: as it is
		{8, 6, 100, 10},  // a little above it, rounded up
		{8, 4, 100, 7},   // a little below it
		{8, 20, 100, 32}, // four times the tolerated share: four times as wide
		{8, 21, 100, 32}, // and no wider in one step
		{1, 1, 1, 4},
		{8, 0, 0, 8}, // nothing learnt
		{0, 0, 0, DefaultWidth},
		{1024, 100, 100, MaxWidth},
		{5000, 0, 0, MaxWidth},
		{8, 200, 100, 32}, // more conflicts than attempts count as all
		{8, -1, 100, 4},
	} {
		t.Run(fmt.Sprintf("%d,%d of %d", tt.width, tt.conflicts, tt.attempts), func(t *testing.T) {
			if got := NextWidth(tt.width, tt.conflicts, tt.attempts); got != tt.want {
				t.Errorf("NextWidth = %d, want %d", got, tt.want)
			}
		})
	}
}

// A draw of width w takes each of the w best machines, and never the next.
func TestDraw(t *testing.T) {
	for _, width := range []int{1, 3} {
		c := newCell(machine("m1", cores(8)), machine("m2", cores(4)), machine("m3", cores(2)), machine("m4", cores(16)))
		req := request(job(cores(1)), 1)
		req.Width = width
		got := make(map[string]int)
		for seed := range uint64(300) {
			got[only(Place(c, req, seeded(seed)))]++
		}
		for i, m := range []string{"m3", "m2", "m1", "m4"} { // fullest first
			if i < width && got[m] < 300/width-40 || i >= width && got[m] > 0 {
				t.Errorf("width %d drew %v: %s is the %d. best", width, got, m, i+1)
			}
		}
	}
}

func TestPermutation(t *testing.T) {
	for n := range 300 {
		p := newPermutation(n, seeded(uint64(n)))
		seen := make(map[int]bool)
		for {
			i, ok := p.next()
			if !ok {
				break
			}
			if i < 0 || i >= n || seen[i] {
				t.Fatalf("n=%d: %d is outside or came twice", n, i)
			}
			seen[i] = true
		}
		if len(seen) != n {
			t.Errorf("n=%d: %d of all came", n, len(seen))
		}
	}
}

// A short walk does not come to the same neighbours again and again, whatever the seed.
func TestPermutationScatters(t *testing.T) {
	const machines, rack, probes = 10000, 40, 100
	for seed := range uint64(500) {
		p := newPermutation(machines, seeded(seed))
		in := make(map[int]int)
		for range probes {
			i, _ := p.next()
			if in[i/rack]++; in[i/rack] > 4 {
				t.Fatalf("seed %d: of %d probes of %d machines more than 4 are in one rack of %d", seed, probes, machines, rack)
			}
		}
	}
}
