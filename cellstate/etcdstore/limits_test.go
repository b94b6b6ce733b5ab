package etcdstore_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.etcd.io/etcd/server/v3/embed"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/etcdstore"
	"github.com/omegacell/omegacell/cellstate/etcdstore/etcdtest"
)

// The largest gang goes through and the next larger one is refused with the limit's name, whether the limit is configured or
// found out, and one smaller with a fence.
func TestGangLimit(t *testing.T) {
	m := etcdtest.Start(t, func(c *embed.Config) { c.MaxTxnOps = embed.DefaultMaxTxnOps })
	n := 0
	for _, configured := range []int{0, 128} {
		for _, tt := range []struct {
			size  int
			fence bool
			fits  bool
		}{{128, false, true}, {129, false, false}, {127, true, true}, {128, true, false}} {
			t.Run(fmt.Sprint(configured, tt), func(t *testing.T) {
				s := open(t, etcdstore.Config{Client: m.Client(), MaxTxnOps: configured})
				x := txn(machines(t, s, tt.size, 1000))
				x.Mode = cellstate.AllOrNothing
				for i := range tt.size {
					x.Add = append(x.Add, claim(n, machine(i), 1))
					n++
				}
				if tt.fence {
					x.Fence = lead(t, s)
				}
				v, err := s.Commit(t.Context(), x)
				if tt.fits && (err != nil || len(v.Committed) != tt.size) {
					t.Errorf("%d committed, %v", len(v.Committed), err)
				}
				if !tt.fits && (!errors.Is(err, cellstate.ErrInvalid) || !strings.Contains(err.Error(), "max-txn-ops")) {
					t.Errorf("error %v, want %v naming max-txn-ops", err, cellstate.ErrInvalid)
				}
			})
		}
	}
}

// With 128 operations 127 machines go into one etcd Txn, one nested Txn each and one operation in it, and one more does not.
func TestFillsUpToLimit(t *testing.T) {
	m := etcdtest.Start(t, func(c *embed.Config) { c.MaxTxnOps = 128 })
	for _, tt := range []struct{ machines, txns int }{{127, 1}, {128, 2}} {
		var tap wiretap
		s := open(t, etcdstore.Config{Client: m.Client(tap.option), MaxTxnOps: 128})
		x := txn(machines(t, s, tt.machines, 1000))
		for i := range tt.machines {
			x.Add = append(x.Add, claim(i, machine(i), 1))
		}
		tap.set(&wiretap{})
		if v := commit(t, s, x); len(v.Committed) != tt.machines {
			t.Errorf("%d committed of %d", len(v.Committed), tt.machines)
		}
		if n := tap.count(); n != tt.txns {
			t.Errorf("%d machines in %d etcd transactions, want %d", tt.machines, n, tt.txns)
		}
	}
}

// What can be split is split to what etcd takes, which is found out in a few refusals and then remembered.
func TestSplitsToDiscoveredLimits(t *testing.T) {
	const n = 1000
	for _, tt := range []struct {
		name string
		opt  func(*embed.Config)
		most int // etcd transactions for n machines once the limit is known
	}{
		{"operations", func(c *embed.Config) { c.MaxTxnOps = 128 }, 10},
		{"bytes", func(c *embed.Config) { c.MaxRequestBytes = 20 << 10 }, 14},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := etcdtest.Start(t, tt.opt)
			var tap wiretap
			s := open(t, etcdstore.Config{Client: m.Client(tap.option)})
			machines(t, s, n, 1000)
			for round := range 3 {
				x := txn(ledgers(t, s))
				for i := range n {
					x.Add = append(x.Add, claim(round*n+i, machine(i), 1))
				}
				tap.set(&wiretap{})
				v := commit(t, s, x)
				t.Logf("round %d: %d etcd transactions", round, tap.count())
				if len(v.Committed) != n {
					t.Fatalf("%d committed, %v", len(v.Committed), v.Conflicts)
				}
			}
			if got := tap.count(); got > 3*tt.most {
				t.Errorf("%d etcd transactions, want at most %d", got, 3*tt.most)
			}
		})
	}
}

func TestByteLimitNamed(t *testing.T) {
	m := etcdtest.Start(t, func(c *embed.Config) { c.MaxRequestBytes = 2 << 10 })
	s := open(t, etcdstore.Config{Client: m.Client()})
	x := txn(machines(t, s, 1, 100000))
	for i := range 100 {
		x.Add = append(x.Add, claim(i, "m0", 1))
	}
	_, err := s.Commit(t.Context(), x)
	if !errors.Is(err, cellstate.ErrInvalid) || !strings.Contains(err.Error(), "max-request-bytes") {
		t.Errorf("error %v, want %v naming max-request-bytes", err, cellstate.ErrInvalid)
	}
	if l := ledgers(t, s)["m0"]; len(l.Claims) != 0 {
		t.Errorf("m0 holds %d claims", len(l.Claims))
	}
}
