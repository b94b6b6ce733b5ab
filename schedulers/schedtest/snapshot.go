package schedtest

import (
	"iter"
	"slices"
	"strings"

	"github.com/omegacell/omegacell/cellstate"
)

// Snapshot is a [cellstate.Snapshot] made from a listing of a whole cell, for tests: simple rather than fast.
type Snapshot struct {
	rev        int64
	views      []*cellstate.MachineView
	jobs       []*cellstate.Job
	statuses   map[cellstate.Key]*cellstate.JobStatus
	tenants    map[string]*cellstate.Tenant
	schedulers map[string]*cellstate.Scheduler
}

var _ cellstate.Snapshot = (*Snapshot)(nil)

// NewSnapshot sorts a listing out. lostAt says since when machines have been without a session.
func NewSnapshot(l cellstate.Listing, lostAt map[string]cellstate.Instant) *Snapshot {
	s := &Snapshot{
		rev: l.Rev, statuses: make(map[cellstate.Key]*cellstate.JobStatus),
		tenants: make(map[string]*cellstate.Tenant), schedulers: make(map[string]*cellstate.Scheduler),
	}
	views := make(map[string]*cellstate.MachineView)
	view := func(name string) *cellstate.MachineView {
		if views[name] == nil {
			views[name] = &cellstate.MachineView{LostAt: lostAt[name]}
		}
		return views[name]
	}
	for _, r := range l.Records {
		switch v := r.Value.(type) {
		case *cellstate.Ledger:
			view(v.Machine).Ledger = v
		case *cellstate.Machine:
			view(v.Name).Machine = v
		case *cellstate.Session:
			view(v.Machine).Session = v
		case *cellstate.Report:
			view(v.Machine).Report = v
		case *cellstate.Job:
			s.jobs = append(s.jobs, v)
		case *cellstate.JobStatus:
			s.statuses[v.Key()] = v
		case *cellstate.Tenant:
			s.tenants[v.Name] = v
		case *cellstate.Scheduler:
			s.schedulers[v.Name] = v
		}
	}
	for _, v := range views {
		if v.Ledger == nil {
			continue
		}
		if v.Session != nil {
			v.LostAt = 0
		}
		s.views = append(s.views, v)
	}
	slices.SortFunc(s.views, func(a, b *cellstate.MachineView) int { return strings.Compare(a.Name(), b.Name()) })
	for i, v := range s.views {
		v.Slot = i
	}
	slices.SortFunc(s.jobs, func(a, b *cellstate.Job) int { return a.Key().Compare(b.Key()) })
	return s
}

func (s *Snapshot) Rev() int64                      { return s.rev }
func (s *Snapshot) AsOf() cellstate.Instant         { return 0 } // a listing does not say when it was made
func (s *Snapshot) Len() int                        { return len(s.views) }
func (s *Snapshot) At(i int) *cellstate.MachineView { return s.views[i] }

func (s *Snapshot) Ledger(machine string) (*cellstate.Ledger, bool) {
	m, ok := s.Machine(machine)
	if !ok {
		return nil, false
	}
	return m.Ledger, true
}

func (s *Snapshot) Machine(name string) (*cellstate.MachineView, bool) {
	i, ok := slices.BinarySearchFunc(s.views, name, func(v *cellstate.MachineView, n string) int { return strings.Compare(v.Name(), n) })
	if !ok {
		return nil, false
	}
	return s.views[i], true
}

func (s *Snapshot) Job(scheduler, name string) (*cellstate.Job, *cellstate.JobStatus, bool) {
	for j, st := range s.Jobs(scheduler) {
		if j.Name == name {
			return j, st, true
		}
	}
	return nil, nil, false
}

func (s *Snapshot) Jobs(scheduler string) iter.Seq2[*cellstate.Job, *cellstate.JobStatus] {
	return func(yield func(*cellstate.Job, *cellstate.JobStatus) bool) {
		for _, j := range s.jobs {
			if (scheduler == "" || j.Scheduler == scheduler) && !yield(j, s.statuses[cellstate.StatusKey(j.Scheduler, j.Name)]) {
				return
			}
		}
	}
}

func (s *Snapshot) Claims(scheduler, job string) iter.Seq[cellstate.ClaimView] {
	return func(yield func(cellstate.ClaimView) bool) {
		for _, m := range s.views {
			for i := range m.Ledger.Claims {
				c := &m.Ledger.Claims[i]
				if c.ID.Scheduler == scheduler && c.ID.Job == job &&
					!yield(cellstate.ClaimView{Claim: c, Status: m.Report.Find(c.ID), Machine: m}) {
					return
				}
			}
		}
	}
}

func (s *Snapshot) Tenant(name string) (*cellstate.Tenant, bool) {
	t, ok := s.tenants[name]
	return t, ok
}

func (s *Snapshot) Scheduler(name string) (*cellstate.Scheduler, bool) {
	c, ok := s.schedulers[name]
	return c, ok
}
