package schedulers_test

import (
	"fmt"
	"time"

	"github.com/omegacell/omegacell/cellstate"
)

// name draws a scheduler and one of its few job names, so that names are used again.
func (s *sim) name() (scheduler, name string) {
	if s.oneIn(4) {
		return "service", fmt.Sprintf("s%d", s.below(2))
	}
	return "batch", fmt.Sprintf("b%d", s.below(5))
}

// submitSome submits a job, anew where one of the name has ended.
func (s *sim) submitSome() {
	scheduler, name := s.name()
	job, status := s.get(cellstate.JobKey(scheduler, name)), s.get(cellstate.StatusKey(scheduler, name))
	old, _ := job.Value.(*cellstate.Job)
	st, _ := status.Value.(*cellstate.JobStatus)
	if old != nil && (st == nil || st.Run != old.Run || !st.Phase.Final()) {
		return
	}
	now := cellstate.InstantOf(time.Now())
	j := &cellstate.Job{
		Scheduler: scheduler, Name: name, Run: uint32(s.below(1 << 30)), Version: 1, Tenant: cellstate.DefaultTenant,
		Precedence: cellstate.BandBatch.Lowest(), Tasks: 1 + uint32(s.below(4)), Retries: uint32(s.below(3)), SubmittedAt: now,
		Task:       cellstate.TaskSpec{Resources: cellstate.Resources{CPUMilli: 200 * int64(1+s.below(3))}},
		Disconnect: cellstate.DisconnectPolicy{ReplaceAfter: 2 * time.Second},
	}
	if scheduler == "batch" && s.oneIn(3) {
		j.GangMin = j.Tasks
	}
	puts := []cellstate.Put{{Value: j}}
	if st != nil {
		puts = append(puts, cellstate.Put{Value: &cellstate.JobStatus{
			Scheduler: scheduler, Job: name, Run: j.Run, Version: 1, Phase: cellstate.JobPending, UpdatedAt: now,
		}})
	}
	if s.write(job, status, puts, nil, j.Demand()) && old != nil {
		s.count("resubmitted", 1)
	}
}

// change updates, resizes or stops a live job, or deletes one that has ended and holds nothing.
func (s *sim) change() {
	scheduler, name := s.name()
	job, status := s.get(cellstate.JobKey(scheduler, name)), s.get(cellstate.StatusKey(scheduler, name))
	old, _ := job.Value.(*cellstate.Job)
	if old == nil {
		return
	}
	st, _ := status.Value.(*cellstate.JobStatus)
	n := *old
	what := "updated"
	switch final := st != nil && st.Run == old.Run && st.Phase.Final(); {
	case final && s.holdsNothing(scheduler, name):
		if s.write(job, status, nil, []cellstate.Key{job.Key, status.Key}, cellstate.Resources{}) {
			s.count("deleted", 1)
		}
		return
	case final || old.Stopped:
		return
	case s.oneIn(4):
		n.Stopped, what = true, "stopped"
	case s.oneIn(2):
		n.Version++
	case n.GangMin == 0:
		n.Tasks = 1 + uint32(s.below(4))
	}
	more := n.Demand()
	if s.write(job, status, []cellstate.Put{{Value: &n}}, nil, more.Sub(old.Demand())) {
		s.count(what, 1)
	}
}

func (s *sim) holdsNothing(scheduler, name string) bool {
	for _, l := range s.ledgers() {
		for i := range l.Claims {
			if id := l.Claims[i].ID; id.Scheduler == scheduler && id.Job == name {
				return false
			}
		}
	}
	return true
}

// write writes what a submitter decided, and what it means for the quota, unless a scheduler was faster.
func (s *sim) write(job, status cellstate.Record, puts []cellstate.Put, deletes []cellstate.Key, more cellstate.Resources) bool {
	tenant := s.get(cellstate.TenantKey(cellstate.DefaultTenant))
	t := *tenant.Value.(*cellstate.Tenant)
	t.Bands = []cellstate.BandQuota{t.Bands[0]}
	t.Bands[0].Admitted = t.Bands[0].Admitted.Add(more)
	return s.swap(cellstate.Swap{
		Guards: []cellstate.Guard{{Key: job.Key, Rev: job.Rev}, {Key: status.Key, Rev: status.Rev}, {Key: tenant.Key, Rev: tenant.Rev}},
		Put:    append(puts, cellstate.Put{Value: &t}), Delete: deletes,
	})
}
