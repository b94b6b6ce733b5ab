package mirror

import (
	"slices"
	"sort"
	"strings"

	"github.com/omegacell/omegacell/cellstate"
)

// The index of claims by job says for each job on which machines it has claims. Most updates of a ledger change it not at
// all: only those by which a job's first claim comes to a machine or its last one goes.

func jobOf(id *cellstate.ClaimID) jobName { return jobName{id.Scheduler, id.Job} }

// spread collects what one batch changes in the index, so that each job's part is written once however many machines changed.
type spread struct {
	indexed []string        // the schedulers whose claims are indexed; nil: all
	jobs    map[jobName]int // where a job is in shifts; nil while they are few
	shifts  []shift         // in the order in which their jobs were first met
}

// fewJobs is how many jobs are looked through one by one.
const fewJobs = 8

// shift is where a job's claims came and went.
type shift struct {
	jobName
	came, left []int32
}

// isIndexed reports whether the claims of a scheduler are in an index of those of some.
func isIndexed(some []string, scheduler string) bool {
	return some == nil || slices.Contains(some, scheduler)
}

// ledger counts in that a machine's claims were those of old and are those of l; either may be nil.
func (s *spread) ledger(slot int, old, l *cellstate.Ledger) {
	var a, b []cellstate.Claim
	if old != nil {
		a = old.Claims
	}
	if l != nil {
		b = l.Claims
	}
	if s.indexed == nil {
		s.claims(slot, a, b)
		return
	}
	for _, scheduler := range s.indexed {
		s.claims(slot, ofScheduler(a, scheduler), ofScheduler(b, scheduler))
	}
}

// ofScheduler returns the claims of one scheduler, which stand side by side.
func ofScheduler(c []cellstate.Claim, scheduler string) []cellstate.Claim {
	from, found := sort.Find(len(c), func(i int) int { return strings.Compare(scheduler, c[i].ID.Scheduler) })
	if !found {
		return nil
	}
	to := from + 1
	for to < len(c) && c[to].ID.Scheduler == scheduler {
		to++
	}
	return c[from:to]
}

// claims walks over the claims before and after, which are sorted by job, and so sees the jobs that came and went.
func (s *spread) claims(slot int, a, b []cellstate.Claim) {
	for len(a) > 0 || len(b) > 0 {
		order := 0 // which job comes next: a's (-1), b's (1) or the same in both
		switch {
		case len(a) == 0:
			order = 1
		case len(b) == 0:
			order = -1
		default:
			order = jobOf(&a[0].ID).compare(jobOf(&b[0].ID))
		}
		if order < 0 {
			sh := s.of(jobOf(&a[0].ID))
			sh.left = append(sh.left, int32(slot))
		}
		if order > 0 {
			sh := s.of(jobOf(&b[0].ID))
			sh.came = append(sh.came, int32(slot))
		}
		if order <= 0 {
			a = afterJob(a)
		}
		if order >= 0 {
			b = afterJob(b)
		}
	}
}

func (s *spread) of(j jobName) *shift {
	if s.jobs == nil {
		for i := range s.shifts {
			if s.shifts[i].jobName == j {
				return &s.shifts[i]
			}
		}
	} else if i, ok := s.jobs[j]; ok {
		return &s.shifts[i]
	}
	s.shifts = append(s.shifts, shift{jobName: j})
	switch n := len(s.shifts); {
	case s.jobs != nil:
		s.jobs[j] = n - 1
	case n > fewJobs:
		s.jobs = make(map[jobName]int)
		for i := range s.shifts {
			s.jobs[s.shifts[i].jobName] = i
		}
	}
	return &s.shifts[len(s.shifts)-1]
}

// after returns a job's slots after the shift. name gives the machine in a slot.
func (s *shift) after(slots []int32, name func(slot int32) string) []int32 {
	byName := func(a, b int32) int { return strings.Compare(name(a), name(b)) }
	for _, list := range [][]int32{s.came, s.left} {
		if !slices.IsSortedFunc(list, byName) {
			slices.SortFunc(list, byName)
		}
	}
	if len(slots) == 0 {
		return s.came
	}
	came, left := s.came, s.left
	out := make([]int32, 0, len(slots)+len(came)-len(left))
	for len(came) > 0 || len(left) > 0 {
		goes := len(came) == 0 || len(left) > 0 && byName(left[0], came[0]) < 0
		next := &came
		if goes {
			next = &left
		}
		slot := (*next)[0]
		*next = (*next)[1:]
		i, _ := slices.BinarySearchFunc(slots, slot, byName)
		out = append(out, slots[:i]...)
		if slots = slots[i:]; goes {
			slots = slots[1:]
		} else {
			out = append(out, slot)
		}
	}
	return append(out, slots...)
}

// afterJob returns the claims after those of the first one's job.
func afterJob(c []cellstate.Claim) []cellstate.Claim {
	i := 1
	for i < len(c) && c[i].ID.Job == c[0].ID.Job && c[i].ID.Scheduler == c[0].ID.Scheduler {
		i++
	}
	return c[i:]
}

// claimsOfJob returns the claims of a job, which stand side by side.
func claimsOfJob(c []cellstate.Claim, j jobName) []cellstate.Claim {
	first := cellstate.ClaimID{Scheduler: j.scheduler, Job: j.job}
	i, _ := sort.Find(len(c), func(i int) int { return first.Compare(c[i].ID) })
	if c = c[i:]; len(c) == 0 || jobOf(&c[0].ID) != j {
		return nil
	}
	return c[:len(c)-len(afterJob(c))]
}
