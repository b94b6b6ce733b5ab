package etcdstore_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"

	"go.etcd.io/etcd/server/v3/embed"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/etcdstore"
	"github.com/omegacell/omegacell/cellstate/etcdstore/etcdtest"
)

// piled commits transactions on one machine that queue up, in order, behind a first one, and so are piled up in one
// etcd Txn. It returns what came of each as "+" and "-task:reason".
type piled struct {
	*testing.T
	m       *etcdtest.Member
	tap     wiretap
	s       *etcdstore.Store
	other   *etcdstore.Store
	basis   view
	ahead   string           // machine of the first one; default m0
	spoil   func(n int)      // called before the etcd Txn number n, from 0
	drop    func(n int) bool // says whose answer is lost
	resent  int
	revs    []int64 // of the verdicts
	etcdTxn int     // sent, with the first one
}

func newPiled(t *testing.T) *piled {
	m := etcdtest.Start(t)
	p := &piled{T: t, m: m}
	p.s = open(t, etcdstore.Config{Client: m.Client(p.tap.option), InFlight: 1, RetryMin: 1})
	p.other = open(t, etcdstore.Config{Client: m.Client()})
	p.basis = machines(t, p.other, 2, 1000)
	return p
}

func (p *piled) commit(txns ...*cellstate.Txn) []string {
	p.Helper()
	opened := make(chan struct{})
	p.tap.set(&wiretap{before: func(n int) {
		if n == 0 {
			<-opened
		}
		if p.spoil != nil {
			p.spoil(n)
		}
	}, drop: p.drop})
	ahead := txn(p.basis, claim(900, cmp.Or(p.ahead, "m0"), 1))
	out := make([]chan string, len(txns)+1)
	p.revs = make([]int64, len(txns)+1)
	for i, x := range append([]*cellstate.Txn{ahead}, txns...) {
		c := make(chan string, 1)
		out[i] = c
		go func() {
			v, err := p.s.Commit(p.Context(), x)
			if err != nil {
				p.Error(err)
			}
			p.tap.mu.Lock()
			p.resent += v.Resent
			p.revs[i] = v.Rev
			p.tap.mu.Unlock()
			c <- verdict(v)
		}()
		for i == 0 && p.tap.count() == 0 || i > 0 && p.s.Queued() != i {
			runtime.Gosched()
		}
	}
	close(opened)
	var got []string
	for i, c := range out {
		if text := <-c; i > 0 {
			got = append(got, text)
		}
	}
	p.etcdTxn = p.tap.count()
	return got
}

func verdict(v cellstate.Verdict) string {
	var out []string
	for _, id := range v.Committed {
		out = append(out, fmt.Sprintf("+%d", id.Task))
	}
	for _, c := range v.Conflicts {
		out = append(out, fmt.Sprintf("-%d:%s", c.ID.Task, c.Reason))
	}
	return strings.Join(out, " ")
}

func (p *piled) want(got []string, etcdTxns int, want ...string) {
	p.Helper()
	if !reflect.DeepEqual(got, want) {
		p.Errorf("verdicts %q, want %q", got, want)
	}
	if p.etcdTxn != etcdTxns {
		p.Errorf("%d etcd transactions, want %d", p.etcdTxn, etcdTxns)
	}
}

// Each transaction of a pile has its own verdict: one that does not fit on what those before it leave is refused alone, and
// one after it that does fit goes in. All is one put.
func TestPiledUpEachHasItsVerdict(t *testing.T) {
	p := newPiled(t)
	got := p.commit(
		txn(p.basis, claim(1, "m0", 600), claim(2, "m0", 500)),
		txn(p.basis, claim(3, "m0", 400)),
		txn(p.basis, claim(4, "m0", 399)),
		txn(p.basis, claim(5, "m0", 1)),
	)
	p.want(got, 2, "+1 -2:full", "-3:full", "+4", "-5:full")
	if p.resent != 0 {
		t.Errorf("%d sent again: the first one's answer tells what the pile starts from", p.resent)
	}
	l := ledgers(t, p.other)["m0"]
	for i, rev := range p.revs[1:] {
		if rev != l.Rev {
			t.Errorf("verdict %d is visible at %d, the pile was put at %d: the refused rest on it too", i, rev, l.Rev)
		}
	}
	if got := l.Used().CPUMilli; got != 1000 || len(l.Claims) != 3 {
		t.Errorf("m0 has %d in use by %d claims", got, len(l.Claims))
	}
}

