package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/omegacell/omegacell/cellstate"
)

// recover takes over what an earlier process of the agent left: the driver's tasks, and the orders for them.
func (a *Agent) recover(ctx context.Context) error {
	tasks, err := a.cfg.Driver.Recover(ctx)
	if err != nil {
		return fmt.Errorf("driver %s: adopt tasks: %w", a.cfg.Driver.Name(), err)
	}
	orders, bad, err := a.shelf.load()
	if err != nil {
		return err
	}
	for _, f := range bad {
		a.log.Error("order cannot be read; its task goes on, its job is asked again", zap.String("file", f))
	}
	for _, t := range tasks {
		a.holds[t.ID] = adopt(t)
	}
	for _, o := range orders {
		if h := a.holds[o.ID]; h != nil {
			h.Order = o
		} else if err := a.shelf.drop(o.ID); err != nil {
			return err
		}
	}
	if len(tasks) > 0 {
		a.log.Info("adopted tasks", zap.Int("tasks", len(tasks)))
	}
	return nil
}

// adopt makes a hold of what the driver knows of a task.
func adopt(t TaskState) *Hold {
	h := &Hold{Kept: true, Status: cellstate.ClaimStatus{ID: t.ID, Phase: t.Phase, Restarts: t.Restart, PID: t.PID, StartedAt: t.StartedAt}}
	switch t.Phase {
	case cellstate.PhaseEnded:
		h.Status.Phase, h.Status.PID, h.Last = cellstate.PhaseStarting, 0, &t
	case cellstate.PhaseStopping:
		h.Stopped = true
	}
	return h
}

// merge brings the last report and what was adopted together, so that no status goes back (I5). What the report says runs,
// and the driver does not know, is lost, whatever it knows of an earlier start of the same task.
func merge(holds map[cellstate.ClaimID]*Hold, report *cellstate.Report, now cellstate.Instant) {
	for _, st := range report.Claims {
		h := holds[st.ID]
		older := h != nil && st.Restarts > h.Status.Restarts // the host crashed before what came after was on its disk
		switch {
		case h != nil && !older && st.Phase == cellstate.PhaseEnded && !h.live():
			h.Status, h.Last = st, nil
		case h != nil && !older:
			if st.Phase == cellstate.PhaseStopping { // that was final, whether or not Stop came through
				h.Stopped, h.Status.Message = true, st.Message
				switch {
				case h.Last != nil:
					h.final(h.Last)
				case h.Status.Phase == cellstate.PhaseRunning:
					h.Status.Phase, h.Restop = cellstate.PhaseStopping, true
				}
			}
			if st.Restarts == h.Status.Restarts && h.live() {
				h.Status.Health = st.Health
			}
		case st.Phase == cellstate.PhaseEnded || st.StartedAt == 0:
			holds[st.ID] = &Hold{Status: st, Kept: older}
		default:
			wasStopping := st.Phase == cellstate.PhaseStopping
			lost := TaskState{ID: st.ID, Restart: st.Restarts, Phase: cellstate.PhaseEnded, StartedAt: st.StartedAt, EndedAt: now,
				Outcome: cellstate.OutcomeLost, Message: "the host has no trace of it"}
			st.Phase, st.PID, st.Message = cellstate.PhaseStarting, 0, ""
			h = &Hold{Kept: older, Status: st, Last: &lost}
			if holds[st.ID] = h; wasStopping {
				h.final(&lost)
			}
		}
	}
}

// refuse returns an error wrapping ErrInvalid where the task cannot be run here.
func (a *Agent) refuse(o *Order) error {
	if d := o.Spec.Driver; d != "" && d != a.cfg.Driver.Name() {
		return fmt.Errorf("driver %s: machine %s runs tasks with %s: %w", d, a.cfg.Machine, a.cfg.Driver.Name(), cellstate.ErrInvalid)
	}
	return nil
}

func isInvalid(err error) bool { return errors.Is(err, cellstate.ErrInvalid) }

// start has the driver start a task. Its order is on disk before anything of it runs.
func (a *Agent) start(ctx context.Context, h *Hold, restart uint32) {
	o := h.Order
	t := Task{ID: o.ID, Restart: restart, Spec: o.Spec, Env: a.environment(o), Resources: o.Resources}
	h.Kept = true
	a.work(func() {
		err := a.shelf.put(o)
		var state TaskState
		if err == nil {
			state, err = a.cfg.Driver.Start(context.WithoutCancel(ctx), t)
		}
		a.post(func() { a.startDone(ctx, h, restart, state, err) })
	})
}

