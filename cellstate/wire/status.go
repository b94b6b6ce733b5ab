package wire

import (
	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/cellpb"
)

func statusTo(v *cellstate.JobStatus) *cellpb.JobStatus {
	m := &cellpb.JobStatus{
		Scheduler:           v.Scheduler,
		Job:                 v.Job,
		Run:                 v.Run,
		Version:             v.Version,
		Phase:               cellpb.JobPhase(v.Phase),
		Running:             v.Running,
		Placed:              v.Placed,
		Explanation:         explanationTo(v.Explanation),
		Message:             v.Message,
		UpdatedAtUnixMillis: int64(v.UpdatedAt),
	}
	for _, d := range v.Done {
		m.Done = append(m.Done, &cellpb.TaskRange{From: d.From, To: d.To})
	}
	for i := range v.Tasks {
		t := &v.Tasks[i]
		s := &cellpb.TaskState{
			Task:                t.Task,
			Attempt:             t.Attempt,
			Failures:            t.Failures,
			NotBeforeUnixMillis: int64(t.NotBefore),
			GaveUp:              t.GaveUp,
		}
		if t.Last != (cellstate.ClaimStatus{}) {
			s.Last = claimStatusTo(&t.Last)
		}
		m.Tasks = append(m.Tasks, s)
	}
	if r := v.Rollout; r != nil {
		m.Rollout = &cellpb.Rollout{Version: r.Version, Phase: cellpb.RolloutPhase(r.Phase), Message: r.Message}
	}
	return m
}

func (r *reader) status(m *cellpb.JobStatus) *cellstate.JobStatus {
	v := &cellstate.JobStatus{
		Scheduler:   m.GetScheduler(),
		Job:         m.GetJob(),
		Run:         m.GetRun(),
		Version:     m.GetVersion(),
		Phase:       enum(r, "phase", m.GetPhase(), cellstate.JobStopped),
		Running:     m.GetRunning(),
		Placed:      m.GetPlaced(),
		Explanation: explanationFrom(m.GetExplanation()),
		Message:     m.GetMessage(),
		UpdatedAt:   cellstate.Instant(m.GetUpdatedAtUnixMillis()),
	}
	for _, d := range m.GetDone() {
		v.Done = append(v.Done, cellstate.TaskRange{From: d.GetFrom(), To: d.GetTo()})
	}
	for _, t := range m.GetTasks() {
		v.Tasks = append(v.Tasks, cellstate.TaskState{
			Task:      t.GetTask(),
			Attempt:   t.GetAttempt(),
			Failures:  t.GetFailures(),
			NotBefore: cellstate.Instant(t.GetNotBeforeUnixMillis()),
			GaveUp:    t.GetGaveUp(),
			Last:      r.claimStatus(t.GetLast()),
		})
	}
	if o := m.GetRollout(); o != nil {
		v.Rollout = &cellstate.Rollout{
			Version: o.GetVersion(), Phase: enum(r, "rollout phase", o.GetPhase(), cellstate.RolloutHalted), Message: o.GetMessage(),
		}
	}
	return v
}

func explanationTo(v *cellstate.Explanation) *cellpb.Explanation {
	if v == nil {
		return nil
	}
	m := &cellpb.Explanation{
		AtUnixMillis: int64(v.At),
		Rev:          v.Rev,
		Unplaced:     v.Unplaced,
		Attempts:     v.Attempts,
		Parked:       v.Parked,
		Looked:       v.Looked,
		Eligible:     v.Eligible,
		Unblock:      v.Unblock,
	}
	for _, c := range v.Rules {
		m.Rules = append(m.Rules, &cellpb.RuleCount{Rule: c.Rule, Count: c.Count})
	}
	for _, n := range v.NearMisses {
		m.NearMisses = append(m.NearMisses, &cellpb.NearMiss{Machine: n.Machine, Lacks: n.Lacks})
	}
	return m
}

func explanationFrom(m *cellpb.Explanation) *cellstate.Explanation {
	if m == nil {
		return nil
	}
	v := &cellstate.Explanation{
		At:       cellstate.Instant(m.GetAtUnixMillis()),
		Rev:      m.GetRev(),
		Unplaced: m.GetUnplaced(),
		Attempts: m.GetAttempts(),
		Parked:   m.GetParked(),
		Looked:   m.GetLooked(),
		Eligible: m.GetEligible(),
		Unblock:  m.GetUnblock(),
	}
	for _, c := range m.GetRules() {
		v.Rules = append(v.Rules, cellstate.RuleCount{Rule: c.GetRule(), Count: c.GetCount()})
	}
	for _, n := range m.GetNearMisses() {
		v.NearMisses = append(v.NearMisses, cellstate.NearMiss{Machine: n.GetMachine(), Lacks: n.GetLacks()})
	}
	return v
}
