package etcdstore_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/etcdstore"
	"github.com/omegacell/omegacell/cellstate/etcdstore/etcdtest"
)

// tenants writes n tenants, each a revision, and returns the last one.
func tenants(t *testing.T, s cellstate.Store, n int) (last int64) {
	t.Helper()
	for range n {
		got, err := s.Swap(t.Context(), cellstate.Swap{Put: []cellstate.Put{{Value: &cellstate.Tenant{Name: "t"}}}})
		if err != nil {
			t.Fatal(err)
		}
		last = got.Rev
	}
	return last
}

// follower collects what a watch of the whole cell brings, in a member where nothing else is written: every revision from
// `from` on once, in order (I9).
type follower struct {
	t    *testing.T
	from int64
	stop context.CancelFunc
	err  chan error // its end

	mu   sync.Mutex
	came *sync.Cond // next changed
	next int64
	hold chan struct{} // not nil: it takes nothing until this is closed
}

func follow(t *testing.T, s cellstate.Store, from int64) *follower {
	ctx, cancel := context.WithCancel(t.Context())
	f := &follower{t: t, from: from, stop: cancel, err: make(chan error, 1), next: from}
	f.came = sync.NewCond(&f.mu)
	go func() {
		for b, err := range s.Watch(ctx, cellstate.Range{}, from) {
			if err != nil {
				f.err <- err
				return
			}
			f.take(b)
		}
	}()
	return f
}

func (f *follower) take(b cellstate.Batch) {
	f.mu.Lock()
	hold := f.hold
	f.mu.Unlock()
	if hold != nil {
		<-hold
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case len(b.Events) > 0 && b.Rev != f.next:
		f.t.Errorf("watch from %d: changes of revision %d, want %d next", f.from, b.Rev, f.next)
	case len(b.Events) == 0 && b.Rev < f.next-1:
		f.t.Errorf("watch from %d: an empty batch at %d after %d", f.from, b.Rev, f.next-1)
	case len(b.Events) == 0 && b.Rev >= f.next:
		f.t.Errorf("watch from %d: nothing changed up to %d, it says after %d", f.from, b.Rev, f.next-1)
	}
	if len(b.Events) > 0 {
		f.next = b.Rev + 1
		f.came.Broadcast()
	}
}

func (f *follower) seen() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.next - 1
}

func (f *follower) wait(rev int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.next <= rev {
		f.came.Wait()
	}
}

func waitFeeds(s *etcdstore.Store, want ...int) {
	for !slices.Equal(s.Feeds(), want) {
		runtime.Gosched()
	}
}

// Watchers of the whole cell share an etcd watch, whether they come at the same revision, at an older one that it still
// keeps, or at one before it began; each gets every revision once. With the last one the etcd watch goes.
func TestWatchersShare(t *testing.T) {
	m := etcdtest.Start(t)
	s, writer := open(t, etcdstore.Config{Client: m.Client(), Progress: 1 << 40}), open(t, etcdstore.Config{Client: m.Client()})
	first := tenants(t, writer, 20)
	one := follow(t, s, first+1)
	two := follow(t, s, first+1)
	waitFeeds(s, 2)
	last := tenants(t, writer, 20)
	one.wait(last)
	two.wait(last)
	kept := follow(t, s, last-10)
	waitFeeds(s, 3)
	kept.wait(last)
	older := follow(t, s, first-10)
	older.wait(last)
	waitFeeds(s, 4)
	now := follow(t, s, last+1)
	waitFeeds(s, 5)
	future := follow(t, s, last+5)
	all := []*follower{one, two, kept, older, now, future}
	last = tenants(t, writer, 20)
	for _, f := range all {
		f.wait(last)
	}
	waitFeeds(s, 6)
	for i, f := range all {
		f.stop()
		if err := <-f.err; !errors.Is(err, context.Canceled) || !errors.Is(err, cellstate.ErrUnavailable) {
			t.Errorf("watcher %d ended with %v", i, err)
		}
		if i == len(all)-1 {
			waitFeeds(s)
		} else {
			waitFeeds(s, len(all)-1-i)
		}
		if i == 2 {
			last = tenants(t, writer, 20)
			for _, f := range all[3:] {
				f.wait(last)
			}
		}
	}
	again := follow(t, s, last-30)
	last = tenants(t, writer, 3)
	again.wait(last)
	again.stop()
	<-again.err
}

// A caller whose goroutine ends inside its loop, as one of a test that fails does, leaves the feed all the same.
func TestWatcherLeavesWithItsGoroutine(t *testing.T) {
	m := etcdtest.Start(t)
	s := open(t, etcdstore.Config{Client: m.Client(), Progress: 1 << 40})
	last := tenants(t, open(t, etcdstore.Config{Client: m.Client()}), 3)
	var wg sync.WaitGroup
	shared := 0
	wg.Go(func() {
		for range s.Watch(t.Context(), cellstate.Range{}, last) {
			shared = len(s.Feeds())
			runtime.Goexit()
		}
	})
	wg.Wait()
	if n := len(s.Feeds()); shared != 1 || n != 0 {
		t.Errorf("%d feeds in the loop and %d after it, want 1 and 0", shared, n)
	}
}

