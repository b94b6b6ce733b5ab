package schedulers

import (
	"slices"
	"time"

	"github.com/omegacell/omegacell/cellstate"
)

// History is a job status that a planner changes: its own copy of the lists in it.
type History struct{ cellstate.JobStatus }

// NewHistory copies a status to change it.
func NewHistory(s cellstate.JobStatus) *History {
	s.Done = slices.Clone(s.Done)
	s.Tasks = slices.Clone(s.Tasks)
	return &History{s}
}

// Task returns what is kept of a task; a task without a history is at its first attempt.
func (h *History) Task(task uint32) cellstate.TaskState {
	if i, ok := h.find(task); ok {
		return h.Tasks[i]
	}
	return cellstate.TaskState{Task: task}
}

func (h *History) find(task uint32) (int, bool) {
	return slices.BinarySearchFunc(h.Tasks, task, func(t cellstate.TaskState, n uint32) int { return int(int64(t.Task) - int64(n)) })
}

// SetTask keeps the history of a task.
func (h *History) SetTask(t cellstate.TaskState) {
	if i, ok := h.find(t.Task); ok {
		h.Tasks[i] = t
	} else {
		h.Tasks = slices.Insert(h.Tasks, i, t)
	}
}

// IsDone reports whether the task succeeded.
func (h *History) IsDone(task uint32) bool {
	i, found := slices.BinarySearchFunc(h.Done, task, func(r cellstate.TaskRange, n uint32) int { return int(int64(r.From) - int64(n)) })
	return found || i > 0 && task < h.Done[i-1].To
}

// SetDone keeps that the task succeeded.
func (h *History) SetDone(task uint32) {
	if h.IsDone(task) {
		return
	}
	i, _ := slices.BinarySearchFunc(h.Done, task, func(r cellstate.TaskRange, n uint32) int { return int(int64(r.From) - int64(n)) })
	h.Done = slices.Insert(h.Done, i, cellstate.TaskRange{From: task, To: task + 1})
	if i+1 < len(h.Done) && h.Done[i].To == h.Done[i+1].From {
		h.Done[i].To = h.Done[i+1].To
		h.Done = slices.Delete(h.Done, i+1, i+2)
	}
	if i > 0 && h.Done[i-1].To == h.Done[i].From {
		h.Done[i-1].To = h.Done[i].To
		h.Done = slices.Delete(h.Done, i, i+1)
	}
}

// DoneCount counts the tasks below `tasks` that succeeded: a job may have been made smaller since.
func (h *History) DoneCount(tasks uint32) uint32 {
	var n uint32
	for _, r := range h.Done {
		n += min(r.To, tasks) - min(r.From, tasks)
	}
	return n
}

// Recorded reports whether the history already tells of this end, so that its claim may go.
func (h *History) Recorded(id cellstate.ClaimID) bool {
	return h.IsDone(id.Task) || h.Task(id.Task).Attempt > id.Attempt
}

// count counts a live claim.
func (h *History) count(c cellstate.ClaimView) {
	h.Placed++
	if Running(c) {
		h.Running++
	}
}

// Again moves a task on to its next attempt after the claim ended, or was lost, without success. A failure counts, and puts
// the next attempt off: backoff, doubling with each failure in a row up to limit.
func (h *History) Again(c cellstate.ClaimView, failed bool, now cellstate.Instant, backoff, limit time.Duration) cellstate.TaskState {
	t := h.Task(c.Claim.ID.Task)
	t.Attempt = c.Claim.ID.Attempt + 1
	t.NotBefore = 0
	if c.Status != nil {
		t.Last = *c.Status
	} else {
		t.Last = cellstate.ClaimStatus{ID: c.Claim.ID, Phase: cellstate.PhaseEnded, Outcome: cellstate.OutcomeLost, EndedAt: now}
	}
	if failed {
		wait := limit
		if t.Failures < 16 {
			wait = min(limit, backoff<<t.Failures)
		}
		t.Failures++
		t.NotBefore = now.Add(wait)
	}
	h.SetTask(t)
	return t
}
