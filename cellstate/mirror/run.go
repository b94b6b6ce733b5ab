package mirror

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"go.uber.org/zap"

	"github.com/omegacell/omegacell/cellstate"
)

// The wait after a failure of the store doubles from backoffMin to backoffMax; each is cut by up to half at random, so that
// many mirrors do not come back at the same moment.
const (
	backoffMin = 50 * time.Millisecond
	backoffMax = 5 * time.Second
)

// Run follows the cell until ctx is done, and returns its error. Trouble with the store is logged and tried again. Only one
// Run may run at a time; another one may follow it and goes on from where it ended.
func (m *Mirror) Run(ctx context.Context) error {
	if !m.running.CompareAndSwap(false, true) {
		return &cellstate.OpError{Op: "run mirror", On: "cell", Err: fmt.Errorf("it runs already: %w", cellstate.ErrInvalid)}
	}
	defer m.running.Store(false)
	wait := backoffMin
	listed := false
	for ctx.Err() == nil {
		before := m.image.now.rev
		err := m.follow(ctx, &listed)
		if ctx.Err() != nil {
			break
		}
		if m.image.now.rev > before {
			wait = backoffMin
		}
		m.metrics.retries.Inc()
		m.log.Warn("the cell cannot be followed: trying again",
			zap.Error(err), zap.Int64("rev", m.image.now.rev), zap.Bool("list", !listed), zap.Duration("wait", wait))
		select {
		case <-time.After(wait/2 + rand.N(wait/2)):
		case <-ctx.Done():
		}
		wait = min(2*wait, backoffMax)
	}
	return ctx.Err()
}

// follow lists, unless the watch can go on where it ended, and watches, until that fails. It sets listed to whether the next
// call need not list.
func (m *Mirror) follow(ctx context.Context, listed *bool) error {
	resumed := *listed
	if !resumed {
		if err := m.rebuild(ctx); err != nil {
			return err
		}
	}
	err := m.watch(ctx)
	*listed = errors.Is(err, cellstate.ErrUnavailable)
	if resumed && errors.Is(err, cellstate.ErrCompacted) {
		m.log.Info("away for too long: listing the cell", zap.Error(err))
		return m.follow(ctx, listed) // at once: the store is there
	}
	return err
}

// rebuild lists the cell and applies what differs from the present snapshot as one batch.
func (m *Mirror) rebuild(ctx context.Context) error {
	asked := m.cfg.Now() // the listing is the newest state of then, however long it takes
	l, err := m.cfg.Store.List(ctx, cellstate.Range{}, 0)
	if err != nil {
		return err
	}
	if l.Rev < m.image.now.rev {
		return fmt.Errorf("the store lists revision %d after showing %d: %w", l.Rev, m.image.now.rev, cellstate.ErrUnavailable)
	}
	recalled := m.recall(ctx, l)
	b := m.image.difference(l)
	m.metrics.rebuilds.Inc()
	m.log.Info("listed the cell", zap.Int64("rev", l.Rev), zap.Int("records", len(l.Records)), zap.Int("changes", len(b.Events)))
	m.applyAfter(recalled, &news{Batch: b, at: asked, batches: 1, events: len(b.Events)})
	return nil
}