// A watcher that takes nothing keeps nobody waiting. It falls behind what is kept for it, catches up on its own, misses
// nothing, and then shares again.
func TestSlowWatcher(t *testing.T) {
	m := etcdtest.Start(t)
	log, said := observer.New(zap.DebugLevel)
	s := open(t, etcdstore.Config{Client: m.Client(), Progress: 1 << 40, Backlog: 8, Log: zap.New(log)})
	writer := open(t, etcdstore.Config{Client: m.Client()})
	first := tenants(t, writer, 1)
	fast, slow := follow(t, s, first+1), follow(t, s, first+1)
	waitFeeds(s, 2)
	hold := make(chan struct{})
	slow.mu.Lock()
	slow.hold = hold
	slow.mu.Unlock()
	last := tenants(t, writer, 300)
	fast.wait(last)
	if got := slow.seen(); got > first+1 {
		t.Fatalf("the slow one has seen %d: this no longer tests anything", got)
	}
	close(hold)
	slow.wait(last)
	for {
		last = tenants(t, writer, 1) // it looks for the others after each batch
		slow.wait(last)
		if slices.Equal(s.Feeds(), []int{2}) {
			break
		}
	}
	last = tenants(t, writer, 5)
	fast.wait(last)
	slow.wait(last)
	if said.FilterMessage(fellBehind).Len() == 0 {
		t.Error("the slow one never fell behind: everything is kept for it")
	}
}

const fellBehind = "watcher fell behind the others"

// A watcher that comes with a long history before it is not outrun by its own feed.
func TestLoneWatcherIsNotOutrun(t *testing.T) {
	m := etcdtest.Start(t)
	log, said := observer.New(zap.DebugLevel)
	s := open(t, etcdstore.Config{Client: m.Client(), Progress: 1 << 40, Backlog: 8, Log: zap.New(log)})
	last := tenants(t, open(t, etcdstore.Config{Client: m.Client()}), 300)
	one := follow(t, s, last-298)
	one.wait(last)
	if n := said.FilterMessage(fellBehind).Len(); n != 0 {
		t.Errorf("it fell behind %d times", n)
	}
}

// The history before a shared watch is compacted while the connection is down: each watcher is told, and starts anew.
func TestWatchersCompacted(t *testing.T) {
	m := etcdtest.Start(t)
	c := m.Client()
	s, writer := open(t, etcdstore.Config{Client: c, Progress: 1 << 40}), open(t, etcdstore.Config{Client: m.Client()})
	last := tenants(t, writer, 20)
	if _, err := c.Compact(t.Context(), last-5); err != nil {
		t.Fatal(err)
	}
	old, older := follow(t, s, last-10), follow(t, s, last-10)
	for _, f := range []*follower{old, older} {
		if err := <-f.err; !errors.Is(err, cellstate.ErrCompacted) {
			t.Errorf("ended with %v, want %v", err, cellstate.ErrCompacted)
		}
	}
	young := follow(t, s, last-5)
	last = tenants(t, writer, 3)
	young.wait(last)
	waitFeeds(s, 1)
}

// The member restarts: all who share the watch go on where they were. When the client is closed all are told.
func TestWatchersReconnect(t *testing.T) {
	m := etcdtest.Start(t)
	c := m.Client()
	s := open(t, etcdstore.Config{Client: c, Progress: 1 << 40, RetryMin: 1})
	first := tenants(t, open(t, etcdstore.Config{Client: m.Client()}), 5)
	var all []*follower
	for i := range 4 {
		all = append(all, follow(t, s, first+1-int64(i)))
	}
	last := tenants(t, open(t, etcdstore.Config{Client: m.Client()}), 5)
	for _, f := range all {
		f.wait(last)
	}
	m.Restart()
	last = tenants(t, open(t, etcdstore.Config{Client: m.Client()}), 50)
	for _, f := range all {
		f.wait(last)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for i, f := range all {
		if err := <-f.err; !errors.Is(err, cellstate.ErrUnavailable) {
			t.Errorf("watcher %d ended with %v", i, err)
		}
	}
	waitFeeds(s)
}

// Two ranges, and a single key, are watched apart.
func TestRangesDoNotMix(t *testing.T) {
	m := etcdtest.Start(t)
	s, writer := open(t, etcdstore.Config{Client: m.Client(), Progress: 1 << 40}), open(t, etcdstore.Config{Client: m.Client()})
	from := tenants(t, writer, 1) + 1
	got := make(chan string, 100)
	for _, r := range []cellstate.Range{{}, {Kind: cellstate.KindTenant}, {Kind: cellstate.KindLedger}, cellstate.TenantKey("t").Only()} {
		go func() {
			for b, err := range s.Watch(t.Context(), r, from) {
				if err != nil {
					return
				}
				for _, e := range b.Events {
					got <- fmt.Sprint(r, " ", e.Record.Key)
				}
			}
		}()
	}
	tenants(t, writer, 1)
	machines(t, writer, 1, 1000)
	var lines []string
	for range 5 {
		lines = append(lines, <-got)
	}
	slices.Sort(lines)
	want := []string{
		fmt.Sprint(cellstate.Range{}, " ledger m0"), fmt.Sprint(cellstate.Range{}, " tenant t"),
		fmt.Sprint(cellstate.Range{Kind: cellstate.KindLedger}, " ledger m0"), fmt.Sprint(cellstate.Range{Kind: cellstate.KindTenant}, " tenant t"),
		fmt.Sprint(cellstate.TenantKey("t").Only(), " tenant t"),
	}
	slices.Sort(want)
	if !slices.Equal(lines, want) {
		t.Errorf("%q, want %q", lines, want)
	}
	if n := len(s.Feeds()); n != 3 {
		t.Errorf("%d etcd watches are shared, want those of the three ranges", n)
	}
}
