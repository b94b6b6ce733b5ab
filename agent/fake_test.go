package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/omegacell/omegacell/cellstate"
)

// fake is a driver without processes. Tests end its tasks; it outlives the agents that use it, as tasks outlive theirs.
type fake struct {
	mu        sync.Mutex
	tasks     map[cellstate.ClaimID]*TaskState
	started   map[cellstate.ClaimID]Task // the last one
	starts    int
	forgotten int
	twice     []cellstate.ClaimID // started while an incarnation ran: I3 broken
	startErr  error               // of the next Start
	stopErr   error               // of the next Stop
	exec      func() (int, error) // answers Exec
	stubborn  bool                // tasks do not end when stopped
	instant   bool                // tasks exit with 0 before Start returns
	events    chan TaskState
}

func newFake() *fake {
	return &fake{tasks: make(map[cellstate.ClaimID]*TaskState), started: make(map[cellstate.ClaimID]Task), events: make(chan TaskState, 1000)}
}

func (f *fake) Name() string             { return "fake" }
func (f *fake) Events() <-chan TaskState { return f.events }
func (f *fake) Close() error             { return nil }

func (f *fake) Recover(context.Context) ([]TaskState, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.events) > 0 { // told to the agent that is gone
		<-f.events
	}
	var out []TaskState
	for _, t := range f.tasks {
		out = append(out, *t)
	}
	return out, nil
}

func (f *fake) Start(_ context.Context, t Task) (TaskState, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.startErr; err != nil {
		f.startErr = nil
		return TaskState{}, err
	}
	if old := f.tasks[t.ID]; old != nil && old.Phase != cellstate.PhaseEnded {
		f.twice = append(f.twice, t.ID)
	}
	f.starts++
	f.started[t.ID] = t
	st := &TaskState{ID: t.ID, Restart: t.Restart, Phase: cellstate.PhaseRunning, PID: int32(1000 + f.starts), StartedAt: cellstate.InstantOf(time.Now())}
	f.tasks[t.ID] = st
	if !f.instant {
		return *st, nil
	}
	running := *st
	f.mu.Unlock()
	f.exit(t.ID, 0)
	time.Sleep(time.Millisecond) // the agent hears of the end first
	f.mu.Lock()
	return running, nil
}

func (f *fake) Stop(_ context.Context, id cellstate.ClaimID) error {
	f.mu.Lock()
	if err := f.stopErr; err != nil {
		f.stopErr = nil
		f.mu.Unlock()
		return err
	}
	t := f.tasks[id]
	if t == nil || t.Phase != cellstate.PhaseRunning {
		f.mu.Unlock()
		return nil
	}
	t.Phase = cellstate.PhaseStopping
	stubborn := f.stubborn
	f.mu.Unlock()
	if !stubborn {
		f.end(id, TaskState{Outcome: cellstate.OutcomeStopped})
	}
	return nil
}

func (f *fake) Forget(_ context.Context, id cellstate.ClaimID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if t := f.tasks[id]; t != nil && t.Phase != cellstate.PhaseEnded {
		return fmt.Errorf("%s has not ended", id)
	}
	delete(f.tasks, id)
	f.forgotten++
	return nil
}

func (f *fake) Exec(context.Context, cellstate.ClaimID, []string, time.Duration) (int, []byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.exec == nil {
		return 0, nil, errors.New("no exec")
	}
	code, err := f.exec()
	return code, nil, err
}

// end lets a task end as t says.
func (f *fake) end(id cellstate.ClaimID, t TaskState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.tasks[id]
	if s == nil || s.Phase == cellstate.PhaseEnded {
		return
	}
	s.Phase, s.EndedAt, s.PID = cellstate.PhaseEnded, cellstate.InstantOf(time.Now()), 0
	s.Outcome, s.ExitCode, s.Signal = t.Outcome, t.ExitCode, t.Signal
	f.events <- *s
}

// exit lets a task exit with a code.
func (f *fake) exit(id cellstate.ClaimID, code int32) {
	f.end(id, TaskState{Outcome: cellstate.OutcomeExited, ExitCode: code})
}

func (f *fake) running() (ids []cellstate.ClaimID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, t := range f.tasks {
		if t.Phase != cellstate.PhaseEnded {
			ids = append(ids, id)
		}
	}
	return ids
}
