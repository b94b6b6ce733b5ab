package cellstate

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// world draws whole cells and transactions on them. Its claims are of the tasks of a few jobs, so that transactions name what
// is there as well as what is not.
type world struct {
	t    *rapid.T
	cell *cell
	next uint32 // task of the next new claim
}

// worldMachines are drawn from; m9 does not exist.
var worldMachines = []string{"m1", "m2", "m3", "m1", "m2", "m3", "m1", "m2", "m3", "m9"}

func newWorld(t *rapid.T) *world {
	w := &world{t: t, cell: newCell()}
	for _, m := range worldMachines[:3] {
		w.cell.store(NewLedger(m, Resources{CPUMilli: 12, MemBytes: 6, DiskBytes: 6, NetBitsPerSecond: 6, GPUMilli: 2000, Extended: []Extended{{"a", 6}, {"b", 6}}}))
	}
	return w
}

// live lets some claims of one machine end, or its operator cordon or uncordon it.
func (w *world) live() {
	l := w.cell.ledgers[rapid.SampledFrom(w.cell.machines()).Draw(w.t, "lives on")]
	if rapid.IntRange(0, 5).Draw(w.t, "cordon") == 5 {
		l = l.Clone()
		l.Cordoned = !l.Cordoned
		w.cell.store(l)
		return
	}
	var ids []ClaimID
	for _, c := range l.Claims {
		if rapid.IntRange(0, 3).Draw(w.t, "ends") == 3 {
			ids = append(ids, c.ID)
		}
	}
	now, kept := Instant(rapid.IntRange(0, 8).Draw(w.t, "now")), deepCell(w.cell)
	n := l.MarkEnded(ids, now)
	if !reflect.DeepEqual(kept, deepCell(w.cell)) {
		w.t.Fatal("MarkEnded changed the ledger it was asked about")
	}
	checkEnded(w.t, l, n, ids, now)
	if n != l {
		w.cell.store(n)
	}
}

// txn draws a valid transaction of some scheduler, in any mode and rule, on the present state.
func (w *world) txn() *Txn {
	t := w.t
	x := &Txn{ID: "x", Scheduler: rapid.SampledFrom([]string{"p", "p", "q", "q", Operator}).Draw(t, "scheduler"),
		Mode: rapid.SampledFrom([]Mode{Incremental, Incremental, AllOrNothing}).Draw(t, "mode"),
		Rule: rapid.SampledFrom([]Rule{FitRule, FitRule, SeqRule}).Draw(t, "rule"), Basis: w.cell.snapshot(), BasisRev: w.cell.rev}
	named := map[ClaimID]bool{}
	for range rapid.IntRange(0, 4).Draw(t, "adds") {
		w.next++
		c := drawClaim(t, x.Scheduler, w.next, 2)
		c.Machine = rapid.SampledFrom(worldMachines).Draw(t, "machine")
		c.Precedence = drawPrecedence(t)
		if old := w.some(x.Scheduler, named); old != nil && rapid.IntRange(0, 4).Draw(t, "again") == 4 {
			c.ID = old.ID // the same again, or another one of its name
			if rapid.Bool().Draw(t, "same") {
				c = *old
				c.Ended, c.Evict = false, nil
			}
		}
		named[c.ID] = true
		x.Add = append(x.Add, c)
	}
	for range rapid.IntRange(0, 3).Draw(t, "evictions") {
		c := w.some("", named)
		if c == nil {
			break
		}
		e := Evict{ClaimRef{c.Machine, c.ID}, Eviction{Deadline: Instant(rapid.IntRange(1, 12).Draw(t, "deadline"))}}
		if x.forOthers(&e) {
			i := slices.IndexFunc(x.Add, func(a Claim) bool { return a.Machine == c.Machine })
			if i < 0 {
				continue
			}
			e.Eviction.By = x.Add[i].ID
			x.Add[i].After = append(slices.Clone(x.Add[i].After), c.ID)
		} else if len(x.Add) > 0 && rapid.Bool().Draw(t, "for its own") {
			e.Eviction.By = rapid.SampledFrom(x.Add).Draw(t, "newcomer").ID
		}
		named[c.ID] = true
		x.Evict = append(x.Evict, e)
	}
	for range rapid.IntRange(0, 2).Draw(t, "removals") {
		if c := w.some(x.Scheduler, named); c != nil {
			named[c.ID] = true
			x.Remove = append(x.Remove, ClaimRef{c.Machine, c.ID})
		}
	}
	for range rapid.IntRange(0, 2).Draw(t, "moves") {
		c := w.some(x.Scheduler, named)
		to := rapid.SampledFrom(worldMachines).Draw(t, "to")
		if c == nil || c.Machine == to {
			continue
		}
		named[c.ID] = true
		m := Move{c.Machine, *c}
		m.To.Machine, m.To.GPUs, m.To.Ended, m.To.Evict = to, nil, false, nil
		x.Move = append(x.Move, m)
		if i := rapid.IntRange(0, 3).Draw(t, "room for the moved"); i < len(x.Evict) && x.Evict[i].Eviction.By == (ClaimID{}) {
			x.Evict[i].Eviction.By = c.ID
		}
	}
	return x
}

