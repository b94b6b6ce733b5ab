package mirror

import (
	"strings"

	"github.com/hashicorp/go-memdb"

	"github.com/omegacell/omegacell/cellstate"
)

// jobName names a job in the cell.
type jobName struct{ scheduler, job string }

func (j jobName) compare(o jobName) int {
	if j.scheduler != o.scheduler {
		return strings.Compare(j.scheduler, o.scheduler)
	}
	return strings.Compare(j.job, o.job)
}

// jobEntry is all that a snapshot holds of one job.
type jobEntry struct {
	jobName
	job               *cellstate.Job       // nil: none
	status            *cellstate.JobStatus // nil: none
	jobRev, statusRev int64
	slots             []int32 // of the machines with claims of the job, by machine name
}

// ofJob reports whether records of the kind lie in a jobEntry.
func ofJob(k cellstate.Kind) bool { return k == cellstate.KindJob || k == cellstate.KindStatus }

// value returns what the entry holds of a kind, and its revision; nil where it holds nothing.
func (e *jobEntry) value(k cellstate.Kind) (cellstate.Value, int64) {
	switch {
	case k == cellstate.KindJob && e.job != nil:
		return e.job, e.jobRev
	case k == cellstate.KindStatus && e.status != nil:
		return e.status, e.statusRev
	}
	return nil, 0
}

func (e *jobEntry) put(k cellstate.Kind, v cellstate.Value, rev int64) {
	if k == cellstate.KindJob {
		e.job, _ = v.(*cellstate.Job)
		e.jobRev = rev
		return
	}
	e.status, _ = v.(*cellstate.JobStatus)
	e.statusRev = rev
}

func (e *jobEntry) empty() bool { return e.job == nil && e.status == nil && len(e.slots) == 0 }

func (e *jobEntry) index() []byte { return joined(e.scheduler, e.jobName.job) }

// jobsEdit collects what one batch changes of jobs, so that each is written once however many of its claims moved. Entries are
// read from the snapshot before the batch: a read inside a write transaction of memdb makes the writes after it slow.
type jobsEdit struct {
	before  *memdb.Txn
	changed map[jobName]*jobEntry
}

// change returns a copy of a job's entry, an empty one where there is none, to be changed.
func (t *jobsEdit) change(name jobName) *jobEntry {
	e := t.changed[name]
	if e == nil {
		e = &jobEntry{jobName: name}
		if was := findJob(t.before, name); was != nil {
			*e = *was
		}
		if t.changed == nil {
			t.changed = make(map[jobName]*jobEntry)
		}
		t.changed[name] = e
	}
	return e
}

// write puts the changed entries into their table, and takes those out of which nothing is left.
func (t *jobsEdit) write(tables *memdb.Txn) {
	for name, e := range t.changed {
		if !e.empty() {
			must(tables.Insert(tableJob, e))
		} else if findJob(t.before, name) != nil {
			must(tables.Delete(tableJob, e))
		}
	}
}

// findJob returns a job's entry, or nil.
func findJob(tables *memdb.Txn, name jobName) *jobEntry {
	return first[jobEntry](tables, tableJob, name.scheduler, name.job)
}