// A rule-seq transaction in a pile sees that the machine changed if one before it in the pile changed it, and only then.
func TestPiledUpSeq(t *testing.T) {
	p := newPiled(t)
	seq := func(basis view, task int) *cellstate.Txn {
		x := txn(basis, claim(task, "m0", 1))
		x.Rule = cellstate.SeqRule
		return x
	}
	got := p.commit(seq(p.basis, 1)) // the one ahead changed m0
	p.want(got, 2, "-1:changed")

	// Here nothing comes between the basis and the pile: the one ahead is in effect already.
	p.basis = ledgers(t, p.other)
	got = p.commit(txn(p.basis, claim(2, "m0", 2000)), seq(p.basis, 3), seq(p.basis, 4), txn(p.basis, claim(5, "m0", 1)))
	p.want(got, 2, "-2:full", "+3", "-4:changed", "+5")

	p.basis = ledgers(t, p.other)
	got = p.commit(txn(p.basis, claim(6, "m0", 1)), seq(p.basis, 7))
	p.want(got, 2, "+6", "-7:changed")
}

// When somebody else changes the machine first, the whole pile is decided anew on what is there then.
func TestPiledUpGuardFails(t *testing.T) {
	p := newPiled(t)
	p.spoil = func(n int) {
		if n == 1 {
			commit(t, p.other, txn(nil, claim(800, "m0", 500)))
		}
	}
	got := p.commit(txn(p.basis, claim(1, "m0", 400)), txn(p.basis, claim(2, "m0", 400)), txn(p.basis, claim(3, "m0", 99)))
	p.want(got, 3, "+1", "-2:full", "+3")
	if p.resent != 3 {
		t.Errorf("%d sent again, want all three: each fits by itself", p.resent)
	}
}

// Transactions with different fences are piled up too. One whose leader was replaced is refused and takes nobody with it.
func TestPiledUpFences(t *testing.T) {
	for _, replaced := range []bool{false, true} {
		t.Run(fmt.Sprint("replaced=", replaced), func(t *testing.T) {
			p := newPiled(t)
			fence := lead(t, p.other)
			gone := *fence
			if replaced {
				gone.CreateRev--
			}
			var x [4]*cellstate.Txn
			for i := range x {
				x[i] = txn(p.basis, claim(i+1, "m0", 1))
			}
			other := cellstate.Swap{Put: []cellstate.Put{{Value: &cellstate.Leader{Scheduler: "other", Holder: "x"}}}}
			done, err := p.other.Swap(t.Context(), other)
			if err != nil {
				t.Fatal(err)
			}
			x[0].Fence = &cellstate.Fence{Key: cellstate.LeaderKey("other", 0), CreateRev: done.Rev}
			x[1].Fence, x[3].Fence = &gone, fence
			got := p.commit(x[:]...)
			if replaced {
				p.want(got, 3, "+1", "-2:fenced", "+3", "+4")
			} else {
				p.want(got, 2, "+1", "+2", "+3", "+4")
			}
		})
	}
}

// The answer to a pile is lost: each transaction of it is settled by itself, and nothing is claimed twice (I4).
func TestPiledUpLostAnswer(t *testing.T) {
	for _, fenced := range []bool{false, true} {
		t.Run(fmt.Sprint("fenced=", fenced), func(t *testing.T) {
			p := newPiled(t)
			p.drop = func(n int) bool { return n == 1 }
			x := []*cellstate.Txn{txn(p.basis, claim(1, "m0", 400)), txn(p.basis, claim(2, "m0", 400)), txn(p.basis, claim(3, "m0", 400))}
			x[1].Rule = cellstate.FitRule
			if fenced {
				x[0].Fence = lead(t, p.other)
			}
			got := p.commit(x...)
			if want := []string{"+1", "+2", "-3:full"}; !reflect.DeepEqual(got, want) {
				t.Errorf("verdicts %q, want %q", got, want)
			}
			if l := ledgers(t, p.other)["m0"]; l.Used().CPUMilli != 801 {
				t.Errorf("m0 has %d in use", l.Used().CPUMilli)
			}
		})
	}
}