func drawPrecedence(t *rapid.T) Precedence {
	return rapid.SampledFrom([]Precedence{50, 150, 151, 250, 251, 350}).Draw(t, "precedence")
}

// some draws a claim of the scheduler that is there and not named yet, or nil. Of anybody, for "" and the operator.
func (w *world) some(scheduler string, named map[ClaimID]bool) *Claim {
	var all []*Claim
	for _, m := range w.cell.machines() {
		for i := range w.cell.ledgers[m].Claims {
			c := &w.cell.ledgers[m].Claims[i]
			if !named[c.ID] && (scheduler == "" || scheduler == Operator || scheduler == c.ID.Scheduler) {
				all = append(all, c)
			}
		}
	}
	if len(all) == 0 {
		return nil
	}
	return rapid.SampledFrom(all).Draw(w.t, "claim")
}

// TestCommitProperties holds what is true of every commit, on any state.
func TestCommitProperties(t *testing.T) {
	seen := map[Reason]int{}
	committed, moved, preempted, gangs, spared, own := 0, 0, 0, 0, 0, 0
	step := func(t *rapid.T, w *world) {
		x := w.txn()
		if rapid.IntRange(0, 3).Draw(t, "somebody is faster") == 3 {
			o, err := Commit(w.cell, w.txn(), Limits{})
			if err != nil {
				t.Fatal(err)
			}
			w.cell.store(o.Ledgers...)
		}
		before, kept, keptTxn := w.cell.snapshot(), deepCell(w.cell), deepTxn(x)
		o, err := Commit(w.cell, x, Limits{})
		if err != nil {
			t.Fatalf("a drawn transaction is invalid: %v", err)
		}
		if !reflect.DeepEqual(kept, deepCell(before)) || !reflect.DeepEqual(keptTxn, deepTxn(x)) {
			t.Fatal("Commit changed what it was given")
		}
		for range 2 {
			if again, _ := Commit(w.cell, x, Limits{}); !reflect.DeepEqual(o, again) {
				t.Fatalf("the same commit twice:\n%+v\n%+v", o, again)
			}
		}
		checkPartition(t, x, o)
		checkParts(t, x, o)
		w.cell.store(o.Ledgers...)
		checkLedgers(t, before, w.cell, o)
		checkEffects(t, before, w.cell, x, o)

		again, _ := Commit(w.cell, x, Limits{})
		if len(again.Ledgers) > 0 || !slices.Equal(again.Committed, o.Committed) {
			t.Fatalf("sent again: committed %v, then %v; %d ledgers written (I4)", o.Committed, again.Committed, len(again.Ledgers))
		}
		committed += len(o.Committed)
		for _, c := range o.Conflicts {
			seen[c.Reason]++
		}
		for _, m := range x.Move {
			if slices.Contains(o.Committed, m.To.ID) {
				moved++
			}
		}
		for i := range x.Evict {
			e, done := &x.Evict[i], slices.Contains(o.Committed, x.Evict[i].ID)
			spare := slices.IndexFunc(o.Conflicts, func(c Conflict) bool { return c.ID == e.ID && c.Reason == ReasonAbandoned }) >= 0
			switch forNew := x.Mode == Incremental && x.brings(e.Eviction.By); {
			case x.forOthers(e) && done:
				preempted++
			case forNew && done:
				own++
			case forNew && spare && !x.forOthers(e):
				spared++
			}
		}
		if x.Mode == AllOrNothing && len(x.Add) > 1 && len(o.Conflicts) == 0 {
			gangs++
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		for range rapid.IntRange(1, 12).Draw(t, "transactions") {
			step(t, w)
			if rapid.Bool().Draw(t, "time passes") {
				w.live()
			}
		}
	})
	for _, r := range []Reason{ReasonFull, ReasonGPUDevice, ReasonCordoned, ReasonChanged, ReasonNoMachine, ReasonNoClaim, ReasonPrecedence,
		ReasonDuplicate, ReasonAbandoned} {
		if seen[r] == 0 {
			t.Errorf("no conflict was %s: this tests too little", r)
		}
	}
	if committed == 0 || moved == 0 || preempted == 0 || gangs == 0 || spared == 0 || own == 0 {
		t.Errorf("%d committed, %d moved, %d preempted, %d gangs, %d own evicted for newcomers, %d spared: this tests too little",
			committed, moved, preempted, gangs, own, spared)
	}
}

