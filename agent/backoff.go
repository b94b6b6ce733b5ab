package agent

import (
	"context"
	"hash/fnv"
	"math/rand/v2"
	"time"
)

// backoff is the wait before asking the store again: from 100ms doubling to 10s, of which a half to the whole, so that
// the agents of a cell do not come back in step. Not for use by many goroutines.
type backoff struct {
	rng  *rand.Rand
	next time.Duration
}

const (
	backoffMin = 100 * time.Millisecond
	backoffMax = 10 * time.Second
)

func newBackoff(seed string) *backoff {
	h := fnv.New64a()
	h.Write([]byte(seed))
	return &backoff{rng: rand.New(rand.NewPCG(h.Sum64(), 0)), next: backoffMin}
}

func (b *backoff) reset() { b.next = backoffMin }

// duration returns the next wait.
func (b *backoff) duration() time.Duration {
	d := b.next
	b.next = min(2*b.next, backoffMax)
	return d/2 + time.Duration(b.rng.Int64N(int64(d/2)+1))
}

// sleep waits, or until ctx ends.
func (b *backoff) sleep(ctx context.Context) {
	t := time.NewTimer(b.duration())
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
