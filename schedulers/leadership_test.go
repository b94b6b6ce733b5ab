package schedulers_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/schedulers"
)

// hooked is a mirror whose waiters are held up: between the snapshot that Wait found and its return, between runs.
type hooked struct {
	cellstate.Mirror
	calls   atomic.Int32
	between func(call int32)
}

func (m *hooked) Wait(ctx context.Context, rev int64) (cellstate.Snapshot, error) {
	s, err := m.Mirror.Wait(ctx, rev)
	if call := m.calls.Add(1); err == nil {
		m.between(call)
	}
	return s, err
}

// The order of a loop's first calls of Mirror.Wait.
const (
	waitToRun  = 1 // before it registers
	waitToLead = 2 // when it has won its only shard
	waitToPlan = 3 // for the first job
)

// TestJobSubmittedWhileWinning guards I10: a job that appears after the snapshot on which a shard is taken over, and before the
// shard counts as held, was neither among the jobs there nor news.
func TestJobSubmittedWhileWinning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCell(t, 1)
		c.start(c.store, func(cfg *schedulers.Config) {
			cfg.Mirror = &hooked{Mirror: cfg.Mirror, between: func(call int32) {
				if call == waitToLead {
					c.submit("late", 1, 1000)
					time.Sleep(time.Millisecond) // the mirror shows it, and its observers have been told
				}
			}}
		})
		settle()
		if got := c.claims(); !slices.Equal(got, []string{"late/0.0@m0"}) {
			t.Errorf("claims %v, want that of the job submitted while the shard was won", got)
		}
	})
}

// TestSnapshotFromBeforeLeadership guards I4: a pass that is held up with its snapshot, while its process loses the shard,
// another one places the job, and the shard comes back, must not commit that plan under the new leadership.
func TestSnapshotFromBeforeLeadership(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCell(t, 8)
		l, _ := c.start(c.store, func(cfg *schedulers.Config) {
			cfg.Mirror = &hooked{Mirror: cfg.Mirror, between: func(call int32) {
				if call != waitToPlan {
					return
				}
				leader, err := cellstate.Get(context.Background(), c.store, cellstate.LeaderKey("batch", 0))
				if err != nil {
					t.Error(err)
				}
				c.store.ExpireLease(leader.Lease)
				c.place("once", "m7")
				time.Sleep(time.Second)
			}}
		})
		settle()
		c.submit("once", 1, 1000)
		settle()
		settle()
		if l.Leading() != 1 {
			t.Fatal("the shard was not won back: this no longer tests anything")
		}
		if got := c.claims(); !slices.Equal(got, []string{"once/0.0@m7"}) {
			t.Errorf("claims %v, want only the other leader's", got)
		}
	})
}

// place plays another copy of the scheduler that gives a job's task 0 a claim.
func (c *cell) place(job, machine string) {
	claim := cellstate.Claim{
		ID: cellstate.ClaimID{Scheduler: "batch", Job: job, Run: 7}, Machine: machine, JobVersion: 1, Precedence: 100,
		Resources: cellstate.Resources{CPUMilli: 1000}, Start: cellstate.InstantOf(time.Now()),
	}
	v, err := c.store.Commit(context.Background(), &cellstate.Txn{
		ID: "other", Scheduler: "batch", Mode: cellstate.Incremental, Rule: cellstate.FitRule, Add: []cellstate.Claim{claim},
	})
	if err != nil || len(v.Conflicts) > 0 {
		c.t.Errorf("the other copy's claim: %+v, %v", v, err)
	}
}

// counting is a store that counts swaps, and holds up who makes too many of them, so that a busy loop ends.
type counting struct {
	cellstate.Store
	swaps atomic.Int32
}

const tooMany = 100

func (s *counting) Swap(ctx context.Context, sw cellstate.Swap) (cellstate.Swapped, error) {
	if s.swaps.Add(1) > tooMany {
		time.Sleep(time.Hour)
	}
	return s.Store.Swap(ctx, sw)
}

// TestLeaderKeyOlderThanHistory: a leader's key is as old as its leadership, and history is compacted long before that ends.
// Neither a standby that comes later nor the leader, when its watch has to be made anew, may watch from there: it fails at
// once, again and again, and the store was asked as fast as it could answer.
func TestLeaderKeyOlderThanHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCell(t, 1)
		client := c.store.Client()
		one, two := &counting{Store: client}, &counting{Store: c.store}
		first, _ := c.start(one, nil)
		settle()
		c.submit("a", 1, 1000)
		settle()
		c.store.Compact(1 << 40)
		second, _ := c.start(two, nil)
		client.SetAvailable(false)
		time.Sleep(time.Second)
		client.SetAvailable(true)
		time.Sleep(time.Minute)
		settle()
		if n := max(one.swaps.Load(), two.swaps.Load()); n > 30 {
			t.Errorf("a copy made %d swaps in a minute with nothing to do", n)
		}
		if first.Leading() != 1 || second.Leading() != 0 {
			t.Errorf("leading: %d and %d, want the first still", first.Leading(), second.Leading())
		}
	})
}

// slow is a store whose commits take their time.
type slow struct{ cellstate.Store }

func (s slow) Commit(ctx context.Context, t *cellstate.Txn) (cellstate.Verdict, error) {
	time.Sleep(time.Second)
	return s.Store.Commit(ctx, t)
}

// TestStopFinishesWhatIsUnderWay: a commit that was sent before the stop is not refused because its leadership was given up.
func TestStopFinishesWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCell(t, 1)
		_, stop := c.start(slow{c.store}, nil)
		settle()
		c.submit("last", 1, 1000)
		time.Sleep(time.Second / 2)
		stop()
		if got := c.claims(); !slices.Equal(got, []string{"last/0.0@m0"}) {
			t.Errorf("claims %v after a graceful stop, want what was under way", got)
		}
	})
}

// mute is a store whose first swap of each leader key is carried out without an answer.
type mute struct {
	cellstate.Store
	heard sync.Map // keys
}

func (s *mute) Swap(ctx context.Context, sw cellstate.Swap) (cellstate.Swapped, error) {
	out, err := s.Store.Swap(ctx, sw)
	k := sw.Guards[0].Key
	if _, again := s.heard.LoadOrStore(k, true); err == nil && k.Kind == cellstate.KindLeader && !again {
		return cellstate.Swapped{}, &cellstate.OpError{Op: "swap", On: k.String(), Err: cellstate.ErrUnknown}
	}
	return out, err
}

// TestLeaderWithoutAnswer guards I10: a copy that led more than its share, or did not know that it did, and lost sight of its
// key, must not wait for that very key to go: nobody led the shard as long as the copy lived.
func TestLeaderWithoutAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCell(t, 1)
		client := c.store.Client()
		l, _ := c.start(&mute{Store: client}, func(cfg *schedulers.Config) { cfg.Shards, cfg.Copies = 3, 3 })
		time.Sleep(time.Minute)
		if l.Leading() != 3 {
			t.Errorf("leads %d shards although the keys of all 3 are its own", l.Leading())
		}
		client.SetAvailable(false)
		time.Sleep(time.Second)
		client.SetAvailable(true)
		time.Sleep(time.Minute)
		if l.Leading() != 3 {
			t.Errorf("leads %d shards after an interruption, not 3 as before", l.Leading())
		}
	})
}