// checkEnded: the named claims have ended, those that waited for the last of them begin now where there is room for them
// (if one does not, there is none), and nothing else changed.
func checkEnded(t *rapid.T, before, after *Ledger, ids []ClaimID, now Instant) {
	checkNotOver(t, after)
	changed := false
	for i := range before.Claims {
		was, is := before.Claims[i], after.Claims[i]
		if slices.Contains(ids, was.ID) {
			changed = changed || !was.Ended
			was.Ended = true
		}
		waits := !was.Ended && was.Start > now && len(was.After) > 0 && after.AllEnded(was.After)
		if waits && is.Start == now {
			was.Start, was.After = now, nil
		} else if waits && after != before {
			rest, early := after.Clone(), is
			rest.remove([]ClaimID{is.ID})
			early.Start = now
			if oracleFits(rest, &early) {
				t.Fatalf("%v could begin at %d on %+v", is.ID, now, after)
			}
		}
		if !reflect.DeepEqual(was, is) {
			t.Fatalf("%+v became %+v", was, is)
		}
	}
	if changed == (after == before) {
		t.Fatalf("ended anything: %v, but the same ledger: %v", changed, after == before)
	}
}

// checkPartition: each claim that the transaction names is in exactly one list of the verdict, once.
func checkPartition(t *rapid.T, x *Txn, o Decision) {
	var want, got []ClaimID
	for _, c := range x.Add {
		want = append(want, c.ID)
	}
	for _, r := range x.Remove {
		want = append(want, r.ID)
	}
	for _, e := range x.Evict {
		want = append(want, e.ID)
	}
	for _, m := range x.Move {
		want = append(want, m.To.ID)
	}
	got = append(got, o.Committed...)
	for _, c := range o.Conflicts {
		got = append(got, c.ID)
		if (c.Shortage != Shortage{}) != (c.Reason == ReasonFull || c.Reason == ReasonGPUDevice) {
			t.Fatalf("conflict %+v: a shortage belongs to full and gpu-device", c)
		}
	}
	slices.SortFunc(want, ClaimID.Compare)
	slices.SortFunc(got, ClaimID.Compare)
	if !slices.Equal(got, want) {
		t.Fatalf("the verdict names %v, the transaction %v", got, want)
	}
}

