package schedulers_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/schedulers"
	"github.com/omegacell/omegacell/schedulers/batch"
)

// looking is the batch planner, and counts how often it looked at the cell for room.
type looking struct{ plans, looks int }

func (p *looking) Plan(snap cellstate.Snapshot, job schedulers.Job, rng *rand.Rand) schedulers.Plan {
	p.plans++
	if job.Hopeless == nil {
		p.looks++
	}
	return batch.Planner{}.Plan(snap, job, rng)
}

// TestEqualJobsWait: of many jobs that ask for the same in a full cell one looks for room for all; each is explained all the same.
// When room appears, it is used at once, by as many as there is room for, and without all the others being planned.
func TestEqualJobsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const waiting = 40
		c := newCell(t, 2)
		p := new(looking)
		c.start(c.store, func(cfg *schedulers.Config) { cfg.Planner, cfg.Recheck = p, 1000*time.Hour })
		c.submit("full0", 1, 1000)
		c.submit("full1", 1, 1000)
		settle()
		before := *p
		for i := range waiting {
			c.submit(fmt.Sprintf("wait%02d", i), 1, 300)
		}
		settle()
		if n := p.looks - before.looks; n > 2 {
			t.Errorf("looked %d times at a full cell for %d equal jobs", n, waiting)
		}
		for i := range waiting {
			if s := c.status(fmt.Sprintf("wait%02d", i)); s == nil || s.Explanation == nil || !s.Explanation.Parked || s.Explanation.Unplaced != 1 || s.Explanation.Looked != 2 {
				t.Fatalf("status %+v of job %d, want an explanation", s, i)
			}
		}
		before = *p
		c.end(c.machineOf("full0"), 0) // room for 3
		settle()
		if got := c.claims(); len(got) != 4 {
			t.Errorf("claims %v, want 3 of those that waited", got)
		}
		if n := p.plans - before.plans; n > 10 {
			t.Errorf("planned %d jobs for 3 places", n)
		}
	})
}

// TestUnequalJobsWait guards I10: room that is too little for one lot, or of no use to it, is for the other.
func TestUnequalJobsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCell(t, 1)
		c.start(c.store, func(cfg *schedulers.Config) { cfg.Recheck = 1000 * time.Hour })
		c.submit("full", 1, 1000)
		settle()
		c.submit("large", 1, 1001)
		settle()
		picky := *c.submit("picky", 1, 900)
		picky.Constraints = []cellstate.Constraint{{Attribute: "os", Op: cellstate.OpEqual, Values: []string{"plan9"}}}
		c.put(&picky)
		gang := *c.submit("gang", 2, 900)
		gang.GangMin = 2
		c.put(&gang)
		settle() // each is parked before the next one comes
		c.submit("small", 1, 900)
		settle()
		c.end("m0", 0)
		settle()
		if got := c.claims(); len(got) != 1 || got[0] != "small/0.0@m0" {
			t.Errorf("claims %v, want that of the only job that can use the room", got)
		}
	})
}

// TestFirstOfALotGoes guards I10: a job that was to try for all of its lot and is gone when its turn comes leaves it to the next.
func TestFirstOfALotGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCell(t, 2)
		s := &pacing{Store: c.store}
		c.start(s, func(cfg *schedulers.Config) { cfg.Recheck, cfg.InFlight = 1000*time.Hour, 1 })
		c.submit("full0", 1, 1000)
		c.submit("full1", 1, 500)
		time.Sleep(time.Minute)
		synctest.Wait()
		var first *cellstate.Job
		for i := range 3 {
			if j := c.submit(fmt.Sprintf("wait%d", 3-i), 1, 1000); i == 0 {
				first = j
			}
			settle()
		}
		c.submit("other", 1, 500) // its commit takes a second, in which nothing else is planned
		synctest.Wait()
		c.end(c.machineOf("full0"), 0)
		synctest.Wait()
		c.remove(first.Key())
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := c.claims(); len(got) != 3 || !strings.HasPrefix(got[2], "wait2/") {
			t.Errorf("claims %v, want that of the second in line", got)
		}
	})
}

// slowSwaps is a store whose swaps take a second.
type slowSwaps struct{ cellstate.Store }

func (s slowSwaps) Swap(ctx context.Context, w cellstate.Swap) (cellstate.Swapped, error) {
	time.Sleep(time.Second)
	return s.Store.Swap(ctx, w)
}

// TestUpdatedGangIsLookedAt guards I10: what was explained to an earlier version of a gang is no answer to the next one, also where
// that comes while the explanation is being written.
func TestUpdatedGangIsLookedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCell(t, 2)
		c.start(slowSwaps{c.store}, func(cfg *schedulers.Config) { cfg.Recheck = 1000 * time.Hour })
		time.Sleep(time.Minute)
		j := *c.submit("gang", 2, 5000)
		j.GangMin = 2
		c.put(&j)
		time.Sleep(500 * time.Millisecond) // the explanation is on its way
		small := j
		small.Version++
		small.Task.Resources.CPUMilli = 100
		c.put(&small)
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := c.claims(); len(got) != 2 {
			t.Errorf("claims %v, want both of the gang, for which there is room", got)
		}
	})
}
