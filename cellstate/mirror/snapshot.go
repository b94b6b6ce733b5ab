package mirror

import (
	"iter"
	"slices"

	"github.com/hashicorp/go-memdb"

	"github.com/omegacell/omegacell/cellstate"
)

// snapshot is the cell at one revision. Nothing in it is ever changed.
type snapshot struct {
	rev    int64
	tables *memdb.Txn // reads only; safe for many goroutines
	slots  slots
	bad    map[string]cellstate.Record // quarantined records, by badName
}

// badName names a record: by its key, or as the store spells it where the key itself cannot be read.
func badName(r *cellstate.Record) string {
	if r.Key.Kind == 0 {
		return r.Raw
	}
	return r.Key.String()
}

var _ cellstate.Snapshot = (*snapshot)(nil)

func (s *snapshot) Rev() int64                      { return s.rev }
func (s *snapshot) Len() int                        { return s.slots.n }
func (s *snapshot) At(i int) *cellstate.MachineView { return s.slots.at(i) }

func (s *snapshot) Machine(name string) (*cellstate.MachineView, bool) {
	p := first[place](s.tables, tableSlot, name)
	if p == nil {
		return nil, false
	}
	return s.slots.at(p.slot), true
}

func (s *snapshot) Ledger(machine string) (*cellstate.Ledger, bool) {
	m, ok := s.Machine(machine)
	if !ok {
		return nil, false
	}
	return m.Ledger, true
}

func (s *snapshot) Job(scheduler, name string) (*cellstate.Job, *cellstate.JobStatus, bool) {
	j := valueOf[*cellstate.Job](rowOf(s.tables, cellstate.JobKey(scheduler, name)))
	if j == nil {
		return nil, nil, false
	}
	return j, valueOf[*cellstate.JobStatus](rowOf(s.tables, cellstate.StatusKey(scheduler, name))), true
}

func (s *snapshot) Jobs(scheduler string) iter.Seq2[*cellstate.Job, *cellstate.JobStatus] {
	var scope []any
	if scheduler != "" {
		scope = []any{scheduler}
	}
	return func(yield func(*cellstate.Job, *cellstate.JobStatus) bool) {
		for r := range all[row](s.tables, cellstate.KindJob.String(), scope...) {
			status := rowOf(s.tables, cellstate.StatusKey(r.key.Scope, r.key.Name))
			if !yield(r.value.(*cellstate.Job), valueOf[*cellstate.JobStatus](status)) {
				return
			}
		}
	}
}

func (s *snapshot) Claims(scheduler, job string) iter.Seq[cellstate.ClaimView] {
	return func(yield func(cellstate.ClaimView) bool) {
		for p := range all[placement](s.tables, tablePlacement, scheduler, job) {
			m := s.slots.at(p.slot)
			claims := m.Ledger.Claims
			first := cellstate.ClaimID{Scheduler: scheduler, Job: job}
			i, _ := slices.BinarySearchFunc(claims, first, func(c cellstate.Claim, id cellstate.ClaimID) int { return c.ID.Compare(id) })
			for ; i < len(claims) && claims[i].ID.Scheduler == scheduler && claims[i].ID.Job == job; i++ {
				c := &claims[i]
				if !yield(cellstate.ClaimView{Claim: c, Status: m.Report.Find(c.ID), Machine: m}) {
					return
				}
			}
		}
	}
}

func (s *snapshot) Tenant(name string) (*cellstate.Tenant, bool) {
	t := valueOf[*cellstate.Tenant](rowOf(s.tables, cellstate.TenantKey(name)))
	return t, t != nil
}

func (s *snapshot) Scheduler(name string) (*cellstate.Scheduler, bool) {
	c := valueOf[*cellstate.Scheduler](rowOf(s.tables, cellstate.SchedulerKey(name)))
	return c, c != nil
}

// record returns what the snapshot holds at a key, and its revision; nil where it holds nothing.
func (s *snapshot) record(k cellstate.Key) (cellstate.Value, int64) {
	if k.Kind == cellstate.KindLedger {
		if l, ok := s.Ledger(k.Name); ok {
			return l, l.Rev
		}
		return nil, 0
	}
	if r := rowOf(s.tables, k); r != nil {
		return r.value, r.rev
	}
	return nil, 0
}

// keys yields every key that the snapshot holds a value at, by kind and name.
func (s *snapshot) keys() iter.Seq[cellstate.Key] {
	return func(yield func(cellstate.Key) bool) {
		for p := range all[place](s.tables, tableSlot) {
			if !yield(cellstate.LedgerKey(p.machine)) {
				return
			}
		}
		for _, kind := range rowKinds() {
			for r := range all[row](s.tables, kind.String()) {
				if !yield(r.key) {
					return
				}
			}
		}
	}
}

// valueOf returns the row's value, or nil where there is no row.
func valueOf[T cellstate.Value](r *row) T {
	if r == nil {
		var none T
		return none
	}
	return r.value.(T)
}
