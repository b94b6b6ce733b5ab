package cellstate

import (
	"slices"
	"strings"
)

// Part is the share of a transaction that is decided by itself: the machines that depend on each other. In incremental mode
// that is one machine, or both ends of a move and what hangs on them; a gang is a single part.
type Part struct {
	Machines []string // sorted
	// Atomic parts are refused whole: gangs, moves, and evictions that make room for a claim of the same transaction
	// (Eviction.By), one's own too, which must not happen in vain. In another part a claim that does not fit leaves the
	// rest alone.
	Atomic bool

	remove []ClaimRef
	evict  []Evict
	add    []Claim
	move   []Move
}

// Decision is what the commit rule makes of one part.
type Decision struct {
	Ledgers   []*Ledger // the changed ones, by machine: new values, still with the Rev they were made from
	Committed []ClaimID
	Conflicts []Conflict
}

// Parts splits a transaction into the parts that are decided by themselves, ordered by their first machine.
func (t *Txn) Parts() []Part {
	group := newUnion()
	each := func(machine string) {
		if t.Mode == AllOrNothing {
			group.join("", machine)
		} else {
			group.join(machine, machine)
		}
	}
	for i := range t.Remove {
		each(t.Remove[i].Machine)
	}
	newcomers := t.newcomers()
	for i := range t.Evict {
		each(t.Evict[i].Machine)
		if to, ok := newcomers[t.Evict[i].Eviction.By]; ok {
			group.join(t.Evict[i].Machine, to)
		}
	}
	for i := range t.Add {
		each(t.Add[i].Machine)
	}
	for i := range t.Move {
		each(t.Move[i].From)
		each(t.Move[i].To.Machine)
		group.join(t.Move[i].From, t.Move[i].To.Machine)
	}
	parts := make(map[string]*Part)
	of := func(machine string) *Part {
		root := group.find(machine)
		p := parts[root]
		if p == nil {
			p = &Part{Atomic: t.Mode == AllOrNothing}
			parts[root] = p
		}
		p.Machines = append(p.Machines, machine)
		return p
	}
	for _, r := range t.Remove {
		p := of(r.Machine)
		p.remove = append(p.remove, r)
	}
	for _, e := range t.Evict {
		p := of(e.Machine)
		p.evict = append(p.evict, e)
		_, makesRoom := newcomers[e.Eviction.By]
		p.Atomic = p.Atomic || makesRoom
	}
	for _, c := range t.Add {
		p := of(c.Machine)
		p.add = append(p.add, c)
	}
	for _, m := range t.Move {
		of(m.From)
		p := of(m.To.Machine)
		p.move = append(p.move, m)
		p.Atomic = true
	}
	out := make([]Part, 0, len(parts))
	for _, p := range parts {
		slices.Sort(p.Machines)
		p.Machines = slices.Compact(p.Machines)
		out = append(out, *p)
	}
	slices.SortFunc(out, func(a, b Part) int { return strings.Compare(a.Machines[0], b.Machines[0]) })
	return out
}

// newcomers returns the machine that each added or moved claim goes to; nil where no eviction makes room for anything.
func (t *Txn) newcomers() map[ClaimID]string {
	if !slices.ContainsFunc(t.Evict, func(e Evict) bool { return e.Eviction.By != ClaimID{} }) {
		return nil
	}
	to := make(map[ClaimID]string, len(t.Add)+len(t.Move))
	for i := range t.Add {
		to[t.Add[i].ID] = t.Add[i].Machine
	}
	for i := range t.Move {
		to[t.Move[i].To.ID] = t.Move[i].To.Machine
	}
	return to
}

// union is a disjoint-set forest over machine names.
type union struct{ parent map[string]string }

func newUnion() union { return union{parent: make(map[string]string)} }

func (u union) find(a string) string {
	for {
		p, ok := u.parent[a]
		if !ok || p == a {
			return a
		}
		a = p
	}
}

func (u union) join(a, b string) {
	a, b = u.find(a), u.find(b)
	u.parent[b] = a
}

// Commit is the commit rule over a whole transaction, part by part. The ledgers of the decision are to replace those of the
// view, all of a part or none. A refused part leaves no trace: none of its ledgers is in the decision.
func Commit(v View, t *Txn, lim Limits) (Decision, error) {
	if err := t.Check(); err != nil {
		return Decision{}, err
	}
	var all Decision
	for _, p := range t.Parts() {
		o := t.CommitPart(v, p, lim)
		all.Ledgers = append(all.Ledgers, o.Ledgers...)
		all.Committed = append(all.Committed, o.Committed...)
		all.Conflicts = append(all.Conflicts, o.Conflicts...)
	}
	return all, nil
}

