package mirror

import (
	"iter"
	"slices"
	"strings"

	"github.com/hashicorp/go-memdb"

	"github.com/omegacell/omegacell/cellstate"
)

// snapshot is the cell at one revision. Nothing in it is ever changed.
type snapshot struct {
	rev    int64
	asOf   cellstate.Instant
	hosts  vector[host]                // by slot
	names  names                       // the slots of the hosts
	tables *memdb.Txn                  // jobs and all that is left; reads only, safe for many goroutines
	bad    map[string]cellstate.Record // quarantined records, by badName

	indexed []string // the schedulers whose claims are indexed; nil: all
}

// badName names a record: by its key, or as the store spells it where the key itself cannot be read.
func badName(r *cellstate.Record) string {
	if r.Key.Kind == 0 {
		return r.Raw
	}
	return r.Key.String()
}

var _ cellstate.Snapshot = (*snapshot)(nil)

func (s *snapshot) Rev() int64              { return s.rev }
func (s *snapshot) AsOf() cellstate.Instant { return s.asOf }
func (s *snapshot) Len() int                { return s.hosts.n }

func (s *snapshot) At(i int) *cellstate.MachineView {
	if h := s.hosts.at(i); h != nil && h.Ledger != nil {
		return &h.MachineView
	}
	return nil
}

func (s *snapshot) Machine(name string) (*cellstate.MachineView, bool) {
	slot, ok := s.names.find(name)
	if !ok {
		return nil, false
	}
	m := s.At(slot)
	return m, m != nil
}

func (s *snapshot) Ledger(machine string) (*cellstate.Ledger, bool) {
	m, ok := s.Machine(machine)
	if !ok {
		return nil, false
	}
	return m.Ledger, true
}

func (s *snapshot) Job(scheduler, name string) (*cellstate.Job, *cellstate.JobStatus, bool) {
	if e := findJob(s.tables, jobName{scheduler, name}); e != nil && e.job != nil {
		return e.job, e.status, true
	}
	return nil, nil, false
}

func (s *snapshot) Jobs(scheduler string) iter.Seq2[*cellstate.Job, *cellstate.JobStatus] {
	return func(yield func(*cellstate.Job, *cellstate.JobStatus) bool) {
		var scope []any
		if scheduler != "" {
			scope = []any{scheduler}
		}
		for e := range all[jobEntry](s.tables, tableJob, scope...) {
			if e.job != nil && !yield(e.job, e.status) {
				return
			}
		}
	}
}

func (s *snapshot) Claims(scheduler, job string) iter.Seq[cellstate.ClaimView] {
	return func(yield func(cellstate.ClaimView) bool) {
		j := jobName{scheduler, job}
		for _, slot := range s.slotsOf(j) {
			m := s.At(int(slot))
			claims := claimsOfJob(m.Ledger.Claims, j)
			for i := range claims {
				c := &claims[i]
				if !yield(cellstate.ClaimView{Claim: c, Status: m.Report.Find(c.ID), Machine: m}) {
					return
				}
			}
		}
	}
}

// slotsOf returns the slots of the machines with claims of a job, by machine name. It looks at all of them where the
// scheduler's claims are not indexed.
func (s *snapshot) slotsOf(j jobName) []int32 {
	if isIndexed(s.indexed, j.scheduler) {
		if e := findJob(s.tables, j); e != nil {
			return e.slots
		}
		return nil
	}
	var slots []int32
	for i := range s.hosts.n {
		if m := s.At(i); m != nil && len(claimsOfJob(m.Ledger.Claims, j)) > 0 {
			slots = append(slots, int32(i))
		}
	}
	slices.SortFunc(slots, func(a, b int32) int { return strings.Compare(s.hosts.at(int(a)).name, s.hosts.at(int(b)).name) })
	return slots
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
	if ofHost(k.Kind) {
		if slot, ok := s.names.find(k.Name); ok {
			return s.hosts.at(slot).value(k.Kind)
		}
		return nil, 0
	}
	if ofJob(k.Kind) {
		if e := findJob(s.tables, jobName{k.Scope, k.Name}); e != nil {
			return e.value(k.Kind)
		}
		return nil, 0
	}
	if r := rowOf(s.tables, k); r != nil {
		return r.value, r.rev
	}
	return nil, 0
}

// keys yields every key that the snapshot holds a value at.
func (s *snapshot) keys() iter.Seq[cellstate.Key] {
	return func(yield func(cellstate.Key) bool) {
		for i := range s.hosts.n {
			h := s.hosts.at(i)
			for kind := cellstate.Kind(1); h != nil && kind <= hostKinds; kind++ {
				if v, _ := h.value(kind); v != nil && !yield(v.Key()) {
					return
				}
			}
		}
		for e := range all[jobEntry](s.tables, tableJob) {
			for _, kind := range [...]cellstate.Kind{cellstate.KindJob, cellstate.KindStatus} {
				if v, _ := e.value(kind); v != nil && !yield(v.Key()) {
					return
				}
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
