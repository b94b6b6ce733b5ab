package schedulers_test

import (
	"context"
	"iter"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/memstore"
)

// dice is a source of randomness for many goroutines.
type dice struct {
	mu  sync.Mutex
	rng *rand.Rand
}

// oneIn is true once in n times; never where n is 0.
func (d *dice) oneIn(n int) bool { return n > 0 && d.below(n) == 0 }

func (d *dice) below(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rng.IntN(n)
}

// faults says how often something goes wrong at the stores that share it; and what happened.
type faults struct {
	dice
	every int           // one call in so many; 0: none
	delay time.Duration // the most that a call or a batch of changes is under way

	counted sync.Mutex
	seen    map[string]int // by what happened
}

func (f *faults) count(what string, n int) {
	f.counted.Lock()
	defer f.counted.Unlock()
	f.seen[what] += n
}

func (f *faults) set(every int, delay time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.every, f.delay = every, delay
}

// strike draws whether a call goes wrong.
func (f *faults) strike() bool {
	f.mu.Lock()
	every := f.every
	f.mu.Unlock()
	return f.oneIn(every)
}

// travel is a request or an answer on its way.
func (f *faults) travel() {
	f.mu.Lock()
	most := f.delay
	f.mu.Unlock()
	if most > 0 {
		time.Sleep(time.Duration(f.below(int(most))))
	}
}

// flaky is one client's way to the cell: slow, and sometimes an answer is lost, a request not sent, a watch broken.
type flaky struct {
	*memstore.Store
	*faults
}

func (s flaky) Commit(ctx context.Context, t *cellstate.Txn) (v cellstate.Verdict, err error) {
	err = s.call(ctx, "commit", t.ID, func() error {
		v, err = s.Store.Commit(ctx, t)
		return err
	})
	if err != nil {
		return cellstate.Verdict{}, err
	}
	s.count("conflicts", len(v.Conflicts))
	return v, nil
}

func (s flaky) Swap(ctx context.Context, sw cellstate.Swap) (out cellstate.Swapped, err error) {
	err = s.call(ctx, "swap", "some keys", func() error {
		out, err = s.Store.Swap(ctx, sw)
		return err
	})
	if err != nil {
		return cellstate.Swapped{}, err
	}
	return out, nil
}

// call carries a call out unless it goes wrong: then it was not sent, or it is not known whether it was done; it may be either.
func (s flaky) call(_ context.Context, op, on string, do func() error) error {
	fail := func(err error) error {
		s.count(op+" "+err.Error(), 1)
		return &cellstate.OpError{Op: op, On: on, Err: err}
	}
	s.travel()
	if s.strike() {
		switch s.below(3) {
		case 0:
			return fail(cellstate.ErrUnavailable)
		case 1:
			s.travel()
			return fail(cellstate.ErrUnknown)
		}
		if err := do(); err != nil {
			return err
		}
		s.travel()
		return fail(cellstate.ErrUnknown)
	}
	err := do()
	s.travel()
	return err
}

func (s flaky) Watch(ctx context.Context, r cellstate.Range, from int64) iter.Seq2[cellstate.Batch, error] {
	return func(yield func(cellstate.Batch, error) bool) {
		for b, err := range s.Store.Watch(ctx, r, from) {
			if err == nil {
				s.travel()
			}
			if err == nil && s.strike() && s.oneIn(5) {
				s.count("watch broken", 1)
				yield(cellstate.Batch{}, &cellstate.OpError{Op: "watch", On: "range", Err: cellstate.ErrUnavailable})
				return
			}
			if !yield(b, err) {
				return
			}
		}
	}
}