// A gang on several machines is not piled on anything, nor anything on it.
func TestGangsAreNotPiledUp(t *testing.T) {
	p := newPiled(t)
	gang := txn(p.basis, claim(1, "m0", 300), claim(2, "m1", 300))
	gang.Mode = cellstate.AllOrNothing
	got := p.commit(txn(p.basis, claim(3, "m0", 300)), gang, txn(p.basis, claim(4, "m0", 399)), txn(p.basis, claim(5, "m0", 1)))
	p.want(got, 4, "+3", "+1 +2", "+4", "-5:full")
}

// A pile is as large as its last ledger, and no larger than etcd takes.
func TestPiledUpWithinByteLimit(t *testing.T) {
	p := newPiled(t)
	p.s = open(t, etcdstore.Config{Client: p.m.Client(p.tap.option), InFlight: 1, MaxRequestBytes: 2048})
	var x []*cellstate.Txn
	for i := range 20 {
		x = append(x, txn(p.basis, claim(i+1, "m0", 1)))
	}
	got := p.commit(x...)
	for i, text := range got {
		if text != fmt.Sprintf("+%d", i+1) {
			t.Errorf("transaction %d: %s", i, text)
		}
	}
	if p.etcdTxn < 3 || p.etcdTxn > 10 {
		t.Errorf("%d etcd transactions for 20 that have 2 KiB for each etcd transaction", p.etcdTxn)
	}
}

// A pile starts from the newest snapshot that one of its transactions came with, whichever that is.
func TestPiledUpOnNewestSnapshot(t *testing.T) {
	for _, newest := range []int{0, 1, 2} {
		p := newPiled(t)
		p.ahead = "m1"
		commit(t, p.other, txn(nil, claim(800, "m0", 500)))
		x := []*cellstate.Txn{txn(p.basis, claim(1, "m0", 400)), txn(p.basis, claim(2, "m0", 400)), txn(p.basis, claim(3, "m0", 100))}
		x[newest].Basis = ledgers(t, p.other)
		got := p.commit(x...)
		p.want(got, 2, "+1", "-2:full", "+3")
		if p.resent != 0 {
			t.Errorf("newest %d: %d sent again", newest, p.resent)
		}
	}
}

// What a transaction without a snapshot makes of a ledger shows when its turn comes. When etcd does not take the pile for it,
// those in it go one by one, and only the one that is too large is refused.
func TestPileTooLargeGoesApart(t *testing.T) {
	m := etcdtest.Start(t, func(c *embed.Config) { c.MaxRequestBytes = 16 << 10 })
	other := open(t, etcdstore.Config{Client: m.Client()})
	basis := machines(t, other, 2, 100000)
	var tap wiretap
	s := open(t, etcdstore.Config{Client: m.Client(tap.option), InFlight: 1})
	opened := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	tap.set(&wiretap{before: func(n int) {
		if n == 0 {
			<-opened
		}
		if n == 20 { // it would go on for ever
			cancel()
		}
	}})
	large := txn(nil)
	for i := range 900 {
		large.Add = append(large.Add, claim(1000+i, "m0", 1))
	}
	var verdicts [3]cellstate.Verdict
	var errs [3]error
	var wg sync.WaitGroup
	for i, x := range []*cellstate.Txn{txn(basis, claim(900, "m1", 1)), txn(basis, claim(1, "m0", 1)), large} {
		wg.Go(func() { verdicts[i], errs[i] = s.Commit(ctx, x) })
		for i == 0 && tap.count() == 0 || i > 0 && s.Queued() != i {
			runtime.Gosched()
		}
	}
	close(opened)
	wg.Wait()
	if errs[1] != nil || verdict(verdicts[1]) != "+1" {
		t.Errorf("the small one: %s, %v", verdict(verdicts[1]), errs[1])
	}
	if !errors.Is(errs[2], cellstate.ErrInvalid) {
		t.Errorf("the large one: %v, want %v", errs[2], cellstate.ErrInvalid)
	}
	if l := ledgers(t, other)["m0"]; len(l.Claims) != 1 {
		t.Errorf("m0 holds %d claims", len(l.Claims))
	}
}
