package cellstate

import (
	"fmt"
	"slices"
)

// Mode says what a conflict does to the rest of a transaction (Omega, EuroSys 2013, §3.4).
type Mode uint8

const (
	Incremental  Mode = iota + 1 // all but what conflicts is committed
	AllOrNothing                 // a gang: one conflict refuses all
)

func (m Mode) String() string {
	switch m {
	case Incremental:
		return "incremental"
	case AllOrNothing:
		return "all-or-nothing"
	}
	return fmt.Sprintf("Mode(%d)", uint8(m))
}

// Rule says what a conflict is (Omega, §5.2: fine-grained against coarse-grained conflict detection).
type Rule uint8

const (
	FitRule Rule = iota + 1 // only what no longer fits
	SeqRule                 // any change of the machine since the snapshot
)

func (r Rule) String() string {
	switch r {
	case FitRule:
		return "fit"
	case SeqRule:
		return "seq"
	}
	return fmt.Sprintf("Rule(%d)", uint8(r))
}

// Operator is the name under which operators send transactions: they may evict and remove anybody's claims. No scheduler may
// have it.
const Operator = "operator"

// Txn is what a scheduler wants done, made on a snapshot. Each claim may be named by only one of its parts.
type Txn struct {
	ID        string // for people, and the same when it is sent again
	Scheduler string // whose claims they are
	Mode      Mode
	Rule      Rule
	Basis     View  // what it was planned on; SeqRule compares with it
	BasisRev  int64 // its revision
	Fence     *Fence

	Remove []ClaimRef // one's own; ended ones (an acknowledgement) or live ones whose agent is to end them
	// Evict asks one's own to go; or, to make room for a claim of Add on the same machine, lower ones. An eviction whose By
	// is a claim of Add or Move happens only together with it.
	Evict []Evict
	Add   []Claim
	Move  []Move
}

// Fence makes the whole transaction depend on still being the leader: Key must have been created at CreateRev.
type Fence struct {
	Key       Key
	CreateRev int64
}

// ClaimRef names a claim and where it stands.
type ClaimRef struct {
	Machine string
	ID      ClaimID
}

// Evict asks a claim to go.
type Evict struct {
	ClaimRef
	Eviction Eviction
}

// Move takes a claim from one machine to another. Both happen or neither does.
type Move struct {
	From string
	To   Claim // ID and resources as before; Machine is the new one
}

// Verdict partitions a transaction: each claim it named is in exactly one of the lists.
type Verdict struct {
	Rev       int64 // plan from here next: a snapshot at least as new as this
	Committed []ClaimID
	Conflicts []Conflict
	Resent    int // times a part was sent again because a guard had failed: storage traffic, not conflicts
}

// Conflict is a claim that was refused, and why.
type Conflict struct {
	ID       ClaimID
	Machine  string
	Reason   Reason
	Shortage Shortage // of ReasonFull and ReasonGPUDevice
}

func (c Conflict) String() string {
	if c.Shortage.Reason != 0 {
		return fmt.Sprintf("%s on %s: %s", c.ID, c.Machine, c.Shortage)
	}
	return fmt.Sprintf("%s on %s: %s", c.ID, c.Machine, c.Reason)
}

// Check returns an error that names what no transaction may have.
func (t *Txn) Check() error {
	bad := func(format string, args ...any) error {
		return &OpError{Op: "check transaction", On: t.ID, Err: fmt.Errorf(format+": %w", append(args, ErrInvalid)...)}
	}
	if err := CheckName(t.Scheduler); err != nil {
		return bad("scheduler: %v", err)
	}
	if t.Mode != Incremental && t.Mode != AllOrNothing {
		return bad("mode %s", t.Mode)
	}
	if t.Rule != FitRule && t.Rule != SeqRule {
		return bad("rule %s", t.Rule)
	}
	if t.Rule == SeqRule && t.Basis == nil {
		return bad("rule seq without a snapshot")
	}
	if id, twice := t.twice(); twice {
		return bad("claim %s is named twice", id)
	}
	own := func(id *ClaimID) error {
		if id.Scheduler != t.Scheduler && t.Scheduler != Operator {
			return bad("claim %s is not one of scheduler %s", id, t.Scheduler)
		}
		return nil
	}
	for i := range t.Add {
		c := &t.Add[i]
		if err := own(&c.ID); err != nil {
			return err
		}
		if err := c.Check(); err != nil {
			return err
		}
		if c.Ended || c.Evict != nil {
			return bad("new claim %s has ended or is evicted already", c.ID)
		}
	}
	for i := range t.Remove {
		r := &t.Remove[i]
		if err := own(&r.ID); err != nil {
			return err
		}
		if err := CheckName(r.Machine); err != nil {
			return bad("machine of %s: %v", r.ID, err)
		}
	}
	newcomers := t.newcomers()
	for i := range t.Evict {
		e := &t.Evict[i]
		if err := CheckName(e.Machine); err != nil {
			return bad("machine of %s: %v", e.ID, err)
		}
		if e.Eviction.Deadline <= 0 {
			return bad("eviction of %s has no deadline", e.ID)
		}
		if to, ok := newcomers[e.Eviction.By]; t.forOthers(e) && (!ok || to != e.Machine || t.moves(e.Eviction.By)) {
			return bad("eviction of %s, of another scheduler, makes room for no claim of this transaction on %s", e.ID, e.Machine)
		}
	}
	for i := range t.Move {
		if err := own(&t.Move[i].To.ID); err != nil {
			return err
		}
		if err := t.Move[i].To.Check(); err != nil {
			return err
		}
		if err := CheckName(t.Move[i].From); err != nil {
			return bad("machine of %s: %v", t.Move[i].To.ID, err)
		}
		if t.Move[i].To.Ended || t.Move[i].To.Evict != nil {
			return bad("moved claim %s has ended or is evicted already", t.Move[i].To.ID)
		}
		if t.Move[i].From == t.Move[i].To.Machine {
			return bad("move of %s from %s to itself", t.Move[i].To.ID, t.Move[i].From)
		}
	}
	return nil
}

// twice returns a claim that the transaction names twice, if there is one.
func (t *Txn) twice() (ClaimID, bool) {
	n := 0
	var last *ClaimID
	ascending := true
	t.each(func(id *ClaimID) bool {
		ascending = ascending && (last == nil || last.Compare(*id) < 0)
		last = id
		n++
		return true
	})
	if ascending { // as in most: the tasks of one job in order
		return ClaimID{}, false
	}
	seen := make(map[ClaimID]bool, n)
	var again ClaimID
	twice := false
	t.each(func(id *ClaimID) bool {
		if seen[*id] {
			again, twice = *id, true
		}
		seen[*id] = true
		return !twice
	})
	return again, twice
}

// each calls f for every claim that the transaction names, until it returns false.
func (t *Txn) each(f func(id *ClaimID) bool) {
	for i := range t.Add {
		if !f(&t.Add[i].ID) {
			return
		}
	}
	for i := range t.Remove {
		if !f(&t.Remove[i].ID) {
			return
		}
	}
	for i := range t.Evict {
		if !f(&t.Evict[i].ID) {
			return
		}
	}
	for i := range t.Move {
		if !f(&t.Move[i].To.ID) {
			return
		}
	}
}

// moves reports whether the claim is one of Move.
func (t *Txn) moves(id ClaimID) bool {
	return slices.ContainsFunc(t.Move, func(m Move) bool { return m.To.ID == id })
}

// forOthers reports whether e takes from somebody who did not ask for it.
func (t *Txn) forOthers(e *Evict) bool {
	return e.ID.Scheduler != t.Scheduler && t.Scheduler != Operator
}
