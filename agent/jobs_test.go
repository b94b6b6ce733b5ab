package agent

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/memstore"
)

// slow is a store whose lists wait.
type slow struct {
	cellstate.Store
	lists atomic.Int32
	open  chan struct{}
}

func (s *slow) List(ctx context.Context, r cellstate.Range, rev int64) (cellstate.Listing, error) {
	s.lists.Add(1)
	<-s.open
	return s.Store.List(ctx, r, rev)
}

// What many agents ask for at a time is read once.
func TestJobsReadOnceForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{Store: memstore.New(memstore.Config{}), open: make(chan struct{})}
		j := &cellstate.Job{Scheduler: "s", Name: "hello", Run: 1, Version: 1, Tenant: "default", Precedence: 100, Tasks: 3,
			Task: cellstate.TaskSpec{Command: []string{"true"}}}
		if res, err := s.Swap(t.Context(), cellstate.Swap{Put: []cellstate.Put{{Value: j}}}); err != nil || !res.OK {
			t.Fatal(res, err)
		}
		jobs := NewJobs(s)
		got := make(chan error)
		for i := range uint32(20) {
			go func() {
				c := claimOf(j, i%3, 0)
				job, err := jobs.For(t.Context(), &c)
				if err == nil && job.Name != "hello" {
					t.Errorf("got job %s", job.Name)
				}
				got <- err
			}()
		}
		synctest.Wait()
		close(s.open)
		for range 20 {
			if err := <-got; err != nil {
				t.Error(err)
			}
		}
		if n := s.lists.Load(); n != 1 {
			t.Errorf("%d reads, want 1", n)
		}
		other := claimOf(j, 0, 0)
		other.JobVersion = 2
		if _, err := jobs.For(t.Context(), &other); err == nil {
			t.Error("a version that is not there yet was found")
		}
	})
}
