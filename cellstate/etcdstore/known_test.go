package etcdstore_test

import (
	"fmt"
	"reflect"
	"testing"

	etcdtxn "go.etcd.io/etcd/server/v3/etcdserver/txn"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/etcdstore"
	"github.com/omegacell/omegacell/cellstate/etcdstore/etcdtest"
)

// A store knows what it put itself: a commit on a snapshot that does not show that yet has a guard that holds. Under rule seq
// the machine has changed all the same.
func TestOwnCommitsAreKnown(t *testing.T) {
	m := etcdtest.Start(t)
	var tap wiretap
	s := open(t, etcdstore.Config{Client: m.Client(tap.option)})
	basis := machines(t, s, 1, 1000)
	tap.set(&wiretap{})
	for i, tt := range []struct {
		milli int64
		rule  cellstate.Rule
		want  string
	}{
		{500, cellstate.SeqRule, "+0"}, {500, cellstate.SeqRule, "-1:changed"}, {500, cellstate.FitRule, "+2"}, {1, cellstate.FitRule, "-3:full"},
	} {
		x := txn(basis, claim(i, "m0", tt.milli))
		x.Rule = tt.rule
		v := commit(t, s, x)
		if got := verdict(v); got != tt.want || v.Resent != 0 {
			t.Errorf("%d: %s after %d resent, want %s", i, got, v.Resent, tt.want)
		}
		if n := tap.count(); n != i+1 {
			t.Errorf("%d: %d etcd transactions, want %d", i, n, i+1)
		}
	}
}

// What a store knows is never taken for what is there: a ledger that others removed, made anew or made room on in the meantime
// is decided on as it is.
func TestKnownIsOnlyAGuess(t *testing.T) {
	m := etcdtest.Start(t)
	s, other := open(t, etcdstore.Config{Client: m.Client()}), open(t, etcdstore.Config{Client: m.Client()})
	basis := machines(t, other, 1, 1000)
	want := func(step string, x *cellstate.Txn, want string) {
		t.Helper()
		if got := verdict(commit(t, s, x)); got != want {
			t.Errorf("%s: %s, want %s", step, got, want)
		}
	}
	want("first", txn(basis, claim(1, "m0", 1000)), "+1")
	away := txn(nil)
	away.Remove = []cellstate.ClaimRef{{Machine: "m0", ID: claim(1, "", 0).ID}}
	commit(t, other, away)
	want("known full, and is not", txn(basis, claim(2, "m0", 1000)), "+2")
	if _, err := other.Swap(t.Context(), cellstate.Swap{Delete: []cellstate.Key{cellstate.LedgerKey("m0")}}); err != nil {
		t.Fatal(err)
	}
	want("removed", txn(basis, claim(3, "m0", 1)), "-3:no-machine")
	want("removed, on no basis", txn(nil, claim(3, "m0", 1)), "-3:no-machine")
	machines(t, other, 1, 10)
	want("made anew", txn(basis, claim(4, "m0", 11), claim(5, "m0", 10)), "+5 -4:full")
	want("made anew and known", txn(nil, claim(6, "m0", 1)), "-6:full")
}

// What a store put itself it does not decode when it watches or lists. It brings the same as the store of somebody else.
func TestOwnLedgersReadTheSame(t *testing.T) {
	m := etcdtest.Start(t)
	s, other := open(t, etcdstore.Config{Client: m.Client()}), open(t, etcdstore.Config{Client: m.Client()})
	basis := machines(t, other, 3, 1000)
	watching := s.Watch(t.Context(), cellstate.Range{}, basis["m0"].Rev+1)
	var last int64
	for i := range 3 {
		gpu := claim(i, machine(i), 10)
		gpu.Start, gpu.End, gpu.Resources.Extended = 5, 9, []cellstate.Extended{}
		x := txn(basis, gpu, claim(10+i, machine(i), 10))
		if i == 2 {
			x.Remove = []cellstate.ClaimRef{{Machine: "m0", ID: claim(0, "", 0).ID}}
		}
		last = commit(t, s, x).Rev
	}
	got, want := ledgers(t, s), ledgers(t, other)
	for b, err := range watching {
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range b.Events {
			if l := e.Record.Value.(*cellstate.Ledger); l.Rev == want[l.Machine].Rev {
				same(t, "watched "+l.Machine, l, want[l.Machine])
			}
		}
		if b.Rev >= last {
			break
		}
	}
	for name := range want {
		same(t, "listed "+name, got[name], want[name])
	}
}

func same(t *testing.T, what string, got, want *cellstate.Ledger) {
	t.Helper()
	if got.Rev != want.Rev || !reflect.DeepEqual(got.Used(), want.Used()) || fmt.Sprintf("%+v", got.Claims) != fmt.Sprintf("%+v", want.Claims) {
		t.Errorf("%s: %+v, want %+v", what, got, want)
	}
}

// calmed returns a store that reckons that guards hold.
func calmed(t *testing.T, s *etcdstore.Store) view {
	t.Helper()
	basis := machines(t, s, etcdstore.CalmAfter, 1000)
	x := txn(basis)
	for i := range etcdstore.CalmAfter {
		x.Add = append(x.Add, claim(i, machine(i), 1))
	}
	if v := commit(t, s, x); len(v.Committed) != etcdstore.CalmAfter {
		t.Fatalf("verdict %+v", v)
	}
	return ledgers(t, s)
}

