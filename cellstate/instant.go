package cellstate

import (
	"math"
	"time"
)

// Instant is a point in time in milliseconds since the Unix epoch, UTC. The zero Instant lies before everything.
type Instant int64

// Forever lies after every other Instant. It is the effective end of a claim that has none.
const Forever Instant = math.MaxInt64

// InstantOf returns t, rounded down to the millisecond.
func InstantOf(t time.Time) Instant { return Instant(t.UnixMilli()) }

// Time returns i as a time.Time in UTC.
func (i Instant) Time() time.Time { return time.UnixMilli(int64(i)).UTC() }

// Add returns i+d, d cut to whole milliseconds. Forever plus anything is Forever, and so is what would lie after it.
func (i Instant) Add(d time.Duration) Instant {
	ms := Instant(d.Milliseconds())
	if i == Forever || ms > 0 && i > Forever-ms {
		return Forever
	}
	return i + ms
}

// Sub returns the time from j to i, or the longest Duration there is (292 years) where it is longer, as up to Forever.
func (i Instant) Sub(j Instant) time.Duration {
	const most = Instant(math.MaxInt64 / time.Millisecond)
	switch ms := i - j; {
	case ms > most:
		return math.MaxInt64
	case ms < -most:
		return math.MinInt64
	default:
		return time.Duration(ms) * time.Millisecond
	}
}

func (i Instant) String() string {
	switch i {
	case 0:
		return "-"
	case Forever:
		return "forever"
	}
	return i.Time().Format("2006-01-02T15:04:05.000Z")
}
