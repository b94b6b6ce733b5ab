package schedulers_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/memstore"
	"github.com/omegacell/omegacell/cellstate/mirror"
	"github.com/omegacell/omegacell/schedulers"
	"github.com/omegacell/omegacell/schedulers/batch"
)

func TestNewChecksItsConfig(t *testing.T) {
	store := memstore.New(memstore.Config{})
	m, err := mirror.New(mirror.Config{Store: store, Now: func() cellstate.Instant { return 1 }})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		change func(*schedulers.Config)
		want   string // in the error; "" for none
	}{
		{"nothing but what is required", func(*schedulers.Config) {}, ""},
		{"no name", func(c *schedulers.Config) { c.Name = "" }, "0 bytes"},
		{"the operators' name", func(c *schedulers.Config) { c.Name = cellstate.Operator }, "operators' own"},
		{"no planner", func(c *schedulers.Config) { c.Planner = nil }, "planner"},
		{"no store", func(c *schedulers.Config) { c.Store = nil }, "store"},
		{"no mirror", func(c *schedulers.Config) { c.Mirror = nil }, "mirror"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := schedulers.Config{Name: "s", Planner: batch.Planner{}, Store: store, Mirror: m}
			tt.change(&cfg)
			l, err := schedulers.New(cfg)
			switch {
			case tt.want == "":
				if err != nil || l.Leading() != 0 {
					t.Errorf("New: %v, leading %d", err, l.Leading())
				}
			case !errors.Is(err, cellstate.ErrInvalid) || !strings.Contains(err.Error(), tt.want):
				t.Errorf("New: %v, want an invalid %q", err, tt.want)
			}
		})
	}
}

// TestStopBeforeTheCellIsSeen: Run ends in order also while it still waits for the mirror, or to register.
func TestStopBeforeTheCellIsSeen(t *testing.T) {
	for _, name := range []string{"mirror", "register"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCell(t, 1)
				store := c.store.Client()
				store.SetAvailable(false)
				_, stop := c.start(store, func(cfg *schedulers.Config) {
					if name == "register" {
						cfg.Mirror = seeing{cfg.Mirror}
					}
				})
				time.Sleep(time.Minute)
				stop() // fails the test where Run returns an error
			})
		})
	}
}

// seeing is a mirror that waits for nothing.
type seeing struct{ cellstate.Mirror }

func (m seeing) Wait(context.Context, int64) (cellstate.Snapshot, error) { return m.Snapshot(), nil }

// TestUnreadableRecordOfItsOwn: a scheduler whose record nobody can read does not guess how many shards it has.
func TestUnreadableRecordOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCell(t, 1)
		c.store.Corrupt(cellstate.SchedulerKey("batch"), errors.New("damaged"))
		m, err := mirror.New(mirror.Config{Store: c.store, Now: func() cellstate.Instant { return 1 }})
		if err != nil {
			t.Fatal(err)
		}
		l, err := schedulers.New(schedulers.Config{Name: "batch", Planner: batch.Planner{}, Store: c.store, Mirror: seeing{m}})
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("Run: %v, want it to name what is damaged", err)
		}
	})
}

// TestResubmittedJob: what an earlier run of the name left is ended and removed; the new run is placed beside it, under other
// claims.
func TestResubmittedJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCell(t, 2)
		c.start(c.store, nil)
		j := c.submit("a", 1, 1000)
		settle()
		old := c.machineOf("a")
		n := *j
		n.Run, n.Task.MaxRunTime = 8, time.Hour
		c.put(&n, &cellstate.JobStatus{Scheduler: "batch", Job: "a", Run: 7, Version: 1, Phase: cellstate.JobSucceeded})
		settle()
		live := 0
		for _, l := range c.ledgers() {
			for _, cl := range l.Claims {
				if cl.ID.Run == 7 && cl.Evict == nil {
					t.Errorf("%s of the earlier run is not asked to end", cl.ID)
				}
				if cl.ID.Run == 8 {
					live++
				}
			}
		}
		if live != 1 {
			t.Errorf("%d claims of the new run, want 1", live)
		}
		c.end(old, 0)
		settle()
		if got := c.claims(); len(got) != 1 || c.machineOf("a") == old {
			t.Errorf("claims %v, want only the new run's", got)
		}
		if s := c.status("a"); s != nil && s.Phase.Final() {
			t.Errorf("status %+v: the end of the earlier run's task counted", s)
		}
	})
}

// TestParkedJobWakes guards I10 in each of its ways: what could help a parked job makes it due, without the recheck.
func TestParkedJobWakes(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(c *cell) // before the job comes
		help  func(c *cell)
	}{
		{"an agent comes", func(c *cell) { c.remove(cellstate.SessionKey("m0")) }, func(c *cell) { c.put(&cellstate.Session{Machine: "m0", Epoch: 2}) }},
		{"a machine comes", func(c *cell) { c.remove(cellstate.SessionKey("m0"), cellstate.LedgerKey("m0")) }, func(c *cell) {
			c.put(cellstate.NewLedger("m0", cellstate.Resources{CPUMilli: 1000}), &cellstate.Session{Machine: "m0", Epoch: 2})
		}},
		{"a cordon goes", func(c *cell) { c.ledger(func(l *cellstate.Ledger) { l.Cordoned = true }) }, func(c *cell) { c.ledger(func(l *cellstate.Ledger) { l.Cordoned = false }) }},
		{"an attribute changes", nil, func(c *cell) { c.put(&cellstate.Machine{Name: "m0", Attributes: map[string]string{"os": "linux"}}) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCell(t, 1)
				j := &cellstate.Job{Scheduler: "batch", Name: "a", Run: 7, Version: 1, Precedence: 100, Tasks: 1, Task: cellstate.TaskSpec{Resources: cellstate.Resources{CPUMilli: 1000}}}
				if tt.spoil != nil {
					tt.spoil(c)
				} else {
					j.Constraints = []cellstate.Constraint{{Attribute: "os", Op: cellstate.OpEqual, Values: []string{"linux"}}}
				}
				c.start(c.store, func(cfg *schedulers.Config) { cfg.Recheck = 1000 * time.Hour })
				settle()
				c.put(j)
				settle()
				if got := c.claims(); len(got) > 0 {
					t.Fatalf("claims %v: the job did not have to wait", got)
				}
				tt.help(c)
				settle()
				if got := c.claims(); !slices.Equal(got, []string{"a/0.0@m0"}) {
					t.Errorf("claims %v, want the job's; status %+v", got, c.status("a"))
				}
			})
		})
	}
}

func (c *cell) remove(keys ...cellstate.Key) {
	if _, err := c.store.Swap(context.Background(), cellstate.Swap{Delete: keys}); err != nil {
		c.t.Fatal(err)
	}
}

// ledger changes the ledger of m0.
func (c *cell) ledger(change func(l *cellstate.Ledger)) {
	l := c.ledgers()[0].Clone()
	change(l)
	c.put(l.Sum())
}
