package audit

import (
	"cmp"
	"fmt"
	"slices"
)

// MaxFindings bounds the violations, and the notes, that a report lists. The counts go on.
const MaxFindings = 1000

// Report is what an audit read and found.
type Report struct {
	From       int64     // the first revision read: all that stood there was checked
	To         int64     // the last
	Revisions  int       // between them that changed the cell
	Keys       int       // present at the end
	Ledgers    int       // values of ledgers checked
	Claims     int       // different claims seen
	Violations []Finding // at most MaxFindings, by revision
	Notes      []Finding // worth knowing, and no breach: at most MaxFindings
	Violated   int       // all violations
	Noted      int       // all notes
}

// Finding is one thing found.
type Finding struct {
	Rev       int64
	Invariant string // "I1" … as in ARCHITECTURE.md, "corrupt" or "orphan"
	Key       string // that shows it, as etcd spells it below the cell, or for people
	Text      string
}

func (f Finding) String() string {
	return fmt.Sprintf("rev %d %s %s: %s", f.Rev, f.Invariant, f.Key, f.Text)
}

// findings collects, each finding once.
type findings struct {
	violations, notes list
}

type list struct {
	all  []Finding
	n    int
	seen map[Finding]bool // without the revision
}

func (l *list) add(f Finding) {
	key := f
	key.Rev = 0
	if l.seen[key] {
		return
	}
	if l.seen == nil {
		l.seen = make(map[Finding]bool)
	}
	if l.n++; l.n > MaxFindings {
		return
	}
	l.seen[key] = true
	l.all = append(l.all, f)
}

func (l *list) sorted() []Finding {
	slices.SortStableFunc(l.all, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Rev, b.Rev), cmp.Compare(a.Invariant, b.Invariant), cmp.Compare(a.Key, b.Key))
	})
	return l.all
}
