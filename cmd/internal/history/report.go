package history

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/omegacell/omegacell/cellstate"
)

func (t *teller) report(old, now *cellstate.Report) {
	if now == nil {
		return
	}
	before := make(map[cellstate.ClaimID]*cellstate.ClaimStatus)
	if old != nil {
		for i := range old.Claims {
			before[old.Claims[i].ID] = &old.Claims[i]
		}
	}
	for i := range now.Claims {
		s := &now.Claims[i]
		was := before[s.ID]
		if was == nil {
			was = &cellstate.ClaimStatus{ID: s.ID}
		}
		t.task(now.Machine, was, s)
	}
}

func (t *teller) task(machine string, old, now *cellstate.ClaimStatus) {
	e := Event{Machine: machine, Claim: &now.ID}
	if old.Phase != now.Phase || old.Restarts != now.Restarts {
		switch now.Phase {
		case cellstate.PhasePending:
			e.What, e.Text = TaskPending, now.Message
		case cellstate.PhaseStarting:
			e.What, e.Text = TaskStarting, now.Message
		case cellstate.PhaseRunning:
			e.What, e.At, e.Text = TaskRunning, now.StartedAt, fmt.Sprintf("pid %d", now.PID)
		case cellstate.PhaseStopping:
			e.What, e.Text = TaskStopping, now.Message
		case cellstate.PhaseEnded:
			e.What, e.At, e.Text = TaskEnded, now.EndedAt, Ending(now)
		}
		if now.Restarts > 0 && now.Phase < cellstate.PhaseStopping {
			e.Text = strings.TrimPrefix(fmt.Sprintf("%s, restart %d", e.Text, now.Restarts), ", ")
		}
		if e.What != 0 {
			t.add(e)
		}
	}
	if old.Health != now.Health {
		switch now.Health {
		case cellstate.Healthy:
			t.add(Event{What: TaskHealthy, Machine: machine, Claim: &now.ID})
		case cellstate.Unhealthy:
			t.add(Event{What: TaskUnhealthy, Machine: machine, Claim: &now.ID, Text: now.Message})
		}
	}
}

// Ending says how a task ended: "exited with code 0", "ended by SIGSEGV", "out of memory".
func Ending(s *cellstate.ClaimStatus) string {
	var text string
	switch s.Outcome {
	case cellstate.OutcomeExited:
		text = fmt.Sprintf("exited with code %d", s.ExitCode)
	case cellstate.OutcomeSignaled:
		text = "ended by " + signal(s.Signal)
	case cellstate.OutcomeOOM:
		text = "out of memory"
	case cellstate.OutcomeStopped:
		text = "stopped"
	case cellstate.OutcomeFailed:
		text = "could not be started"
	case cellstate.OutcomeLost:
		text = "lost"
	default:
		text = s.Phase.String()
	}
	if s.Message != "" {
		text += ": " + s.Message
	}
	return text
}

func signal(n int32) string {
	if name := unix.SignalName(unix.Signal(n)); name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", n)
}
