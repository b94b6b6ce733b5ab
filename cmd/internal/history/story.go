package history

import (
	"cmp"
	"slices"

	"github.com/omegacell/omegacell/cellstate"
)

// Story tells what one revision did, from everything that it changed. Events of jobs come first, then those of machines,
// each by name: the order of changes does not matter.
func Story(rev int64, changes []cellstate.Change) []Event {
	t := teller{rev: rev}
	changes = slices.Clone(changes)
	slices.SortFunc(changes, func(a, b cellstate.Change) int {
		return cmp.Or(cmp.Compare(order(a.Key.Kind), order(b.Key.Kind)), a.Key.Compare(b.Key))
	})
	for _, c := range changes {
		t.tell(c)
	}
	return t.joinMoves()
}

// order is the place of a kind's events within one revision: causes before effects.
func order(k cellstate.Kind) int {
	return slices.Index([]cellstate.Kind{
		cellstate.KindScheduler, cellstate.KindLeader, cellstate.KindTenant, cellstate.KindMachine, cellstate.KindSession,
		cellstate.KindJob, cellstate.KindLedger, cellstate.KindReport, cellstate.KindStatus,
	}, k)
}

// teller collects the events of one revision.
type teller struct {
	rev    int64
	events []Event
}

func (t *teller) add(e Event) {
	e.Rev = t.rev
	if e.Claim != nil {
		e.Job = e.Claim.Scheduler + "/" + e.Claim.Job
	}
	t.events = append(t.events, e)
}

func (t *teller) tell(c cellstate.Change) {
	switch c.Key.Kind {
	case cellstate.KindJob:
		t.job(pair[*cellstate.Job](c))
	case cellstate.KindStatus:
		t.status(pair[*cellstate.JobStatus](c))
	case cellstate.KindLedger:
		t.ledger(pair[*cellstate.Ledger](c))
	case cellstate.KindReport:
		t.report(pair[*cellstate.Report](c))
	case cellstate.KindSession:
		t.session(pair[*cellstate.Session](c))
	case cellstate.KindMachine:
		t.machine(pair[*cellstate.Machine](c))
	case cellstate.KindTenant:
		t.tenant(pair[*cellstate.Tenant](c))
	case cellstate.KindScheduler:
		t.scheduler(pair[*cellstate.Scheduler](c))
	case cellstate.KindLeader:
		t.leader(pair[*cellstate.Leader](c))
	}
}

// pair returns both values as what they are; nil where there is none.
func pair[V cellstate.Value](c cellstate.Change) (old, now V) {
	old, _ = c.Old.(V)
	now, _ = c.New.(V)
	return old, now
}

// joinMoves makes one event of a claim that left one machine and came to another in the same revision.
func (t *teller) joinMoves() []Event {
	from := make(map[cellstate.ClaimID]string)
	placed := make(map[cellstate.ClaimID]bool)
	for _, e := range t.events {
		switch e.What {
		case ClaimRemoved:
			from[*e.Claim] = e.Machine
		case ClaimPlaced:
			placed[*e.Claim] = true
		}
	}
	var out []Event
	for _, e := range t.events {
		switch {
		case e.What == ClaimRemoved && placed[*e.Claim]:
			continue
		case e.What == ClaimPlaced && from[*e.Claim] != "":
			e.What, e.Text = ClaimMoved, "from "+from[*e.Claim]
		}
		out = append(out, e)
	}
	return out
}