// CommitPart is the commit rule for one part: what the part's ledgers become on what v shows, and which claims are refused.
// It is deterministic in its arguments, so a store may run it again on fresher ledgers. A part that is in effect already,
// because it was sent before, is committed without a change (I4).
func (t *Txn) CommitPart(v View, p Part, lim Limits) Decision {
	w := working{txn: t, view: v, lim: lim.WithDefaults(), ledgers: make(map[string]*Ledger, len(p.Machines))}
	if t.Rule == SeqRule && w.changed(&p) {
		return w.settle(&p)
	}
	for _, r := range p.remove {
		w.remove(r)
	}
	for i := range p.evict {
		w.evict(&p.evict[i])
	}
	for i := range p.move {
		w.move(&p.move[i])
	}
	for i := range p.add {
		w.add(p.add[i])
	}
	if p.Atomic && len(w.out.Conflicts) > 0 {
		return p.abandon(w.out.Conflicts)
	}
	for _, m := range p.Machines {
		if l := w.ledgers[m]; l != nil {
			w.flush(m)
			w.out.Ledgers = append(w.out.Ledgers, l)
		}
	}
	return w.out
}

// working is the state of one CommitPart: ledgers as changed so far, and the decision.
type working struct {
	txn     *Txn
	view    View
	lim     Limits
	ledgers map[string]*Ledger   // clones
	gone    map[string][]ClaimID // by machine: still in the clone, to go with the next flush
	out     Decision
}

// look returns the ledger as it is now, to read only; claims that go may still stand in it. (Nobody looks for those again: a
// transaction names each claim once.)
func (w *working) look(machine string) *Ledger {
	if l := w.ledgers[machine]; l != nil {
		return l
	}
	l, _ := w.view.Ledger(machine)
	return l
}

// find returns the claim as it is now, to read only, or nil.
func (w *working) find(machine string, id ClaimID) *Claim {
	if l := w.look(machine); l != nil {
		return l.Find(id)
	}
	return nil
}

// edit returns the part's own copy of the ledger, to be changed.
func (w *working) edit(machine string) *Ledger {
	l := w.ledgers[machine]
	if l == nil {
		old, _ := w.view.Ledger(machine)
		l = old.Clone()
		w.ledgers[machine] = l
	}
	return l
}

func (w *working) done(id ClaimID) { w.out.Committed = append(w.out.Committed, id) }

func (w *working) refuse(id ClaimID, machine string, s Shortage) {
	c := Conflict{ID: id, Machine: machine, Reason: s.Reason}
	if s.Reason == ReasonFull || s.Reason == ReasonGPUDevice {
		c.Shortage = s
	}
	w.out.Conflicts = append(w.out.Conflicts, c)
}

func (w *working) remove(r ClaimRef) {
	if w.find(r.Machine, r.ID) != nil {
		w.take(r.Machine, r.ID)
	}
	w.done(r.ID)
}

// take notes that a claim goes from a machine. All that go, go together, before the next claim is fitted in: taking them out
// one by one would cost as many passes over the ledger.
func (w *working) take(machine string, id ClaimID) {
	w.edit(machine)
	if w.gone == nil {
		w.gone = make(map[string][]ClaimID)
	}
	w.gone[machine] = append(w.gone[machine], id)
}

// flush takes out of a ledger what is noted to go.
func (w *working) flush(machine string) {
	if ids := w.gone[machine]; len(ids) > 0 {
		w.ledgers[machine].remove(ids...)
		delete(w.gone, machine)
	}
}

// evict gives a claim its deadline. A deadline it has already is never put off, nor a claim evicted that has ended: then
// its room is free, which is all that was wanted.
func (w *working) evict(e *Evict) {
	l := w.look(e.Machine)
	if l == nil {
		w.refuse(e.ID, e.Machine, Shortage{Reason: ReasonNoMachine})
		return
	}
	c := l.Find(e.ID)
	if e.inEffect(c) {
		w.done(e.ID)
		return
	}
	if w.txn.forOthers(e) && !w.yields(c, e) {
		w.refuse(e.ID, e.Machine, Shortage{Reason: ReasonPrecedence})
		return
	}
	w.edit(e.Machine).evict(e.ID, e.Eviction)
	w.done(e.ID)
}

// inEffect reports whether the claim, nil where it is not there, goes no later than e asks.
func (e *Evict) inEffect(c *Claim) bool {
	return c == nil || c.Ended || c.Evict != nil && c.Evict.Deadline <= e.Eviction.Deadline
}

// yields reports whether the victim has to yield to the claim that e makes room for.
func (w *working) yields(victim *Claim, e *Evict) bool {
	for i := range w.txn.Add {
		if a := &w.txn.Add[i]; a.ID == e.Eviction.By && a.Machine == e.Machine {
			return a.Precedence.MayEvict(victim.Precedence)
		}
	}
	return false
}

