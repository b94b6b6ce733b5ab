package sim

import (
	"iter"

	"github.com/omegacell/omegacell/cellstate"
)

// snapshot is the cell at one revision, with what is planned beside it.
type snapshot struct {
	cell    *cell
	rev     int64
	planned map[int]*cellstate.MachineView // instead of what the cell holds; nil for nothing
	only    []cellstate.Resources          // by machine, of what is free: what of it may be seen; nil for all
}

var _ cellstate.Snapshot = (*snapshot)(nil)

func (s *snapshot) Rev() int64              { return s.rev }
func (s *snapshot) AsOf() cellstate.Instant { return 0 }
func (s *snapshot) Len() int                { return len(s.cell.now) }

func (s *snapshot) At(i int) *cellstate.MachineView {
	if s.planned != nil {
		if v := s.planned[i]; v != nil {
			return v
		}
	}
	v := &(*s.cell.at(i, s.rev)).view
	if s.only != nil {
		return s.hide(i, v)
	}
	return v
}

// hide returns the machine with all taken that is free and may not be seen.
func (s *snapshot) hide(i int, v *cellstate.MachineView) *cellstate.MachineView {
	hidden := v.Ledger.Capacity.Sub(v.Ledger.Used()).Sub(s.only[i])
	if hidden.IsZero() {
		return v
	}
	s.plan(cellstate.Claim{ID: cellstate.ClaimID{Scheduler: "offers", Job: "others"}, Machine: v.Name(), Resources: hidden}, v)
	return s.planned[i]
}

func (s *snapshot) Machine(name string) (*cellstate.MachineView, bool) {
	i, ok := s.cell.slotOf(name)
	if !ok {
		return nil, false
	}
	return s.At(i), true
}

func (s *snapshot) Ledger(name string) (*cellstate.Ledger, bool) {
	m, ok := s.Machine(name)
	if !ok {
		return nil, false
	}
	return m.Ledger, true
}

// plan puts a claim beside what a machine holds.
func (s *snapshot) plan(c cellstate.Claim, on *cellstate.MachineView) {
	v := *on
	v.Ledger = v.Ledger.With(c)
	if s.planned == nil {
		s.planned = make(map[int]*cellstate.MachineView)
	}
	s.planned[v.Slot] = &v
}

// The cell has machines and nothing else.

func (s *snapshot) Job(string, string) (*cellstate.Job, *cellstate.JobStatus, bool) {
	return nil, nil, false
}

func (s *snapshot) Jobs(string) iter.Seq2[*cellstate.Job, *cellstate.JobStatus] {
	return func(func(*cellstate.Job, *cellstate.JobStatus) bool) {}
}

func (s *snapshot) Claims(string, string) iter.Seq[cellstate.ClaimView] {
	return func(func(cellstate.ClaimView) bool) {}
}

func (s *snapshot) Tenant(string) (*cellstate.Tenant, bool)       { return nil, false }
func (s *snapshot) Scheduler(string) (*cellstate.Scheduler, bool) { return nil, false }
