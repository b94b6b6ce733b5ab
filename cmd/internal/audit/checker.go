package audit

import (
	"fmt"
	"slices"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cmd/internal/history"
)

// Checker takes in a cell's history, revision by revision, and keeps what breaks an invariant.
type Checker struct {
	rev      int64 // being checked
	base     bool  // it is the first, of whose past nothing is known
	report   Report
	found    findings
	values   map[cellstate.Key]cellstate.Value
	corrupt  map[string]bool // raw keys whose values cannot be read at present
	claims   map[cellstate.ClaimID]*life
	gangs    map[run]bool                  // shown whole, or not, at their first revision: not looked at again
	over     map[string]bool               // machines known to hold more than they have
	quotas   map[quota]cellstate.Resources // what live jobs ask for
	counted  map[jobName]counted           // what each job counts for in quotas
	jobsGone map[jobName]bool

	// of the revision being checked
	touched struct {
		machines map[string]bool
		claims   map[cellstate.ClaimID]bool
		tenants  map[string]*cellstate.Tenant // as they were before
		placed   map[run]*placed
	}
}

// jobName names a job for all its runs; run names one of them.
type (
	jobName struct{ scheduler, job string }
	run     struct {
		jobName
		run uint32
	}
	quota struct {
		tenant string
		band   cellstate.Band
	}
)

func (j jobName) String() string { return j.scheduler + "/" + j.job }

// life is what is known of one claim.
type life struct {
	machines []string // whose ledgers hold it now
	ended    bool     // it has been marked ended
}

// placed is how much of a gang came in one revision.
type placed struct {
	min     uint32
	machine string // one of them
	tasks   map[uint32]bool
}

// NewChecker returns a checker that has seen nothing.
func NewChecker() *Checker {
	return &Checker{
		values: make(map[cellstate.Key]cellstate.Value), corrupt: make(map[string]bool),
		claims: make(map[cellstate.ClaimID]*life), gangs: make(map[run]bool), over: make(map[string]bool),
		quotas: make(map[quota]cellstate.Resources), counted: make(map[jobName]counted), jobsGone: make(map[jobName]bool),
	}
}

// Apply checks the next revision: first the base, then each that changed anything.
func (c *Checker) Apply(r history.Revision) {
	c.rev, c.base = r.Rev, r.Base
	if c.report.From == 0 {
		c.report.From = r.Rev
	}
	c.report.To = max(c.report.To, r.Rev)
	if r.Head {
		return
	}
	if !r.Base {
		c.report.Revisions++
	}
	c.touched.machines = make(map[string]bool)
	c.touched.claims = make(map[cellstate.ClaimID]bool)
	c.touched.tenants = make(map[string]*cellstate.Tenant)
	c.touched.placed = make(map[run]*placed)
	// The values first, as the rules look at several keys of one revision.
	var changes []cellstate.Change
	for i := range r.Entries {
		if ch, ok := c.enter(&r.Entries[i]); ok {
			changes = append(changes, ch)
		}
	}
	for _, ch := range changes {
		c.compare(ch)
	}
	c.checkPlaces()
	c.checkGangs()
	c.checkEnds()
	c.checkQuotas()
}

// enter takes in one value. One that cannot be read is named, and what stood there before is still taken for what is known,
// so that one fault is not reported as many.
func (c *Checker) enter(e *history.Entry) (cellstate.Change, bool) {
	if e.Err != nil {
		c.corrupt[e.Raw] = true
		c.violation("corrupt", e.Raw, "%v", e.Err)
		return cellstate.Change{}, false
	}
	delete(c.corrupt, e.Raw)
	old := c.values[e.Key]
	if e.Deleted {
		delete(c.values, e.Key)
	} else {
		c.values[e.Key] = e.Value
	}
	switch e.Key.Kind {
	case cellstate.KindTenant:
		t, _ := old.(*cellstate.Tenant)
		c.touched.tenants[e.Key.Name] = t
	case cellstate.KindJob:
		c.jobsGone[jobName{e.Key.Scope, e.Key.Name}] = e.Deleted
	}
	return cellstate.Change{Key: e.Key, Old: old, New: e.Value}, true
}

func (c *Checker) compare(ch cellstate.Change) {
	switch ch.Key.Kind {
	case cellstate.KindLedger:
		old, _ := ch.Old.(*cellstate.Ledger)
		now, _ := ch.New.(*cellstate.Ledger)
		c.ledger(ch.Key.Name, old, now)
	case cellstate.KindReport:
		old, _ := ch.Old.(*cellstate.Report)
		now, _ := ch.New.(*cellstate.Report)
		c.reported(ch.Key.Name, old, now)
	case cellstate.KindJob:
		c.count(jobName{ch.Key.Scope, ch.Key.Name})
	case cellstate.KindStatus:
		old, _ := ch.Old.(*cellstate.JobStatus)
		now, _ := ch.New.(*cellstate.JobStatus)
		c.status(old, now)
		c.count(jobName{ch.Key.Scope, ch.Key.Name})
	}
}

func (c *Checker) violation(invariant, key, format string, args ...any) {
	c.found.violations.add(Finding{Rev: c.rev, Invariant: invariant, Key: key, Text: fmt.Sprintf(format, args...)})
}

func (c *Checker) note(invariant, key, format string, args ...any) {
	c.found.notes.add(Finding{Rev: c.rev, Invariant: invariant, Key: key, Text: fmt.Sprintf(format, args...)})
}

// Report returns what was found up to now. What only the last revision can show, such as a claim whose job is gone or a task
// without a state, is looked for as of that revision.
func (c *Checker) Report() Report {
	end := Checker{rev: c.report.To, values: c.values, jobsGone: c.jobsGone}
	for _, l := range []*list{&c.found.violations, &c.found.notes} {
		l.all = slices.Clip(l.all)
	}
	end.found.violations = list{all: c.found.violations.all, n: c.found.violations.n}
	end.found.notes = list{all: c.found.notes.all, n: c.found.notes.n}
	end.orphans()
	for _, f := range c.Unaccounted() {
		end.found.violations.add(f)
	}
	r := c.report
	r.Keys, r.Claims = len(c.values)+len(c.corrupt), len(c.claims)
	r.Violations, r.Violated = end.found.violations.sorted(), end.found.violations.n
	r.Notes, r.Noted = end.found.notes.sorted(), end.found.notes.n
	return r
}