// Where guards hold, they are conditions of one flat Txn. When one then fails, the parts are decided one by one after all, and
// nobody is refused for another's sake.
func TestFlatWhereGuardsHold(t *testing.T) {
	m := etcdtest.Start(t)
	var tap wiretap
	s, other := open(t, etcdstore.Config{Client: m.Client(tap.option)}), open(t, etcdstore.Config{Client: m.Client()})
	basis := calmed(t, s)
	x := txn(basis, claim(1000, "m0", 1), claim(1001, "m1", 1))
	x.Fence = lead(t, other)
	for _, tt := range []struct {
		name      string
		meanwhile func()
		drop      func(int) bool
		tasks     int // first of two
		txns      int
		want      string
		resent    int
	}{
		{"all hold", func() {}, nil, 1000, 1, "+1000 +1001", 0},
		{"the answer is lost", func() {}, first, 1010, 2, "+1010 +1011", 0},
		{"one fails", func() { commit(t, other, txn(nil, claim(2000, "m0", 1))) }, nil, 1020, 3, "+1020 +1021", 1},
		{"one fails for good", func() { commit(t, other, txn(nil, claim(2001, "m0", 1000-5))) }, nil, 1030, 2, "+1031 -1030:full", 0},
		{"the fence fails", func() {
			if _, err := other.Swap(t.Context(), cellstate.Swap{Delete: []cellstate.Key{x.Fence.Key}}); err != nil {
				t.Fatal(err)
			}
		}, nil, 1040, 2, "-1040:fenced -1041:fenced", 0},
	} {
		x.Add[0], x.Add[1] = claim(tt.tasks, "m0", 1), claim(tt.tasks+1, "m1", 1)
		tt.meanwhile()
		tap.set(&wiretap{drop: tt.drop})
		v := commit(t, s, x)
		if tt.name == "all hold" && len(tap.request().Compare) != 3 {
			t.Errorf("%s: the Txn has %d conditions, want two ledgers and the fence", tt.name, len(tap.request().Compare))
		}
		if verdict(v) != tt.want || v.Resent != tt.resent || tap.count() != tt.txns {
			t.Errorf("%s: %s, %d resent, in %d etcd transactions; want %s, %d, %d", tt.name, verdict(v), v.Resent, tap.count(), tt.want, tt.resent, tt.txns)
		}
	}
}

// Where nothing is to be put the Txn asks for the ledgers all the same: without any operation one member would answer it from
// what it has, be that old, and the refusals would rest on that.
func TestNothingToPutIsNotFlat(t *testing.T) {
	m := etcdtest.Start(t)
	var tap wiretap
	s := open(t, etcdstore.Config{Client: m.Client(tap.option)})
	basis := calmed(t, s)
	tap.set(&wiretap{})
	if got := verdict(commit(t, s, txn(basis, claim(5000, "m0", 1000), claim(5001, "m1", 1000)))); got != "-5000:full -5001:full" {
		t.Errorf("verdict %s", got)
	}
	if r := tap.request(); etcdtxn.IsTxnSerializable(r) {
		t.Errorf("one member answers this alone: %v", r)
	}
}

// A store knows what etcd told it, and not what its callers' snapshots show: a mirror's shows a ledger that cannot be read any
// more as it was, and cordoned.
func TestSnapshotsAreNotKnown(t *testing.T) {
	p := newPiled(t)
	was := p.basis["m0"]
	putRaw(t, p.m.Client(), cellstate.LedgerKey("m0"), "\xff")
	shown := was.Clone()
	shown.Cordoned = true
	p.basis = view{"m0": shown.Sum(), "m1": p.basis["m1"]}
	got := p.commit(txn(p.basis, claim(1, "m0", 1)), txn(p.basis, claim(2, "m0", 1)))
	if want := []string{"-1:no-machine", "-2:no-machine"}; !reflect.DeepEqual(got, want) {
		t.Errorf("verdicts %q, want %q", got, want)
	}
	then, err := p.s.List(t.Context(), cellstate.LedgerKey("m0").Only(), was.Rev)
	if err != nil {
		t.Fatal(err)
	}
	if then.Records[0].Value.(*cellstate.Ledger).Cordoned {
		t.Errorf("m0 lists as cordoned at revision %d, and never was", was.Rev)
	}
}

// A store whose guards fail often sends them nested, where one does not spoil the others.
func TestNestedWhereGuardsFail(t *testing.T) {
	m := etcdtest.Start(t)
	var tap wiretap
	s, other := open(t, etcdstore.Config{Client: m.Client(tap.option)}), open(t, etcdstore.Config{Client: m.Client()})
	basis := calmed(t, s)
	for round := range 40 { // each a lost race of one part in ten
		x := txn(basis)
		for i := range 10 {
			x.Add = append(x.Add, claim(1000+10*round+i, machine(i), 1))
		}
		commit(t, other, txn(nil, claim(5000+round, "m0", 1)))
		commit(t, s, x)
	}
	tap.set(&wiretap{})
	commit(t, s, txn(basis, claim(1, "m20", 1), claim(2, "m21", 1)))
	if n := len(tap.request().Compare); n != 0 {
		t.Errorf("the Txn has %d conditions of its own, want nested ones", n)
	}
}
