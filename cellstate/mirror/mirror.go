package mirror

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/omegacell/omegacell/cellstate"
)

// Config configures a Mirror. Store and Now are required.
type Config struct {
	Store   cellstate.Store
	Now     func() cellstate.Instant // stamps Snapshot.AsOf and MachineView.LostAt
	Log     *zap.Logger              // nil: none
	Metrics prometheus.Registerer    // nil: none. Of two mirrors in one process each needs its own labels
	// Schedulers says whose claims are indexed by job; nil means everybody's. Snapshot.Claims of another scheduler is as
	// right, but looks at every machine. A scheduler that asks only for its own saves the work for all the others.
	Schedulers []string
}

// Mirror is a copy of a cell. It follows while [Mirror.Run] runs; its other methods may be called at any time, from many
// goroutines.
type Mirror struct {
	cfg     Config
	log     *zap.Logger
	metrics *metrics
	running atomic.Bool
	current atomic.Pointer[snapshot]
	image   *image // Run's alone

	mu      sync.Mutex // guards waiting
	waiting map[*waiter]bool

	observing sync.Mutex // held while observers are called, and while current and they are changed together
	observers []*observer
}

var _ cellstate.Mirror = (*Mirror)(nil)

type waiter struct {
	rev   int64
	ready chan struct{}
}

type observer struct {
	f       func(cellstate.Snapshot, []cellstate.Change)
	stopped atomic.Bool
}

// New returns a mirror that shows nothing yet.
func New(cfg Config) (*Mirror, error) {
	if cfg.Store == nil || cfg.Now == nil {
		return nil, &cellstate.OpError{Op: "new mirror", On: "config", Err: fmt.Errorf("no Store or no Now: %w", cellstate.ErrInvalid)}
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	im, err := newImage(slices.Clone(cfg.Schedulers))
	if err != nil {
		return nil, err
	}
	met, err := newMetrics(cfg.Metrics)
	if err != nil {
		return nil, err
	}
	m := &Mirror{cfg: cfg, log: cfg.Log, metrics: met, image: im, waiting: make(map[*waiter]bool)}
	m.current.Store(im.now)
	return m, nil
}

// Snapshot returns the newest snapshot. It copies and allocates nothing.
func (m *Mirror) Snapshot() cellstate.Snapshot { return m.current.Load() }

// Wait returns a snapshot at least as new as rev, or, when ctx is done first, an error that wraps ErrUnavailable and ctx's.
// It waits for ever where the cell never gets to rev and ctx has no end.
func (m *Mirror) Wait(ctx context.Context, rev int64) (cellstate.Snapshot, error) {
	if s := m.current.Load(); s.rev >= rev {
		return s, nil
	}
	w := &waiter{rev: rev, ready: make(chan struct{})}
	m.mu.Lock()
	m.waiting[w] = true
	m.mu.Unlock()
	if m.current.Load().rev >= rev { // it came before w was seen
		m.forget(w)
		return m.current.Load(), nil
	}
	select {
	case <-w.ready:
		return m.current.Load(), nil
	case <-ctx.Done():
		m.forget(w)
		return nil, &cellstate.OpError{Op: "wait", On: fmt.Sprintf("revision %d", rev),
			Err: fmt.Errorf("the mirror is at %d: %w: %w", m.current.Load().rev, cellstate.ErrUnavailable, ctx.Err())}
	}
}

func (m *Mirror) forget(w *waiter) {
	m.mu.Lock()
	delete(m.waiting, w)
	m.mu.Unlock()
}

// Observe implements [cellstate.Mirror]. f must not call Observe. Batches that wait already when a snapshot is made go into
// it together, so f may be told of several revisions at once: of each key the change from the first to the last. One that only
// moves the revision is reported too, but not one that only makes AsOf later. After stop has returned no call begins; one that
// has begun may still run.
func (m *Mirror) Observe(f func(cellstate.Snapshot, []cellstate.Change)) (stop func()) {
	m.observing.Lock()
	defer m.observing.Unlock()
	o := &observer{f: f}
	f(m.current.Load(), nil)
	m.observers = append(m.observers, o)
	return func() { o.stopped.Store(true) }
}

// Quarantined returns the records that cannot be read at present, by key as the store spells it (by Key.String where the store
// did not say), and why.
func (m *Mirror) Quarantined() map[string]error {
	bad := m.current.Load().bad
	out := make(map[string]error, len(bad))
	for _, q := range bad {
		out[spelt(&q)] = q.Err
	}
	return out
}

func spelt(r *cellstate.Record) string {
	if r.Raw != "" {
		return r.Raw
	}
	return r.Key.String()
}

// apply takes news into the image and tells everybody.
func (m *Mirror) apply(n *news) { m.applyAfter(nil, n) }

// applyAfter is apply after changes that nobody has been told of yet.
func (m *Mirror) applyAfter(before []cellstate.Change, n *news) {
	o := m.image.apply(n.Batch, n.at)
	m.metrics.applied(n, &o, len(m.image.now.bad))
	for _, q := range o.healed {
		m.log.Info("record is readable again, or gone", zap.String("key", spelt(&q)))
	}
	for _, q := range o.fresh {
		m.log.Error("record cannot be read: quarantined", zap.String("key", spelt(&q)), zap.Int64("rev", q.Rev), zap.Error(q.Err))
	}
	m.publish(merged(before, o.changes))
}

// merged makes one list of two successive ones, in which each key stands once.
func merged(before, after []cellstate.Change) []cellstate.Change {
	for _, c := range before {
		i := slices.IndexFunc(after, func(o cellstate.Change) bool { return o.Key == c.Key })
		if i < 0 {
			after = append(after, c)
		} else {
			after[i].Old = c.Old
		}
	}
	return after
}

func (m *Mirror) publish(changes []cellstate.Change) {
	m.observing.Lock()
	defer m.observing.Unlock()
	now := m.image.now
	if was := m.current.Swap(now); was.rev == now.rev && len(changes) == 0 {
		return
	}
	m.mu.Lock()
	for w := range m.waiting {
		if w.rev <= now.rev {
			close(w.ready)
			delete(m.waiting, w)
		}
	}
	m.mu.Unlock()

	kept := m.observers[:0]
	for _, ob := range m.observers {
		if !ob.stopped.Load() {
			ob.f(now, changes)
			kept = append(kept, ob)
		}
	}
	clear(m.observers[len(kept):])
	m.observers = kept
}
