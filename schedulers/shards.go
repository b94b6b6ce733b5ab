package schedulers

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/omegacell/omegacell/cellstate"
)

// shards is this process's share of the scheduler's work. The jobs of a scheduler are hashed over its shards; each shard has
// one leader, whose key in the cell fences all it commits, so that what a deposed leader still sends is refused.
//
// With one shard a second copy is a standby. With several, each of n copies takes up to its share of them at once, and
// beyond that only those that stayed without a leader for a whole lease time.
type shards struct {
	loop  *Loop
	count uint32
	slots chan struct{} // holds one for each shard that is held, or tried for, within our share

	mu   sync.Mutex
	held map[uint32]cellstate.Fence
}

func newShards(l *Loop, count uint32) *shards {
	share := (count + l.cfg.Copies - 1) / l.cfg.Copies
	return &shards{loop: l, count: count, slots: make(chan struct{}, share), held: make(map[uint32]cellstate.Fence)}
}

// fence returns what guards transactions for a job, and whether the job is ours now.
func (s *shards) fence(name string) (cellstate.Fence, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.held[s.of(name)]
	return f, ok
}

// of returns the shard of a job; the job itself may be gone.
func (s *shards) of(name string) uint32 { return (&cellstate.Job{Name: name}).Shard(s.count) }

// holds reports whether the job of that name is ours now.
func (s *shards) holds(name string) bool {
	_, ok := s.fence(name)
	return ok
}

func (s *shards) leading() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.held)
}

// run keeps campaigning, under one lease at a time, until ctx is done.
func (s *shards) run(ctx context.Context) {
	cfg := &s.loop.cfg
	wait := backoff{min: cfg.BackoffMin, max: cfg.LeaseTTL}
	for ctx.Err() == nil {
		began := time.Now()
		if lease, err := cfg.Store.Lease(ctx, cfg.LeaseTTL); err != nil {
			cfg.Log.Warn("no lease", zap.Error(err))
		} else {
			s.term(ctx, lease)
		}
		if time.Since(began) >= cfg.LeaseTTL {
			wait.times = 0
		}
		wait.wait(ctx)
	}
}

// term campaigns under one lease, and gives it up.
func (s *shards) term(ctx context.Context, lease cellstate.Lease) {
	cfg := &s.loop.cfg
	s.campaign(ctx, lease)
	s.loseAll()
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), cfg.LeaseTTL)
	defer cancel()
	if err := lease.Close(closing); err != nil {
		cfg.Log.Warn("giving up leadership", zap.Error(err))
	}
}

// campaign runs one candidate a shard until the lease is lost or ctx done.
func (s *shards) campaign(ctx context.Context, lease cellstate.Lease) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	for n := range s.count {
		wg.Go(func() { s.candidate(ctx, lease, n) })
	}
	select {
	case <-lease.Done():
		s.loop.cfg.Log.Warn("lease lost: no longer leader of any shard")
	case <-ctx.Done():
	}
	cancel()
	wg.Wait()
}

// candidate tries to become the leader of shard n, again whenever the key of another leader goes.
func (s *shards) candidate(ctx context.Context, lease cellstate.Lease, n uint32) {
	wait := s.retry()
	for ctx.Err() == nil {
		within, ok := s.mayTry(ctx, n)
		if !ok {
			return
		}
		rev := s.lead(ctx, lease, n)
		if within {
			<-s.slots
		}
		if err := s.awaitGone(ctx, cellstate.LeaderKey(s.loop.cfg.Name, n), rev+1); err == nil {
			wait.times = 0
		} else if ctx.Err() == nil {
			s.loop.cfg.Log.Warn("leader not watched", zap.Uint32("shard", n), zap.Error(err))
			wait.wait(ctx)
		}
	}
}

// lead leads shard n for as long as it can. It returns when another leads for certain, or nobody, with a revision at which the
// key of that one was there or ours was. While it is uncertain it goes on trying: our key may be there although no answer said
// so, and then nobody else can lead.
func (s *shards) lead(ctx context.Context, lease cellstate.Lease, n uint32) (rev int64) {
	wait := s.retry()
	for ctx.Err() == nil {
		f, rev, err := s.try(ctx, lease, n)
		if err == nil && f.CreateRev == 0 {
			return rev
		}
		if err == nil {
			s.won(ctx, n, f)
			err = s.awaitGone(ctx, f.Key, rev+1)
			s.lost(n)
			if err == nil {
				return rev
			}
			wait.times = 0
		}
		if ctx.Err() == nil {
			s.loop.cfg.Log.Warn("leadership uncertain", zap.Uint32("shard", n), zap.Error(err))
			wait.wait(ctx)
		}
	}
	return 0
}