func (a *Agent) startDone(ctx context.Context, h *Hold, restart uint32, t TaskState, err error) {
	id := h.Status.ID
	h.Busy = false
	if err != nil {
		a.cfg.Metrics.starts.WithLabelValues("error").Inc()
		a.log.Warn("task not started", zap.Stringer("claim", id), zap.Error(err))
		now := cellstate.InstantOf(time.Now())
		h.Last = &TaskState{ID: id, Restart: restart, Phase: cellstate.PhaseEnded, StartedAt: h.Status.StartedAt, EndedAt: now,
			Outcome: cellstate.OutcomeFailed, Message: clip("not started: " + err.Error())}
		return
	}
	a.cfg.Metrics.starts.WithLabelValues("ok").Inc()
	a.log.Info("task started", zap.Stringer("claim", id), zap.Uint32("restart", restart), zap.Int32("pid", t.PID))
	if h.Last != nil && h.Last.Restart == restart { // its end overtook this
		h.Status.StartedAt = t.StartedAt
		return
	}
	h.Last = nil
	h.Status.Phase, h.Status.PID, h.Status.StartedAt = cellstate.PhaseRunning, t.PID, t.StartedAt
	a.check(ctx, h)
}

// ended takes in the end of one incarnation.
func (a *Agent) ended(t TaskState) {
	h := a.holds[t.ID]
	if h == nil || h.Status.Phase == cellstate.PhaseEnded || t.Restart != h.Status.Restarts {
		a.log.Debug("end of a task that is not held", zap.Stringer("claim", t.ID))
		return
	}
	a.uncheck(t.ID)
	h.Last, h.Restop = &t, false
	if h.Stopped {
		a.end(h, &t)
		return
	}
	s := &h.Status // as shown if it is started again
	s.Phase, s.PID, s.Health = cellstate.PhaseStarting, 0, cellstate.HealthUnknown
	s.Message = fmt.Sprintf("restarting: the last start ended: %s", endOf(&t))
	if h.Order != nil {
		if at, again := h.Order.again(&t); again {
			a.log.Info("task ended, to be restarted", zap.Stringer("claim", t.ID), zap.String("end", endOf(&t)),
				zap.Duration("in", at.Sub(t.EndedAt).Round(time.Millisecond)))
		}
	}
}

// end takes in that a claim has come to its end.
func (a *Agent) end(h *Hold, t *TaskState) {
	h.final(t)
	a.cfg.Metrics.ends.WithLabelValues(h.Status.Outcome.String()).Inc()
	fields := []zap.Field{zap.Stringer("claim", h.Status.ID), zap.Stringer("outcome", h.Status.Outcome)}
	if t.Outcome == cellstate.OutcomeExited {
		fields = append(fields, zap.Int32("code", t.ExitCode))
	}
	if t.Outcome == cellstate.OutcomeSignaled {
		fields = append(fields, zap.Int32("signal", t.Signal))
	}
	if h.Status.Message != "" {
		fields = append(fields, zap.String("message", h.Status.Message))
	}
	a.log.Info("task ended", fields...)
}

// endOf says for people how an incarnation ended.
func endOf(t *TaskState) string {
	switch t.Outcome {
	case cellstate.OutcomeExited:
		return fmt.Sprintf("exit code %d", t.ExitCode)
	case cellstate.OutcomeSignaled:
		return fmt.Sprintf("signal %d", t.Signal)
	}
	return t.Outcome.String()
}

// environment is what a task finds in its environment besides what the driver adds: OMEGACELL_*, and the job's own over it.
func (a *Agent) environment(o *Order) map[string]string {
	env := make(map[string]string, len(o.Spec.Env)+12)
	u := func(n uint32) string { return strconv.FormatUint(uint64(n), 10) }
	var gpus []string
	for _, g := range o.GPUs {
		gpus = append(gpus, strconv.Itoa(int(g.Device)))
	}
	for k, v := range map[string]string{
		"SCHEDULER": o.ID.Scheduler, "JOB": o.ID.Job, "RUN": strconv.FormatUint(uint64(o.ID.Run), 16),
		"TASK": u(o.ID.Task), "TASKS": u(o.Tasks), "ATTEMPT": u(o.ID.Attempt), "CLAIM": o.ID.String(),
		"CELL": a.cfg.Cell, "MACHINE": a.cfg.Machine,
		"CPU_MILLI": strconv.FormatInt(o.Resources.CPUMilli, 10), "MEM_BYTES": strconv.FormatInt(o.Resources.MemBytes, 10),
		"GPUS": strings.Join(gpus, ","),
	} {
		env["OMEGACELL_"+k] = v
	}
	maps.Copy(env, o.Spec.Env)
	return env
}

// drained reports whether, on the way out with StopTasks, nothing is left to wait for.
func (a *Agent) drained() bool {
	for _, h := range a.holds {
		if h.live() || h.Asked || a.epoch != 0 && h.Status.Phase != cellstate.PhaseEnded {
			return false
		}
	}
	return a.epoch == 0 || a.out.idle || a.disconnected != 0
}

// clear has the driver forget all tasks, which have ended.
func (a *Agent) clear(ctx context.Context) {
	for id, h := range a.holds {
		if !h.Kept {
			continue
		}
		if err := a.cfg.Driver.Forget(ctx, id); err != nil {
			a.log.Warn("forget failed", zap.Stringer("claim", id), zap.Error(err))
			continue
		}
		a.drop(id, true)
	}
}
