package schedulers

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoff waits longer each time, from min doubling up to max, with full jitter over the upper half, so that losers of one
// race do not meet again.
type backoff struct {
	min, max time.Duration
	times    int
}

// next returns the next wait.
func (b *backoff) next() time.Duration {
	d := delay(b.min, b.max, b.times)
	b.times++
	return jitter(d)
}

// jitter draws a wait from the upper half of d.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }

// delay is min doubled times over, at most max.
func delay(min, max time.Duration, times int) time.Duration {
	if times > 30 || min<<times > max || min<<times <= 0 {
		return max
	}
	return min << times
}

// wait waits, or returns false when ctx is done first.
func (b *backoff) wait(ctx context.Context) bool {
	t := time.NewTimer(b.next())
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
