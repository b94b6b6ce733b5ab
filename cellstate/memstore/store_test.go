package memstore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/memstore"
	"github.com/omegacell/omegacell/cellstate/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Cell {
		root := memstore.New(memstore.Config{})
		return storetest.Cell{
			Open:    func() cellstate.Store { return root.Client() },
			Compact: root.Compact,
			Corrupt: func(k cellstate.Key) { root.Corrupt(k, errors.New("not what it should be")) },
			Cut:     func(s cellstate.Store) { s.(*memstore.Store).Close() },
		}
	})
}

// A watch that sees nothing says so, as often as configured, and not while there is something to tell.
func TestQuietWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New(memstore.Config{Progress: 2 * time.Second})
		put := func() int64 {
			r, err := s.Swap(t.Context(), cellstate.Swap{Put: []cellstate.Put{{Value: &cellstate.Tenant{Name: "a"}}}})
			if err != nil {
				t.Fatal(err)
			}
			return r.Rev
		}
		from, began := put(), time.Now()
		time.AfterFunc(5*time.Second, func() { put() })
		var got []string
		for b, err := range s.Watch(t.Context(), cellstate.Range{}, from) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprintf("%v: %d at %d", time.Since(began), len(b.Events), b.Rev-from))
			if len(got) == 5 {
				break
			}
		}
		want := []string{"0s: 1 at 0", "2s: 0 at 0", "4s: 0 at 0", "5s: 1 at 1", "7s: 0 at 1"}
		if !slices.Equal(got, want) {
			t.Errorf("the watch brought %q, want %q", got, want)
		}

		// What is still to come is not said to have passed.
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for b, err := range s.Watch(ctx, cellstate.Range{}, from+10) {
			if err == nil {
				t.Errorf("a watch from a later revision brought %+v", b)
			}
		}
	})
}

// A lease outlives an interruption shorter than its time, and no longer one.
func TestLeaseOutlivesShortInterruption(t *testing.T) {
	for _, tt := range []struct {
		name string
		away time.Duration
		ends bool
	}{
		{"a moment less than its time", 10*time.Second - 1, false},
		{"its time", 10*time.Second + 1, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				root := memstore.New(memstore.Config{})
				agent := root.Client()
				lease, err := agent.Lease(t.Context(), 10*time.Second)
				if err != nil {
					t.Fatal(err)
				}
				put := cellstate.Put{Value: &cellstate.Session{Machine: "m0"}, Lease: lease.ID()}
				if _, err := agent.Swap(t.Context(), cellstate.Swap{Put: []cellstate.Put{put}}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Hour)
				agent.SetAvailable(false)
				if _, err := agent.List(t.Context(), cellstate.Range{}, 0); !errors.Is(err, cellstate.ErrUnavailable) {
					t.Errorf("cut off, List returns %v", err)
				}
				time.Sleep(tt.away)
				agent.SetAvailable(true)
				time.Sleep(time.Hour)
				r, err := cellstate.Get(t.Context(), root, cellstate.SessionKey("m0"))
				if err != nil {
					t.Fatal(err)
				}
				select {
				case <-lease.Done():
					if !tt.ends || r.Rev != 0 {
						t.Errorf("the lease ran out, the session is at revision %d", r.Rev)
					}
				default:
					if tt.ends || r.Rev == 0 {
						t.Errorf("the lease lasts, the session is at revision %d", r.Rev)
					}
				}
			})
		})
	}
}

// A watcher that waits ends when its client is cut off; another client's does not.
func TestWatchEndsWhenCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := memstore.New(memstore.Config{})
		client := root.Client()
		ended := make(chan error, 1)
		go func() {
			for _, err := range client.Watch(t.Context(), cellstate.Range{}, 0) {
				if err != nil {
					ended <- err
				}
			}
		}()
		synctest.Wait()
		client.SetAvailable(false)
		if err := <-ended; !errors.Is(err, cellstate.ErrUnavailable) {
			t.Errorf("the watch ended with %v", err)
		}
		if _, err := root.List(t.Context(), cellstate.Range{}, 0); err != nil {
			t.Errorf("the other client: %v", err)
		}
	})
}
