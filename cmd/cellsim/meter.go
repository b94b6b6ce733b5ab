package main

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/omegacell/omegacell/cellstate"
)

// meter counts what schedulers commit through the stores that it wraps.
type meter struct {
	mu           sync.Mutex
	transactions int // that added claims
	conflicted   int // of those, with at least one claim refused
	placed       int
	refused      int
	resent       int // storage traffic: parts sent again because a guard had failed
	took         []time.Duration
	first, last  time.Time // of the commits that placed something
}

// metered is a store whose commits are counted.
type metered struct {
	cellstate.Store
	meter *meter
}

func (s metered) Commit(ctx context.Context, t *cellstate.Txn) (cellstate.Verdict, error) {
	began := time.Now()
	v, err := s.Store.Commit(ctx, t)
	if err == nil && len(t.Add) > 0 {
		s.meter.count(v, began)
	}
	return v, err
}

func (m *meter) count(v cellstate.Verdict, began time.Time) {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.transactions++
	m.placed += len(v.Committed)
	m.refused += len(v.Conflicts)
	m.resent += v.Resent
	if len(v.Conflicts) > 0 {
		m.conflicted++
	}
	m.took = append(m.took, now.Sub(began))
	if m.first.IsZero() {
		m.first = began
	}
	if len(v.Committed) > 0 {
		m.last = now
	}
}

// placedNow returns how many claims were placed so far.
func (m *meter) placedNow() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.placed
}

// percentile returns the p-th of the times, 0 ≤ p ≤ 1, in milliseconds, by the nearest rank; 0 where there are none.
func percentile(took []time.Duration, p float64) float64 {
	if len(took) == 0 {
		return 0
	}
	sorted := slices.Clone(took)
	slices.Sort(sorted)
	i := min(len(sorted)-1, int(p*float64(len(sorted))))
	return float64(sorted[i].Microseconds()) / 1000
}
