package drivertest

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/omegacell/omegacell/agent"
	"github.com/omegacell/omegacell/cellstate"
)

// Subject is a driver under test.
type Subject struct {
	// Open opens a driver on the subject's host. Opened again after Close, it finds what the one before it left.
	Open func() agent.Driver
	// Kill ends the task with SIGKILL, from outside the driver; nil where there is no process to kill.
	Kill func(agent.TaskState)
	// Stubborn returns a task that ignores its stop signal, and a function that waits until it does.
	Stubborn func(agent.Task) (agent.Task, func())
	// Left lists what is left on the host of a task that was forgotten; nil where there is nothing but the driver's memory.
	Left func(cellstate.ClaimID) []string
}

// Run tests the subject that open makes for each test, on a fresh host. Tasks are described so that both a driver of real
// processes and an emulated one can run them: with a command, and the emulated driver's environment beside it.
func Run(t *testing.T, open func(t *testing.T) Subject) {
	for _, tt := range []struct {
		name string
		run  func(*harness)
	}{
		{"ends by itself", endsByItself},
		{"ends with a signal", endsWithSignal},
		{"stop", stop},
		{"stop a stubborn task", stopStubborn},
		{"stop and forget what is not there", nothingThere},
		{"starts once", startsOnce},
		{"start after the end", startAfterEnd},
		{"start fails", startFails},
		{"forget", forget},
		{"recover", recoverTasks},
		{"close", closeTwice},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := &harness{T: t, Subject: open(t)}
			h.open()
			t.Cleanup(h.clean)
			tt.run(h)
		})
	}
}

// harness is one test's subject with the driver that is open.
type harness struct {
	*testing.T
	Subject
	d     agent.Driver
	known []cellstate.ClaimID
}

func (h *harness) open() []agent.TaskState {
	h.Helper()
	h.d = h.Open()
	states, err := h.d.Recover(h.Context())
	if err != nil {
		h.Fatalf("Recover: %v", err)
	}
	return states
}

// clean stops and forgets what the test left, so that one failure is not many.
func (h *harness) clean() {
	ctx := context.Background()
	for _, id := range h.known {
		_ = h.d.Stop(ctx, id)
	}
	for _, id := range h.known {
		for h.d.Forget(ctx, id) != nil {
			select {
			case <-h.d.Events():
			case <-time.After(30 * time.Second):
				h.Errorf("task %s cannot be forgotten", id)
				return
			}
		}
	}
	if err := h.d.Close(); err != nil {
		h.Errorf("Close: %v", err)
	}
}

// Task returns a task that runs for long, but dies of its stop signal.
func Task(n uint32) agent.Task {
	return agent.Task{
		ID: cellstate.ClaimID{Scheduler: "batch", Job: "conform", Run: 0xab, Task: n},
		Spec: cellstate.TaskSpec{
			Command: []string{"sleep", "100000"}, StopSignal: "SIGTERM", StopGrace: time.Minute,
			Logs: cellstate.LogPolicy{MaxBytes: 1 << 20, Files: 1},
		},
		Env:       map[string]string{"OMEGACELL_TASK": "conform"},
		Resources: cellstate.Resources{CPUMilli: 500, MemBytes: 256 << 20},
	}
}

// exits returns a task that soon ends with the code.
func exits(n uint32, code string) agent.Task {
	t := Task(n)
	t.Spec.Command = []string{"sh", "-c", "exit " + code}
	t.Env["OMEGACELL_EMULATED_RUNTIME"], t.Env["OMEGACELL_EMULATED_EXIT"] = "1ms", code
	return t
}

func (h *harness) start(t agent.Task) agent.TaskState {
	h.Helper()
	s, err := h.d.Start(h.Context(), t)
	if err != nil {
		h.Fatalf("Start: %v", err)
	}
	h.known = append(h.known, t.ID)
	if s.ID != t.ID || s.Restart != t.Restart || s.Phase != cellstate.PhaseRunning || s.StartedAt == 0 || s.EndedAt != 0 || s.Outcome != 0 {
		h.Fatalf("Start = %+v, want task %s running", s, t.ID)
	}
	return s
}

func (h *harness) event() agent.TaskState {
	h.Helper()
	s, ok := <-h.d.Events()
	if !ok {
		h.Fatal("Events was closed")
	}
	if s.Phase != cellstate.PhaseEnded || s.EndedAt < s.StartedAt || s.StartedAt == 0 {
		h.Fatalf("event %+v is not an end, or not after the start", s)
	}
	return s
}

func (h *harness) stop(id cellstate.ClaimID) {
	h.Helper()
	if err := h.d.Stop(h.Context(), id); err != nil {
		h.Fatalf("Stop: %v", err)
	}
}

func (h *harness) close() {
	h.Helper()
	if err := h.d.Close(); err != nil {
		h.Fatalf("Close: %v", err)
	}
}

func (h *harness) forget(id cellstate.ClaimID) {
	h.Helper()
	if err := h.d.Forget(h.Context(), id); err != nil {
		h.Fatalf("Forget: %v", err)
	}
}

func endsByItself(h *harness) {
	for i, tt := range []struct {
		code string
		want int32
	}{{"0", 0}, {"1", 1}, {"255", 255}} {
		t := exits(uint32(i), tt.code)
		t.Restart = uint32(i)
		h.start(t)
		s := h.event()
		if s.ID != t.ID || s.Restart != t.Restart || s.Outcome != cellstate.OutcomeExited || s.ExitCode != tt.want || s.Signal != 0 {
			h.Errorf("exit %s: event %+v", tt.code, s)
		}
	}
}

