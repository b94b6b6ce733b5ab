package schedulers

import (
	"context"
	"errors"
	"testing"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/memstore"
)

// answering is a store whose commits get one answer, and counts them.
type answering struct {
	cellstate.Store
	err     error
	commits int
}

func (s *answering) Commit(context.Context, *cellstate.Txn) (cellstate.Verdict, error) {
	s.commits++
	return cellstate.Verdict{Rev: 40}, s.err
}

// TestCatchUp guards I4: before a job is planned again, all that was sent for it is settled, or cannot happen any more.
func TestCatchUp(t *testing.T) {
	fence := cellstate.Fence{Key: cellstate.LeaderKey("s", 0), CreateRev: 7}
	before := cellstate.Fence{Key: fence.Key, CreateRev: 3}
	const latest = 11 // the store's revision
	for _, tt := range []struct {
		name    string
		state   jobState
		answer  error
		commits int
		minRev  int64
		err     error
		open    bool // afterwards
	}{
		{name: "nothing is open", state: jobState{minRev: 5}, minRev: 5},
		{name: "sent again, and settled", state: jobState{minRev: 5, unknown: &cellstate.Txn{Fence: &fence}}, commits: 1, minRev: 40},
		{name: "sent again, still unknown", state: jobState{minRev: 5, unknown: &cellstate.Txn{Fence: &fence}},
			answer: cellstate.ErrUnknown, commits: 1, minRev: 5, err: cellstate.ErrUnknown, open: true},
		{name: "sent again, not arrived", state: jobState{minRev: 5, unknown: &cellstate.Txn{Fence: &fence}},
			answer: cellstate.ErrUnavailable, commits: 1, minRev: 5, err: cellstate.ErrUnavailable, open: true},
		{name: "sent again, refused as invalid", state: jobState{minRev: 5, unknown: &cellstate.Txn{Fence: &fence}},
			answer: cellstate.ErrInvalid, commits: 1, minRev: 40},
		{name: "sent under an earlier leadership", state: jobState{minRev: 5, unknown: &cellstate.Txn{Fence: &before}}, minRev: 5},
		{name: "a part may have been done", state: jobState{minRev: 5, behind: true}, minRev: latest},
		{name: "a part may have been done, and later ones were", state: jobState{minRev: 50, behind: true}, minRev: 50},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store := memstore.New(memstore.Config{})
			for range latest - 1 {
				if _, err := store.Swap(t.Context(), cellstate.Swap{Put: []cellstate.Put{{Value: &cellstate.Machine{Name: "m"}}}}); err != nil {
					t.Fatal(err)
				}
			}
			a := &answering{Store: store, err: tt.answer}
			l := &Loop{cfg: Config{Store: a}}
			st := tt.state
			err := l.catchUp(t.Context(), &st, fence)
			if !errors.Is(err, tt.err) || a.commits != tt.commits || st.minRev != tt.minRev {
				t.Errorf("error %v, %d commits, minRev %d; want %v, %d, %d", err, a.commits, st.minRev, tt.err, tt.commits, tt.minRev)
			}
			if open := st.unknown != nil || st.behind; open != tt.open {
				t.Errorf("left open: %v, want %v", open, tt.open)
			}
		})
	}
}