func (s *shards) retry() backoff {
	return backoff{min: s.loop.cfg.BackoffMin, max: s.loop.cfg.BackoffMax}
}

// mayTry waits until shard n may be tried for: within our share, which takes one of the slots, or because the shard stayed
// without a leader. ok is false when ctx is done first.
func (s *shards) mayTry(ctx context.Context, n uint32) (within, ok bool) {
	select {
	case s.slots <- struct{}{}:
		return true, true
	default:
	}
	ctx, cancel := context.WithCancel(ctx)
	free := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			if s.staysFree(ctx, cellstate.LeaderKey(s.loop.cfg.Name, n)) {
				close(free)
				return
			}
		}
	})
	defer wg.Wait()
	defer cancel()
	select {
	case s.slots <- struct{}{}:
		return true, true
	case <-free:
		return false, true
	case <-ctx.Done():
		return false, false
	}
}

// try writes our leader key if there is none. It returns the fence, whose CreateRev is 0 where another leads, and the
// revision at which that was so.
func (s *shards) try(ctx context.Context, lease cellstate.Lease, n uint32) (cellstate.Fence, int64, error) {
	cfg := &s.loop.cfg
	f := cellstate.Fence{Key: cellstate.LeaderKey(cfg.Name, n)}
	got, err := cfg.Store.Swap(ctx, cellstate.Swap{
		Guards: []cellstate.Guard{{Key: f.Key}},
		Put: []cellstate.Put{{Lease: lease.ID(), Value: &cellstate.Leader{
			Scheduler: cfg.Name, Shard: n, Holder: cfg.Holder, Since: cfg.Now(),
		}}},
	})
	switch {
	case err != nil:
		return f, 0, err
	case got.OK:
		f.CreateRev = got.Rev
	case got.Now[0].Lease == lease.ID(): // an earlier try of ours arrived although its answer did not
		f.CreateRev = got.Now[0].CreateRev
	}
	return f, got.Rev, nil
}

// won takes the shard over: all its jobs are planned, on snapshots that show everything earlier leaders did.
func (s *shards) won(ctx context.Context, n uint32, f cellstate.Fence) {
	if _, err := s.loop.cfg.Mirror.Wait(ctx, f.CreateRev); err != nil {
		return
	}
	s.mu.Lock()
	s.held[n] = f
	count := len(s.held)
	s.mu.Unlock()
	s.loop.cfg.Metrics.shards.Set(float64(count))
	s.loop.cfg.Log.Info("leading", zap.Uint32("shard", n), zap.Uint32("of", s.count))
	// The snapshot after held is set: what is not in it yet is observed as ours (I10).
	s.loop.enqueueAll(s.loop.cfg.Mirror.Snapshot(), func(name string) bool { return s.of(name) == n })
}

func (s *shards) lost(n uint32) {
	s.mu.Lock()
	delete(s.held, n)
	count := len(s.held)
	s.mu.Unlock()
	s.loop.cfg.Metrics.shards.Set(float64(count))
}

func (s *shards) loseAll() {
	s.mu.Lock()
	clear(s.held)
	s.mu.Unlock()
	s.loop.cfg.Metrics.shards.Set(0)
}

// awaitGone waits until the key has been deleted at revision from or later. An error says that this cannot be told, or that
// ctx is done.
func (s *shards) awaitGone(ctx context.Context, key cellstate.Key, from int64) error {
	for batch, err := range s.loop.cfg.Store.Watch(ctx, key.Only(), from) {
		if err != nil {
			return err
		}
		for _, e := range batch.Events {
			if e.Deleted {
				return nil
			}
		}
	}
	return ctx.Err()
}

// staysFree waits until the key is away and reports whether it is still away a lease time later.
func (s *shards) staysFree(ctx context.Context, key cellstate.Key) bool {
	cfg := &s.loop.cfg
	now, err := cfg.Store.List(ctx, key.Only(), 0)
	if err == nil && len(now.Records) > 0 {
		if err := s.awaitGone(ctx, key, now.Rev+1); err != nil {
			cfg.Log.Debug("leader not watched", zap.Stringer("key", key), zap.Error(err))
		}
	}
	t := time.NewTimer(cfg.LeaseTTL)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		return false
	}
	rec, err := cellstate.Get(ctx, cfg.Store, key)
	return err == nil && rec.Rev == 0
}