// checkParts: a refused atomic part leaves no trace; a gang is all or nothing (I2).
func checkParts(t *rapid.T, x *Txn, o Decision) {
	refused := map[ClaimID]bool{}
	for _, c := range o.Conflicts {
		refused[c.ID] = true
	}
	for _, p := range x.Parts() {
		all, bad := 0, 0
		p.each(func(id ClaimID, _ string) {
			all++
			if refused[id] {
				bad++
			}
		})
		if p.Atomic && bad != 0 && bad != all {
			t.Fatalf("atomic part %v: %d of %d refused (I2)", p.Machines, bad, all)
		}
		if bad == all && slices.ContainsFunc(o.Ledgers, func(l *Ledger) bool { return slices.Contains(p.Machines, l.Machine) }) {
			t.Fatalf("refused part %v left a trace", p.Machines)
		}
	}
	if x.Mode == AllOrNothing && len(o.Conflicts) > 0 && len(o.Committed)+len(o.Ledgers) > 0 {
		t.Fatalf("a gang in part: %v and %v", o.Committed, o.Conflicts)
	}
}

// checkLedgers: the new ledgers are sound: sorted, summed, no machine twice, not over-committed (I1); the others untouched.
func checkLedgers(t *rapid.T, before, after *cell, o Decision) {
	written := map[string]bool{}
	for _, l := range o.Ledgers {
		if written[l.Machine] || before.ledgers[l.Machine] == nil || l.Rev != before.ledgers[l.Machine].Rev {
			t.Fatalf("ledger of %s is written twice, or to no machine, or not from what was there", l.Machine)
		}
		written[l.Machine] = true
		if !slices.IsSortedFunc(l.Claims, func(a, b Claim) int { return a.ID.Compare(b.ID) }) {
			t.Fatalf("claims of %s are out of order", l.Machine)
		}
		fresh := l.Clone().Sum()
		if !l.used.Equal(fresh.used) || l.lastStart != fresh.lastStart || l.firstUntil != fresh.firstUntil {
			t.Fatalf("%s: derived %v %v %v, summed up anew %v %v %v", l.Machine, l.used, l.lastStart, l.firstUntil, fresh.used, fresh.lastStart, fresh.firstUntil)
		}
		if short := l.Overcommitted(0); short != (Shortage{}) {
			t.Fatalf("I1 broken on %s: %v\n%+v", l.Machine, short, l.Claims)
		}
		checkNotOver(t, l)
	}
	for m, l := range before.ledgers {
		if !written[m] && after.ledgers[m] != l {
			t.Fatalf("%s is not in the decision but changed", m)
		}
	}
}

// checkNotOver is I1 by the oracle's arithmetic.
func checkNotOver(t *rapid.T, l *Ledger) {
	least, devices := leastFree(l, 0, Forever)
	for name, n := range least {
		if n < 0 {
			t.Fatalf("I1 broken on %s: %s over by %d", l.Machine, name, -n)
		}
	}
	for d, n := range devices {
		if n < 0 {
			t.Fatalf("I1 broken on %s: device %d over by %d", l.Machine, d, -n)
		}
	}
}

