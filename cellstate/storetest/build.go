package storetest

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/omegacell/omegacell/cellstate"
)

func machine(i int) string { return fmt.Sprintf("m%d", i) }

func id(task int) cellstate.ClaimID {
	return cellstate.ClaimID{Scheduler: "batch", Job: "job", Run: 7, Task: uint32(task)}
}

// claim asks for CPU on a machine, at the bottom of the batch band, without an end.
func claim(task int, on string, milli int64) cellstate.Claim {
	return cellstate.Claim{ID: id(task), Machine: on, Precedence: 100, Resources: cellstate.Resources{CPUMilli: milli}}
}

// txn returns a transaction of the batch scheduler, incremental under the fit rule.
func txn(basis cellstate.View, adds ...cellstate.Claim) *cellstate.Txn {
	return &cellstate.Txn{ID: "t", Scheduler: "batch", Mode: cellstate.Incremental, Rule: cellstate.FitRule, Basis: basis, Add: adds}
}

// named returns every claim that a transaction names, sorted.
func named(t *cellstate.Txn) []cellstate.ClaimID {
	var ids []cellstate.ClaimID
	for _, r := range t.Remove {
		ids = append(ids, r.ID)
	}
	for _, e := range t.Evict {
		ids = append(ids, e.ID)
	}
	for _, c := range t.Add {
		ids = append(ids, c.ID)
	}
	for _, m := range t.Move {
		ids = append(ids, m.To.ID)
	}
	slices.SortFunc(ids, cellstate.ClaimID.Compare)
	return ids
}

// answered returns every claim that a verdict names, sorted, as often as it does.
func answered(v cellstate.Verdict) []cellstate.ClaimID {
	ids := slices.Clone(v.Committed)
	for _, c := range v.Conflicts {
		ids = append(ids, c.ID)
	}
	slices.SortFunc(ids, cellstate.ClaimID.Compare)
	return ids
}

// describe gives a verdict as "+0 +1 -2:full": committed and refused tasks in order.
func describe(v cellstate.Verdict) string {
	type line struct {
		task uint32
		text string
	}
	var lines []line
	for _, id := range v.Committed {
		lines = append(lines, line{id.Task, fmt.Sprintf("+%d", id.Task)})
	}
	for _, c := range v.Conflicts {
		lines = append(lines, line{c.ID.Task, fmt.Sprintf("-%d:%s", c.ID.Task, c.Reason)})
	}
	slices.SortStableFunc(lines, func(a, b line) int { return cmp.Compare(a.task, b.task) })
	out := ""
	for i, l := range lines {
		if i > 0 {
			out += " "
		}
		out += l.text
	}
	return out
}

// tasks lists the tasks whose claims stand in a ledger, in order.
func tasks(l *cellstate.Ledger) string {
	out := ""
	for i := range l.Claims {
		if i > 0 {
			out += " "
		}
		out += fmt.Sprint(l.Claims[i].ID.Task)
	}
	return out
}
