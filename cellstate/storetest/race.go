package storetest

import (
	"fmt"
	"math/rand/v2"
	"sync"

	"github.com/omegacell/omegacell/cellstate"
)

// testSeqAndFit has two planners claim a quarter of one machine each, from one snapshot (Omega, EuroSys 2013, §5.2).
func testSeqAndFit(b *bench) {
	b.machines(2, 1000)
	basis := b.basis()
	other := b.cell.Open()
	for _, tt := range []struct {
		rule   cellstate.Rule
		on     string
		second string
	}{
		{cellstate.SeqRule, "m0", "-2:changed"},
		{cellstate.FitRule, "m1", "+2"},
	} {
		one := txn(basis, claim(1, tt.on, 250))
		two := txn(basis, claim(2, tt.on, 250))
		one.ID, two.ID, one.Rule, two.Rule = "one-"+tt.on, "two-"+tt.on, tt.rule, tt.rule
		for _, t := range []*cellstate.Txn{one, two} {
			t.Add[0].ID.Job += tt.on
		}
		b.wantVerdict(one, "+1")
		v, err := other.Commit(b.Context(), two)
		if err != nil {
			b.Fatalf("Commit: %v", err)
		}
		if got := describe(v); got != tt.second {
			b.Errorf("rule %s: the second planner's verdict is %q, want %q", tt.rule, got, tt.second)
		}
	}
}

const (
	hammerClients  = 3
	hammerWorkers  = 4 // of each client
	hammerRounds   = 25
	hammerMachines = 12
)

// hammerer commits random transactions and keeps what it was told of them.
type hammerer struct {
	name string
	s    cellstate.Store
	rng  *rand.Rand
	next uint32
	held map[cellstate.ClaimID]string // committed, by machine
	old  *cellstate.Txn

	conflicts int
}

// testHammer has many committers on a few machines, over several clients. At the end no machine is over-committed (I1), the
// ledgers hold exactly the claims that were answered as committed (I4), and no gang is there in part (I2).
func testHammer(b *bench) {
	b.machines(hammerMachines, 4000)
	var wg sync.WaitGroup
	var all []*hammerer
	for c := range hammerClients {
		s := b.cell.Open()
		for w := range hammerWorkers {
			h := &hammerer{name: fmt.Sprintf("s%d-%d", c, w), s: s, rng: rand.New(rand.NewPCG(uint64(c), uint64(w))),
				held: make(map[cellstate.ClaimID]string)}
			all = append(all, h)
			wg.Go(func() {
				for round := range hammerRounds {
					if err := h.round(b, uint32(round)); err != nil {
						b.Errorf("%s: %v", h.name, err)
						return
					}
				}
			})
		}
	}
	wg.Wait()
	want := make(map[cellstate.ClaimID]string)
	conflicts := 0
	for _, h := range all {
		conflicts += h.conflicts
		for id, m := range h.held {
			want[id] = m
		}
	}
	if conflicts == 0 || len(want) == 0 {
		b.Errorf("%d conflicts, %d claims: this no longer tests anything", conflicts, len(want))
	}
	for m, l := range b.basis() {
		if s := l.Overcommitted(0); s != (cellstate.Shortage{}) {
			b.Errorf("I1: %s is over-committed: %s", m, s)
		}
		for i := range l.Claims {
			id := l.Claims[i].ID
			if want[id] != m {
				b.Errorf("I4: %s stands on %s, the verdicts say %q", id, m, want[id])
			}
			delete(want, id)
		}
	}
	for id, m := range want {
		b.Errorf("I4: %s was committed to %s and is not there", id, m)
	}
}

