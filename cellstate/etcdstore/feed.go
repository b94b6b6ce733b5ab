package etcdstore

import (
	"context"
	"sort"
	"sync"

	"github.com/omegacell/omegacell/cellstate"
)

// feed is one etcd watch that all watchers of the same range share, each value of it decoded once. It keeps the latest batches,
// from which every watcher reads at its own pace: none waits for another one, and the feed only for the fastest. Who falls
// behind what is kept goes on with an etcd watch of its own until it has caught up.
type feed struct {
	store  *Store
	cancel context.CancelFunc

	mu      sync.Mutex
	log     []cellstate.Batch
	first   int64 // number of log[0], counting all batches there ever were
	from    int64 // log leaves out nothing from this revision on
	next    int64 // up to this one
	kept    int   // events in log, and one for each batch
	readers map[*reader]struct{}
	more    chan struct{} // closed with the next batch, or the end
	read    *sync.Cond    // somebody read on, or left
	err     error         // why it ended
}

// reader is one watcher of a feed.
type reader struct {
	feed *feed
	at   int64 // number of the batch to read next
	buf  []cellstate.Batch
}

const (
	readerBatches = 64   // that a reader takes at a time
	feedTail      = 1024 // events kept that everybody has read, for watchers that come from a listing
)

// feeds are those of a store.
type feeds struct {
	mu sync.Mutex
	of map[cellstate.Range]*feed
}

// join returns a reader of the range's feed that has all batches from revision next on, or nil if the feed is elsewhere in
// history. Where there is no feed it starts one.
func (s *Store) join(r cellstate.Range, next int64) *reader {
	s.feeds.mu.Lock()
	defer s.feeds.mu.Unlock()
	f := s.feeds.of[r]
	if f == nil {
		ctx, cancel := context.WithCancel(s.client.Ctx())
		f = &feed{store: s, cancel: cancel, from: next, next: next, readers: make(map[*reader]struct{}), more: make(chan struct{})}
		f.read = sync.NewCond(&f.mu)
		s.feeds.of[r] = f
		go func() {
			defer cancel()
			w := &watch{store: s, r: r, next: next, yield: f.publish}
			w.run(ctx, func() bool { return false })
		}()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil || next < f.from || next > f.next {
		return nil
	}
	i := sort.Search(len(f.log), func(i int) bool { return f.log[i].Rev >= next })
	rd := &reader{feed: f, at: f.first + int64(i)}
	f.readers[rd] = struct{}{}
	return rd
}

// leave ends a reader, and with the last one the feed.
func (s *Store) leave(r cellstate.Range, rd *reader) {
	s.feeds.mu.Lock()
	defer s.feeds.mu.Unlock()
	f := rd.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.readers, rd)
	f.read.Broadcast()
	if len(f.readers) == 0 {
		f.cancel()
		if s.feeds.of[r] == f {
			delete(s.feeds.of, r)
		}
	}
}

// publish adds what the etcd watch brings, or its end, and tells who waits. While more is kept than should be, and nobody has
// read any of it, it waits: a feed that catches up on a long history must not run away from all its watchers.
func (f *feed) publish(b cellstate.Batch, err error) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for err == nil && f.kept > f.store.cfg.Backlog && len(f.readers) > 0 && f.fastest() == f.first {
		f.read.Wait()
	}
	if err != nil {
		f.err = err
	} else {
		f.log = append(f.log, b)
		f.kept += len(b.Events) + 1
		f.next = b.Rev + 1
		f.trim()
	}
	close(f.more)
	f.more = make(chan struct{})
	return err == nil
}

// fastest is the number of the batch that is next for whoever has read most.
func (f *feed) fastest() int64 {
	most := f.first
	for rd := range f.readers {
		most = max(most, rd.at)
	}
	return most
}

// trim gives up batches that everybody has read, but for a tail; and beyond the store's Backlog those that somebody has not.
func (f *feed) trim() {
	unread := f.first + int64(len(f.log))
	for rd := range f.readers {
		unread = min(unread, rd.at)
	}
	fastest := f.fastest()
	n := 0
	for ; n < len(f.log)-1; n++ {
		b := &f.log[n]
		if !(f.kept > f.store.cfg.Backlog && f.first < fastest || f.kept > feedTail && f.first < unread) {
			break
		}
		f.kept -= len(b.Events) + 1
		f.first++
		f.from = b.Rev + 1
	}
	clear(f.log[:n])
	f.log = f.log[n:]
}

// take returns the next batches, which are the reader's until it takes more; or none, and what to wait for; or the feed's
// end. Lost is set where the feed keeps them no longer.
func (rd *reader) take() (batches []cellstate.Batch, more <-chan struct{}, lost bool, err error) {
	f := rd.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	if rd.at < f.first {
		return nil, nil, true, nil
	}
	unread := f.log[rd.at-f.first:]
	if len(unread) == 0 {
		return nil, f.more, false, f.err
	}
	clear(rd.buf)
	rd.buf = append(rd.buf[:0], unread[:min(len(unread), readerBatches)]...)
	rd.at += int64(len(rd.buf))
	f.read.Broadcast()
	return rd.buf, nil, false, nil
}