// checkEffects: what is committed is in effect, what is refused is not, nothing else changed.
func checkEffects(t *rapid.T, before, after *cell, x *Txn, o Decision) {
	find := func(v *cell, m string, id ClaimID) *Claim {
		if l := v.ledgers[m]; l != nil {
			return l.Find(id)
		}
		return nil
	}
	is := map[ClaimID]bool{}
	for _, id := range o.Committed {
		is[id] = true
	}
	named := map[ClaimID]bool{}
	for i := range x.Add {
		c := &x.Add[i]
		named[c.ID] = true
		now := find(after, c.Machine, c.ID)
		if is[c.ID] != (now != nil && now.Same(c)) && (is[c.ID] || find(before, c.Machine, c.ID) == nil) {
			t.Fatalf("add %v: committed %v, but there is %+v", c.ID, is[c.ID], now)
		}
		if is[c.ID] && c.Resources.GPUMilli > 0 && len(now.GPUs) == 0 {
			t.Fatalf("add %v: committed without a device", c.ID)
		}
	}
	for _, r := range x.Remove {
		named[r.ID] = true
		if was, now := find(before, r.Machine, r.ID), find(after, r.Machine, r.ID); is[r.ID] && now != nil || !is[r.ID] && !reflect.DeepEqual(was, now) {
			t.Fatalf("remove %v: committed %v, but there is %+v", r.ID, is[r.ID], now)
		}
	}
	for i := range x.Evict {
		e := &x.Evict[i]
		named[e.ID] = true
		was, now := find(before, e.Machine, e.ID), find(after, e.Machine, e.ID)
		if is[e.ID] && now != nil && !now.Ended && (now.Evict == nil || now.Evict.Deadline > e.Eviction.Deadline) {
			t.Fatalf("evict %v: committed, but it is %+v", e.ID, now)
		}
		if !is[e.ID] && !reflect.DeepEqual(was, now) {
			t.Fatalf("evict %v: refused, but it is %+v", e.ID, now)
		}
		if was != nil && was.Evict != nil && (now == nil || now.Evict.Deadline > was.Evict.Deadline) {
			t.Fatalf("evict %v: deadline put off from %d", e.ID, was.Evict.Deadline)
		}
		if by := e.Eviction.By; x.brings(by) && is[e.ID] != is[by] {
			t.Fatalf("evict %v: committed %v, but %v for which it makes room %v", e.ID, is[e.ID], by, is[by])
		}
		if x.forOthers(e) && !reflect.DeepEqual(was, now) {
			by := find(after, e.Machine, e.Eviction.By)
			if by == nil || !by.Precedence.MayEvict(now.Precedence) {
				t.Fatalf("evict %v of precedence %d by %+v", e.ID, now.Precedence, by)
			}
		}
	}
	for i := range x.Move {
		m := &x.Move[i]
		named[m.To.ID] = true
		there, here := find(after, m.To.Machine, m.To.ID), find(after, m.From, m.To.ID)
		if is[m.To.ID] && (there == nil || here != nil) {
			t.Fatalf("move %v: committed, but there %+v, here %+v", m.To.ID, there, here)
		}
		if !is[m.To.ID] && (!reflect.DeepEqual(there, find(before, m.To.Machine, m.To.ID)) || !reflect.DeepEqual(here, find(before, m.From, m.To.ID))) {
			t.Fatalf("move %v: refused, but there %+v, here %+v", m.To.ID, there, here)
		}
	}
	for _, m := range before.machines() {
		for _, v := range []*cell{before, after} {
			for i := range v.ledgers[m].Claims {
				id := v.ledgers[m].Claims[i].ID
				if !named[id] && !reflect.DeepEqual(find(before, m, id), find(after, m, id)) {
					t.Fatalf("%v on %s is not named but changed", id, m)
				}
			}
		}
	}
}

// brings reports whether the transaction adds or moves the claim.
func (t *Txn) brings(id ClaimID) bool {
	return slices.ContainsFunc(t.Add, func(c Claim) bool { return c.ID == id }) ||
		slices.ContainsFunc(t.Move, func(m Move) bool { return m.To.ID == id })
}

// deepCell and deepTxn copy all that their argument points to, so that a later change of any of it shows.
func deepCell(v *cell) map[string]string {
	out := map[string]string{}
	for m, l := range v.ledgers {
		out[m] = fmt.Sprintf("%+v", *l) + deepClaims(l.Claims)
	}
	return out
}

func deepTxn(x *Txn) string {
	s := fmt.Sprintf("%v %v %v %+v %+v", x.ID, x.Mode, x.Rule, x.Remove, x.Evict) + deepClaims(x.Add)
	for _, m := range x.Move {
		s += m.From + deepClaims([]Claim{m.To})
	}
	return s
}

func deepClaims(claims []Claim) string {
	s := ""
	for _, c := range claims {
		s += fmt.Sprintf("%+v", c)
		if c.Evict != nil {
			s += fmt.Sprintf("%+v", *c.Evict)
		}
	}
	return s
}