func endsWithSignal(h *harness) {
	if h.Kill == nil {
		h.Log("there is no process to kill")
		return
	}
	h.Kill(h.start(Task(0)))
	if s := h.event(); s.Outcome != cellstate.OutcomeSignaled || s.Signal != 9 {
		h.Errorf("after SIGKILL: event %+v", s)
	}
}

func stop(h *harness) {
	h.start(Task(0))
	h.start(Task(1))
	h.stop(Task(1).ID)
	h.stop(Task(1).ID) // no second signal, no error
	// Its grace is a minute: that it ends by the signal shows in the message.
	if s := h.event(); s.ID != Task(1).ID || s.Outcome != cellstate.OutcomeStopped || strings.Contains(s.Message, "killed") {
		h.Errorf("event %+v, want task 1 stopped by its signal", s)
	}
	h.stop(Task(1).ID)
}

func stopStubborn(h *harness) {
	t := Task(0)
	t.Spec.StopGrace = 50 * time.Millisecond
	t, ready := h.Stubborn(t)
	h.start(t)
	ready()
	h.stop(t.ID)
	s := h.event()
	if s.Outcome != cellstate.OutcomeStopped || s.Signal != 9 || !strings.Contains(s.Message, "killed") {
		h.Errorf("event %+v, want killed after its grace", s)
	}
	if d := s.EndedAt.Sub(s.StartedAt); d < t.Spec.StopGrace {
		h.Errorf("killed after %s, before its grace of %s was over", d, t.Spec.StopGrace)
	}
}

func nothingThere(h *harness) {
	h.stop(Task(0).ID)
	h.forget(Task(0).ID)
}

func startsOnce(h *harness) {
	h.start(Task(0))
	if _, err := h.d.Start(h.Context(), Task(0)); !errors.Is(err, cellstate.ErrInvalid) {
		h.Errorf("second Start: %v, want ErrInvalid", err)
	}
	if err := h.d.Forget(h.Context(), Task(0).ID); !errors.Is(err, cellstate.ErrInvalid) {
		h.Errorf("Forget of a running task: %v, want ErrInvalid", err)
	}
	h.stop(Task(0).ID)
	if s := h.event(); s.Outcome != cellstate.OutcomeStopped {
		h.Errorf("the first is %+v, want it to have run on and been stopped", s)
	}
}

func startAfterEnd(h *harness) {
	h.start(exits(0, "3"))
	h.event()
	t := exits(0, "4")
	t.Restart = 1
	h.start(t)
	if s := h.event(); s.Restart != 1 || s.ExitCode != 4 {
		h.Errorf("event %+v, want exit code 4 of restart 1", s)
	}
}

func startFails(h *harness) {
	t := Task(0)
	t.Spec.Command = []string{"no-such-command"}
	t.Env["OMEGACELL_EMULATED_RUNTIME"] = "soon"
	if s, err := h.d.Start(h.Context(), t); err == nil || s != (agent.TaskState{}) {
		h.Errorf("Start of a bad task = %+v, %v, want an error", s, err)
	}
	if h.Left != nil {
		if left := h.Left(t.ID); len(left) != 0 {
			h.Errorf("left after a Start that failed: %q", left)
		}
	}
	h.start(Task(0))
}

func forget(h *harness) {
	t := exits(0, "0")
	h.start(t)
	h.event()
	h.forget(t.ID)
	h.forget(t.ID)
	if h.Left != nil {
		if left := h.Left(t.ID); len(left) != 0 {
			h.Errorf("left after Forget (I11): %q", left)
		}
	}
	h.close()
	if states := h.open(); len(states) != 0 {
		h.Errorf("Recover found forgotten tasks: %+v", states)
	}
}

// recoverTasks has one task end before, one while nobody looks, and one after the restart.
func recoverTasks(h *harness) {
	h.start(exits(0, "7"))
	before := h.event()
	running := h.start(Task(1))
	h.start(Task(2))
	h.stop(Task(2).ID)
	h.close()

	byID := make(map[cellstate.ClaimID]agent.TaskState)
	for _, s := range h.open() {
		byID[s.ID] = s
	}
	if len(byID) != 3 {
		h.Fatalf("Recover found %+v, want 3 tasks", byID)
	}
	if got := byID[before.ID]; got != before {
		h.Errorf("recovered %+v, want the end as it was reported: %+v", got, before)
	}
	if got := byID[running.ID]; got != running {
		h.Errorf("recovered %+v, want it running as before: %+v", got, running)
	}
	if got := byID[Task(2).ID]; got.Phase != cellstate.PhaseEnded {
		got = h.event()
		if got.ID != Task(2).ID || got.Outcome != cellstate.OutcomeStopped {
			h.Errorf("event %+v, want task 2 stopped", got)
		}
	} else if got.Outcome != cellstate.OutcomeStopped {
		h.Errorf("recovered %+v, want task 2 stopped", got)
	}
	if _, err := h.d.Start(h.Context(), Task(1)); !errors.Is(err, cellstate.ErrInvalid) {
		h.Errorf("Start of an adopted task: %v, want ErrInvalid", err)
	}
	h.stop(running.ID)
	if s := h.event(); s.ID != running.ID || s.Outcome != cellstate.OutcomeStopped {
		h.Errorf("event %+v, want the adopted task stopped", s)
	}
}

func closeTwice(h *harness) {
	h.start(Task(0))
	for range 2 {
		if err := h.d.Close(); err != nil {
			h.Errorf("Close: %v", err)
		}
	}
	if states := h.open(); len(states) != 1 || states[0].Phase != cellstate.PhaseRunning {
		h.Errorf("after Close, Recover found %+v, want the task running", states)
	}
}