// round sends one transaction: usually adds, sometimes a gang, a removal, a move, or the one before once more.
func (h *hammerer) round(b *bench, round uint32) error {
	basis, err := basisOf(h.s, b.T)
	if err != nil {
		return err
	}
	t := &cellstate.Txn{ID: fmt.Sprint(h.name, round), Scheduler: h.name, Mode: cellstate.Incremental, Rule: cellstate.FitRule, Basis: basis}
	if h.rng.IntN(4) == 0 {
		t.Rule = cellstate.SeqRule
	}
	if h.rng.IntN(5) == 0 {
		t.Basis, t.Rule = nil, cellstate.FitRule
	}
	switch kind := h.rng.IntN(8); {
	case kind == 0 && len(h.held) > 0:
		id, m := h.pick()
		t.Remove = []cellstate.ClaimRef{{Machine: m, ID: id}}
	case kind == 1 && len(h.held) > 0:
		id, m := h.pick()
		to := machine(h.rng.IntN(hammerMachines))
		if c := basis[m].Find(id); c != nil && to != m {
			moved := *c
			moved.Machine = to
			t.Move = []cellstate.Move{{From: m, To: moved}}
		}
	case kind == 2 && h.old != nil:
		return h.again(b)
	case kind == 3:
		t.Mode = cellstate.AllOrNothing
		h.adds(t, round, 3)
	default:
		h.adds(t, round, 1+h.rng.IntN(4))
	}
	v, err := h.s.Commit(b.Context(), t)
	if err != nil {
		return err
	}
	if got, want := fmt.Sprint(answered(v)), fmt.Sprint(named(t)); got != want {
		return fmt.Errorf("verdict names %s, want each of %s once", got, want)
	}
	if t.Mode == cellstate.AllOrNothing && len(v.Committed) > 0 && len(v.Conflicts) > 0 {
		return fmt.Errorf("I2: a gang in part: %v", v)
	}
	h.note(t, v)
	h.old = nil
	if len(t.Add) > 0 && len(v.Conflicts) == 0 {
		h.old = t
	}
	return nil
}

// again repeats a transaction that was committed whole: it must be answered so again, and nothing may be there twice.
func (h *hammerer) again(b *bench) error {
	v, err := h.s.Commit(b.Context(), h.old)
	if err == nil && len(v.Conflicts) > 0 {
		err = fmt.Errorf("I4: sent again, %s conflicts: %v", h.old.ID, v.Conflicts)
	}
	h.old = nil
	return err
}

func (h *hammerer) adds(t *cellstate.Txn, round uint32, n int) {
	for range n {
		h.next++
		t.Add = append(t.Add, cellstate.Claim{
			ID:        cellstate.ClaimID{Scheduler: h.name, Job: "j", Run: round, Task: h.next},
			Machine:   machine(h.rng.IntN(hammerMachines)),
			Resources: cellstate.Resources{CPUMilli: int64(1+h.rng.IntN(8)) * 50},
		})
	}
}

// pick returns one of the claims it holds: the least by ID of those after a random one, so that a seed says which.
func (h *hammerer) pick() (cellstate.ClaimID, string) {
	at := cellstate.ClaimID{Scheduler: h.name, Job: "j", Run: h.rng.Uint32N(hammerRounds)}
	var best cellstate.ClaimID
	for id := range h.held {
		before, than := id.Compare(at) < 0, best.Compare(at) < 0
		if best == (cellstate.ClaimID{}) || before == than && id.Compare(best) < 0 || !before && than {
			best = id
		}
	}
	return best, h.held[best]
}

func (h *hammerer) note(t *cellstate.Txn, v cellstate.Verdict) {
	h.conflicts += len(v.Conflicts)
	done := make(map[cellstate.ClaimID]bool, len(v.Committed))
	for _, id := range v.Committed {
		done[id] = true
	}
	for _, r := range t.Remove {
		if done[r.ID] {
			delete(h.held, r.ID)
		}
	}
	for _, c := range t.Add {
		if done[c.ID] {
			h.held[c.ID] = c.Machine
		}
	}
	for _, m := range t.Move {
		if done[m.To.ID] {
			h.held[m.To.ID] = m.To.Machine
		}
	}
}
