package mirror

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/omegacell/omegacell/cellstate"
)

// feedLength bounds the batches that wait to be applied, after which the store waits; joinedEvents ends a joining of them, so
// that the first of many does not wait for the last.
const (
	feedLength   = 256
	joinedEvents = 4096
)

// news is what the store brought: a batch, or several joined.
type news struct {
	cellstate.Batch
	at      cellstate.Instant // when the last of them came
	batches int
	events  int // of all of them; of a key that changed twice Events holds the last
	err     error
	legible bool
	asked   bool // it is the answer to askWhenQuiet: changes up to Rev may still be on their way

	places map[cellstate.Key]int // where each key stands in Events, which are then its own; nil before a second batch
}

// watch applies every batch after the present revision. It always returns an error.
func (m *Mirror) watch(ctx context.Context) error {
	feed, stop := m.listen(ctx)
	defer stop()
	for first := range feed {
		for next := &first; next != nil; {
			n := next
			next = n.gather(feed)
			if err := m.take(n); err != nil {
				return err
			}
		}
	}
	return errors.New("the watch ended without an error")
}

// listen watches in goroutines of its own, which have ended when stop returns. What comes is stamped when it comes, not when
// it is applied: a mirror that cannot keep up must not take old news for new.
func (m *Mirror) listen(ctx context.Context) (feed <-chan news, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	out := make(chan news, feedLength)
	from := m.image.now.rev + 1
	send := func(n news) bool {
		select {
		case out <- n:
			return true
		case <-ctx.Done():
			return false
		}
	}
	var heard atomic.Bool
	var senders sync.WaitGroup
	senders.Go(func() {
		defer cancel()
		for b, err := range m.cfg.Store.Watch(ctx, cellstate.Range{}, from) {
			heard.Store(true)
			if !send(news{Batch: b, at: m.cfg.Now(), batches: 1, events: len(b.Events), err: err, legible: legible(&b)}) {
				return
			}
		}
	})
	senders.Go(func() { m.askWhenQuiet(ctx, &heard, send) })
	go func() {
		senders.Wait()
		close(out)
	}()
	return out, func() {
		cancel()
		for n := range out {
			_ = n // whoever watches next asks for it again
		}
	}
}

// quiet is how long nothing is heard of a watch before the store is asked where it is. A watch may have nothing to tell for
// ever: etcd says nothing of a revision that a watch begins after.
const quiet = 2 * time.Second

// askWhenQuiet asks for the latest revision while the watch is quiet. Where the mirror is at it, its snapshot was the newest
// state when that was asked.
func (m *Mirror) askWhenQuiet(ctx context.Context, heard *atomic.Bool, send func(news) bool) {
	tick := time.NewTicker(quiet)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if heard.Swap(false) {
			continue
		}
		asked := m.cfg.Now()
		l, err := m.cfg.Store.List(ctx, cellstate.SchedulerKey(cellstate.Operator).Only(), 0)
		if err != nil {
			continue // the watch will say what is wrong, or the snapshot grows old
		}
		if !send(news{Batch: cellstate.Batch{Rev: l.Rev}, at: asked, asked: true}) {
			return
		}
	}
}

// take applies news, unless it is none.
func (m *Mirror) take(n *news) error {
	switch rev := m.image.now.rev; {
	case n.err != nil:
		return n.err
	case n.asked:
		if n.Rev <= rev {
			n.Rev = rev
			m.apply(n)
		}
	case n.Rev > rev || n.Rev == rev && len(n.Events) == 0:
		m.apply(n)
	case len(n.Events) > 0:
		return fmt.Errorf("the watch brought changes of revision %d after revision %d", n.Rev, rev)
	}
	return nil
}

// gather joins to n what waits in the feed already. It returns the first that cannot be joined, or nil.
func (n *news) gather(feed <-chan news) *news {
	for n.err == nil && n.events < joinedEvents {
		select {
		case next, ok := <-feed:
			if !ok {
				return nil
			}
			if !n.join(&next) {
				return &next
			}
		default:
			return nil
		}
	}
	return nil
}

// join takes later news into n, if that leaves nothing out: where a record cannot be read the version before it counts.
func (n *news) join(o *news) bool {
	if o.err != nil || n.asked || o.asked || o.Rev < n.Rev || o.Rev == n.Rev && len(o.Events) > 0 || !n.legible || !o.legible {
		return false
	}
	n.Rev, n.at = o.Rev, o.at
	n.batches += o.batches
	n.events += o.events
	if len(n.Events) == 0 {
		n.Events = o.Events
		return true
	}
	if len(o.Events) > 0 && n.places == nil {
		n.places = make(map[cellstate.Key]int, len(n.Events)+len(o.Events))
		n.Events = slices.Clone(n.Events)
		for i := range n.Events {
			n.places[n.Events[i].Record.Key] = i
		}
	}
	for i := range o.Events {
		e := &o.Events[i]
		if at, again := n.places[e.Record.Key]; again {
			n.Events[at] = *e
		} else {
			n.places[e.Record.Key] = len(n.Events)
			n.Events = append(n.Events, *e)
		}
	}
	return true
}

// legible reports whether all of a batch can be read.
func legible(b *cellstate.Batch) bool {
	for i := range b.Events {
		if e := &b.Events[i]; e.Record.Key.Kind == 0 || problem(e) != nil {
			return false
		}
	}
	return true
}

// problem says why an event cannot be applied; nil where it can.
func problem(e *cellstate.Event) error {
	r := &e.Record
	switch {
	case e.Deleted:
		return nil
	case r.Err != nil:
		return r.Err
	case r.Value == nil:
		return errors.New("the store brought neither a value nor an error")
	case r.Value.Key() != r.Key:
		return fmt.Errorf("the value is that of %s", r.Value.Key())
	}
	return nil
}
