package cellstate

import "slices"

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
	add    []*Claim // of the transaction
	move   []Move
}

// Decision is what the commit rule makes of one part.
type Decision struct {
	Ledgers   []*Ledger // the changed ones, by machine: new values, still with the Rev they were made from
	Committed []ClaimID
	Conflicts []Conflict
}

// Commit is the commit rule over a whole transaction, part by part. The ledgers of the decision are to replace those of the
// view, all of a part or none. A refused part leaves no trace: none of its ledgers is in the decision.
func Commit(v View, t *Txn, lim Limits) (Decision, error) {
	if err := t.Check(); err != nil {
		return Decision{}, err
	}
	parts := t.Parts()
	w := working{txn: t, view: v, lim: lim.WithDefaults()}
	w.out.Ledgers = make([]*Ledger, 0, len(parts))
	w.out.Committed = make([]ClaimID, 0, len(t.Remove)+len(t.Evict)+len(t.Add)+len(t.Move))
	for i := range parts {
		w.decide(&parts[i])
	}
	return w.out, nil
}

// CommitPart is the commit rule for one part: what the part's ledgers become on what v shows, and which claims are refused.
// It is deterministic in its arguments, so a store may run it again on fresher ledgers. A part that is in effect already,
// because it was sent before, is committed without a change (I4).
func (t *Txn) CommitPart(v View, p Part, lim Limits) Decision {
	w := working{txn: t, view: v, lim: lim.WithDefaults()}
	w.decide(&p)
	return w.out
}

// working is the state of a commit: the decision so far, and the ledgers of the part under way as changed so far.
type working struct {
	txn  *Txn
	view View
	lim  Limits
	out  Decision

	part    *Part
	ledgers []*Ledger          // clones, by the place of the machine in the part; nil where unchanged
	gone    [][]ClaimID        // likewise: still in the clone, to go with the next flush. nil where none is
	adds    map[ClaimID]*Claim // of the part; nil until they are looked up
}

// decide adds to the decision what becomes of one part.
func (w *working) decide(p *Part) {
	w.part, w.gone, w.adds = p, nil, nil
	w.ledgers = append(w.ledgers[:0], make([]*Ledger, len(p.Machines))...)
	committed, conflicts := len(w.out.Committed), len(w.out.Conflicts)
	if w.txn.Rule == SeqRule && w.changed(p) {
		w.settle(p)
		return
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
	for _, c := range p.add {
		w.add(c)
	}
	if p.Atomic && len(w.out.Conflicts) > conflicts {
		w.out.Committed = w.out.Committed[:committed]
		w.abandon(p, w.out.Conflicts[conflicts:])
		return
	}
	for i, l := range w.ledgers {
		if l != nil {
			w.flush(i)
			w.out.Ledgers = append(w.out.Ledgers, l)
		}
	}
}

// place returns the place of a machine in the part.
func (w *working) place(machine string) int {
	if len(w.ledgers) == 1 {
		return 0
	}
	i, _ := slices.BinarySearch(w.part.Machines, machine)
	return i
}

// look returns the ledger as it is now, to read only; claims that go may still stand in it. (Nobody looks for those again: a
// transaction names each claim once.)
func (w *working) look(machine string) *Ledger {
	if l := w.ledgers[w.place(machine)]; l != nil {
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

// edit returns the part's own copy of the ledger, to be changed, with room for the claims that the part is likely to add.
func (w *working) edit(machine string) *Ledger {
	i := w.place(machine)
	if w.ledgers[i] == nil {
		old, _ := w.view.Ledger(machine)
		w.ledgers[i] = old.cloneFor((len(w.part.add) + len(w.part.move) + len(w.ledgers) - 1) / len(w.ledgers))
	}
	return w.ledgers[i]
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
		w.gone = make([][]ClaimID, len(w.ledgers))
	}
	i := w.place(machine)
	w.gone[i] = append(w.gone[i], id)
}

// flush takes out of the ledger at a place what is noted to go.
func (w *working) flush(i int) {
	if w.gone != nil && len(w.gone[i]) > 0 {
		w.ledgers[i].remove(w.gone[i])
		w.gone[i] = nil
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
	if w.adds == nil {
		w.adds = make(map[ClaimID]*Claim, len(w.part.add))
		for _, c := range w.part.add {
			w.adds[c.ID] = c
		}
	}
	a := w.adds[e.Eviction.By]
	return a != nil && a.Machine == e.Machine && a.Precedence.MayEvict(victim.Precedence)
}

// add claims what c asks for.
func (w *working) add(c *Claim) {
	w.flush(w.place(c.Machine))
	l := w.look(c.Machine)
	if l == nil {
		w.refuse(c.ID, c.Machine, Shortage{Reason: ReasonNoMachine})
		return
	}
	if have := l.Find(c.ID); have != nil {
		if have.Same(c) {
			w.done(c.ID)
		} else {
			w.refuse(c.ID, c.Machine, Shortage{Reason: ReasonDuplicate})
		}
		return
	}
	if s := l.Fit(c, w.lim); s != (Shortage{}) {
		w.refuse(c.ID, c.Machine, s)
		return
	}
	gpus := c.GPUs
	if c.Resources.GPUMilli > 0 && len(gpus) == 0 {
		gpus, _ = l.AssignGPUs(c)
	}
	w.edit(c.Machine).insert(c, gpus)
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
	w.add(&m.To)
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
func (w *working) settle(p *Part) {
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
	for _, c := range p.add {
		have := w.find(c.Machine, c.ID)
		inEffect[c.ID] = have != nil && have.Same(c)
	}
	all := true
	p.each(func(id ClaimID, _ string) { all = all && inEffect[id] })
	p.each(func(id ClaimID, machine string) {
		if all || inEffect[id] && !p.Atomic {
			w.done(id)
		} else {
			w.refuse(id, machine, Shortage{Reason: ReasonChanged})
		}
	})
}

// Refuse refuses the whole part for one reason: the rule's own ReasonChanged, or a store's ReasonContended when it gives up.
func (p *Part) Refuse(r Reason) Decision {
	var o Decision
	p.each(func(id ClaimID, machine string) {
		o.Conflicts = append(o.Conflicts, Conflict{ID: id, Machine: machine, Reason: r})
	})
	return o
}

// abandon refuses the rest of a part because of these conflicts.
func (w *working) abandon(p *Part, why []Conflict) {
	named := make(map[ClaimID]bool, len(why))
	for i := range why {
		named[why[i].ID] = true
	}
	p.each(func(id ClaimID, machine string) {
		if !named[id] {
			w.refuse(id, machine, Shortage{Reason: ReasonAbandoned})
		}
	})
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
	for _, c := range p.add {
		f(c.ID, c.Machine)
	}
}