func (w *working) add(c Claim) {
	w.flush(c.Machine)
	l := w.look(c.Machine)
	if l == nil {
		w.refuse(c.ID, c.Machine, Shortage{Reason: ReasonNoMachine})
		return
	}
	if have := l.Find(c.ID); have != nil {
		if have.Same(&c) {
			w.done(c.ID)
		} else {
			w.refuse(c.ID, c.Machine, Shortage{Reason: ReasonDuplicate})
		}
		return
	}
	if s := l.Fit(&c, w.lim); s != (Shortage{}) {
		w.refuse(c.ID, c.Machine, s)
		return
	}
	if c.Resources.GPUMilli > 0 && len(c.GPUs) == 0 {
		c.GPUs, _ = l.AssignGPUs(&c)
	}
	w.edit(c.Machine).insert(c)
	w.done(c.ID)
}

func (w *working) move(m *Move) {
	from := w.look(m.From)
	if to := w.look(m.To.Machine); to != nil && to.Find(m.To.ID) != nil && (from == nil || from.Find(m.To.ID) == nil) {
		w.done(m.To.ID)
		return
	}
	if from == nil {
		w.refuse(m.To.ID, m.From, Shortage{Reason: ReasonNoMachine})
		return
	}
	if c := from.Find(m.To.ID); c == nil || c.Ended {
		w.refuse(m.To.ID, m.From, Shortage{Reason: ReasonNoClaim})
		return
	}
	w.take(m.From, m.To.ID)
	w.add(m.To)
}

// changed reports whether any machine of the part changed since the snapshot that the transaction was made on.
func (w *working) changed(p *Part) bool {
	for _, m := range p.Machines {
		now, _ := w.view.Ledger(m)
		then, _ := w.txn.Basis.Ledger(m)
		if (now == nil) != (then == nil) || now != nil && now.Rev != then.Rev {
			return true
		}
	}
	return false
}

// settle decides a part whose machines changed, under rule seq. What is in effect already, because the part was sent before,
// is committed without a change (I4), and the rest refused; of an atomic part all is in effect or nothing was done.
func (w *working) settle(p *Part) Decision {
	inEffect := make(map[ClaimID]bool)
	for _, r := range p.remove {
		inEffect[r.ID] = w.find(r.Machine, r.ID) == nil
	}
	for i := range p.evict {
		e := &p.evict[i]
		inEffect[e.ID] = e.inEffect(w.find(e.Machine, e.ID))
	}
	for i := range p.move {
		m := &p.move[i]
		inEffect[m.To.ID] = w.find(m.From, m.To.ID) == nil && w.find(m.To.Machine, m.To.ID) != nil
	}
	for i := range p.add {
		c := &p.add[i]
		have := w.find(c.Machine, c.ID)
		inEffect[c.ID] = have != nil && have.Same(c)
	}
	var o Decision
	p.each(func(id ClaimID, machine string) {
		if inEffect[id] {
			o.Committed = append(o.Committed, id)
		} else {
			o.Conflicts = append(o.Conflicts, Conflict{ID: id, Machine: machine, Reason: ReasonChanged})
		}
	})
	if p.Atomic && len(o.Conflicts) > 0 {
		return p.Refuse(ReasonChanged)
	}
	return o
}

// Refuse refuses the whole part for one reason: the rule's own ReasonChanged, or a store's ReasonContended when it gives up.
func (p *Part) Refuse(r Reason) Decision {
	var o Decision
	p.each(func(id ClaimID, machine string) {
		o.Conflicts = append(o.Conflicts, Conflict{ID: id, Machine: machine, Reason: r})
	})
	return o
}

// abandon refuses the whole part because of these conflicts.
func (p *Part) abandon(why []Conflict) Decision {
	o := Decision{Conflicts: why}
	named := make(map[ClaimID]bool, len(why))
	for i := range why {
		named[why[i].ID] = true
	}
	p.each(func(id ClaimID, machine string) {
		if !named[id] {
			o.Conflicts = append(o.Conflicts, Conflict{ID: id, Machine: machine, Reason: ReasonAbandoned})
		}
	})
	return o
}

// each calls f for every claim that the part names.
func (p *Part) each(f func(id ClaimID, machine string)) {
	for _, r := range p.remove {
		f(r.ID, r.Machine)
	}
	for i := range p.evict {
		f(p.evict[i].ID, p.evict[i].Machine)
	}
	for i := range p.move {
		f(p.move[i].To.ID, p.move[i].To.Machine)
	}
	for i := range p.add {
		f(p.add[i].ID, p.add[i].Machine)
	}
}
