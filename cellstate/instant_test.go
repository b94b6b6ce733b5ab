package cellstate

import (
	"math"
	"testing"
	"time"
)

func TestInstant(t *testing.T) {
	at := time.Date(2024, 2, 29, 12, 0, 0, 1_999_999, time.FixedZone("x", 3600))
	i := InstantOf(at)
	if got, want := i.String(), "2024-02-29T11:00:00.001Z"; got != want {
		t.Errorf("String = %q, want %q", got, want)
	}
	if got := i.Time(); !got.Equal(at.Truncate(time.Millisecond)) {
		t.Errorf("Time = %v", got)
	}
	if Instant(0).String() != "-" || Forever.String() != "forever" {
		t.Error("the ends of time have no names")
	}
	for _, tt := range []struct {
		from Instant
		d    time.Duration
		want Instant
	}{
		{100, time.Second, 1100}, {100, 1_999_999 * time.Nanosecond, 101}, {100, -50 * time.Millisecond, 50},
		{Forever, time.Hour, Forever}, {Forever, -time.Hour, Forever}, {Forever - 1, time.Hour, Forever},
	} {
		if got := tt.from.Add(tt.d); got != tt.want {
			t.Errorf("%d+%v = %d, want %d", tt.from, tt.d, got, tt.want)
		}
	}
	for _, tt := range []struct {
		i, j Instant
		want time.Duration
	}{
		{1100, 100, time.Second}, {100, 1100, -time.Second},
		// Longer than a Duration can say: a timer set to it must not fire at once.
		{Forever, 100, math.MaxInt64}, {100, Forever, math.MinInt64},
	} {
		if got := tt.i.Sub(tt.j); got != tt.want {
			t.Errorf("%d-%d = %v, want %v", tt.i, tt.j, got, tt.want)
		}
	}
}
