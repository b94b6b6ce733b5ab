package history

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cmd/internal/submit"
)

func (t *teller) job(old, now *cellstate.Job) {
	if now == nil {
		if old != nil {
			t.add(Event{What: JobPurged, Job: old.Scheduler + "/" + old.Name})
		}
		return
	}
	e := Event{Job: now.Scheduler + "/" + now.Name}
	switch {
	case old == nil:
		e.What, e.At, e.Text = JobSubmitted, now.SubmittedAt, request(now)
	case old.Run != now.Run:
		e.What, e.At, e.Text = JobRestarted, now.SubmittedAt, request(now)
	case !old.Stopped && now.Stopped:
		e.What = JobStopping
	case !submit.SameSpec(old, now):
		e.What, e.Text = JobChanged, "in place: "+request(now)
		if old.Version != now.Version {
			e.Text = fmt.Sprintf("to version %d: %s", now.Version, request(now))
		}
		if old.Tasks != now.Tasks {
			e.Text += fmt.Sprintf(", tasks were %d", old.Tasks)
		}
	default:
		return
	}
	t.add(e)
}

func request(j *cellstate.Job) string {
	s := fmt.Sprintf("tasks %d of %s, precedence %d", j.Tasks, j.Task.Resources, j.Precedence)
	if j.GangMin > 0 {
		s += fmt.Sprintf(", gang of at least %d", j.GangMin)
	}
	return s
}

func (t *teller) status(old, now *cellstate.JobStatus) {
	if now == nil {
		return
	}
	if old == nil || old.Run != now.Run {
		old = &cellstate.JobStatus{Phase: cellstate.JobPending}
	}
	e := Event{Job: now.Scheduler + "/" + now.Job, At: now.UpdatedAt}
	t.retries(e, old, now)
	if what := phaseEvent(now.Phase); now.Phase != old.Phase && what != 0 {
		e := e
		e.What, e.Text = what, now.Message
		t.add(e)
	}
	if x := now.Explanation; x != nil && x.Parked && !(old.Explanation != nil && old.Explanation.Parked && sameWait(old.Explanation, x)) {
		e := e
		e.What, e.At, e.Text = JobParked, x.At, Wait(x)
		t.add(e)
	}
	t.rollout(e, old.Rollout, now.Rollout)
}

func phaseEvent(p cellstate.JobPhase) What {
	switch p {
	case cellstate.JobPending:
		return JobPending
	case cellstate.JobRunning:
		return JobRunning
	case cellstate.JobSucceeded:
		return JobSucceeded
	case cellstate.JobFailed:
		return JobFailed
	case cellstate.JobStopped:
		return JobStopped
	}
	return 0
}

// sameWait reports whether two explanations say the same, whenever they were made.
func sameWait(a, b *cellstate.Explanation) bool {
	return a.Unplaced == b.Unplaced && a.Looked == b.Looked && a.Eligible == b.Eligible && a.Unblock == b.Unblock && reflect.DeepEqual(a.Rules, b.Rules)
}

// Wait gives an explanation in one line.
func Wait(x *cellstate.Explanation) string {
	s := fmt.Sprintf("unplaced %d; machines looked at %d, eligible %d", x.Unplaced, x.Looked, x.Eligible)
	var rules []string
	for _, r := range x.Rules {
		rules = append(rules, fmt.Sprintf("%s %d", r.Rule, r.Count))
	}
	if len(rules) > 0 {
		s += "; ruled out by " + strings.Join(rules, ", ")
	}
	if x.Unblock != "" {
		s += "; " + x.Unblock
	}
	return s
}

func (t *teller) retries(e Event, old, now *cellstate.JobStatus) {
	before := make(map[uint32]cellstate.TaskState, len(old.Tasks))
	for _, s := range old.Tasks {
		before[s.Task] = s
	}
	for _, s := range now.Tasks {
		was := before[s.Task]
		id := s.Last.ID
		e := e
		e.Claim = &id
		switch {
		case s.GaveUp && !was.GaveUp:
			e.What, e.Text = TaskGaveUp, fmt.Sprintf("failures %d, the last: %s", s.Failures, Ending(&s.Last))
		case s.Failures > was.Failures:
			e.What, e.Text = TaskRetried, fmt.Sprintf("failures %d, attempt %d not before %s, the last: %s", s.Failures, s.Attempt, s.NotBefore, Ending(&s.Last))
		default:
			continue
		}
		t.add(e)
	}
}

func (t *teller) rollout(e Event, old, now *cellstate.Rollout) {
	if now == nil || old != nil && *old == *now {
		return
	}
	switch {
	case old != nil && old.Version == now.Version && old.Phase == now.Phase:
		return
	case now.Phase == cellstate.RolloutRunning:
		e.What = RolloutBegan
	case now.Phase == cellstate.RolloutDone:
		e.What = RolloutEnded
	case now.Phase == cellstate.RolloutHalted:
		e.What = RolloutHalted
	default:
		return
	}
	e.Text = fmt.Sprintf("version %d", now.Version)
	if now.Message != "" {
		e.Text += ": " + now.Message
	}
	t.add(e)
}
