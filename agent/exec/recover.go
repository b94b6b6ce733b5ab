package exec

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"github.com/omegacell/omegacell/agent"
	"github.com/omegacell/omegacell/agent/exec/shim"
	"github.com/omegacell/omegacell/cellstate"
)

// Recover adopts the tasks whose shims live and returns all that were not forgotten.
func (d *Driver) Recover(ctx context.Context) ([]agent.TaskState, error) {
	entries, err := os.ReadDir(filepath.Join(d.cfg.DataDir, "tasks"))
	if err != nil {
		return nil, fmt.Errorf("recover tasks: %w", err)
	}
	var out []agent.TaskState
	for _, e := range entries {
		dir := shim.Dir(filepath.Join(d.cfg.DataDir, "tasks", e.Name()))
		st, found, err := d.recoverTask(ctx, dir)
		if err != nil {
			return nil, fmt.Errorf("recover task %s: %w", e.Name(), err)
		}
		if found {
			out = append(out, st)
		}
	}
	d.wg.Go(d.keepSweeping)
	return out, nil
}

// recoverTask adopts the task of one directory. One that was never let start is cleared away and not found, and so is one
// whose records were cut short when the host crashed.
func (d *Driver) recoverTask(ctx context.Context, dir shim.Dir) (agent.TaskState, bool, error) {
	var s shim.Spec
	found, err := shim.ReadRecord(dir.Spec(), &s)
	if err != nil && !shim.Torn(err) {
		return agent.TaskState{}, false, err
	}
	if err != nil || !found {
		k := &task{dir: dir}
		if !d.cfg.Unconfined {
			k.group = group(filepath.Join(d.cfg.CgroupRoot, filepath.Base(string(dir)))) // see leaf
		}
		return agent.TaskState{}, false, d.discard(ctx, k, err)
	}
	id, err := cellstate.ParseClaimID(s.ID)
	if err != nil {
		return agent.TaskState{}, false, err
	}
	k := d.newTask(id)
	k.group = group(s.Cgroup) // as it was started, whatever the configuration says now
	var st shim.State
	if found, err = shim.ReadRecord(dir.State(), &st); err != nil && !shim.Torn(err) {
		return agent.TaskState{}, false, err
	}
	if !found {
		return agent.TaskState{}, false, d.discard(ctx, k, err)
	}
	if st.Boot == d.boot {
		if k.shim, err = d.open(st.Shim); err != nil {
			return agent.TaskState{}, false, err
		}
	}
	if k.shim != nil {
		if st, err = awaitStarted(ctx, k, st); err != nil {
			return agent.TaskState{}, false, err
		}
	}
	k.state = agent.TaskState{
		ID: id, Restart: s.Restart, Phase: cellstate.PhaseRunning, PID: int32(st.Task.PID), StartedAt: st.StartedAt,
	}
	if st.Stopping {
		k.state.Phase = cellstate.PhaseStopping
	}
	if k.shim == nil {
		r, err := d.outcome(ctx, k)
		if err != nil {
			return agent.TaskState{}, false, err
		}
		k.state = ended(k.state, r)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tasks[id] = k
	if k.shim != nil {
		d.watch(k)
	}
	return k.state, true, nil
}

// discard clears away a task that was never let start, or of which nobody can say what it was, and says why.
func (d *Driver) discard(ctx context.Context, k *task, why error) error {
	d.cfg.Log.Warn("clear away a task that was not started, or whose records are lost", zap.String("directory", string(k.dir)), zap.Error(why))
	return k.clear(ctx)
}

// awaitStarted waits, where the agent died while the shim was starting the task, until it has or has ended.
func awaitStarted(ctx context.Context, k *task, st shim.State) (shim.State, error) {
	for st.Task.PID == 0 {
		over := false
		if err := withFD(k.shim, func(fd int) error { over = hasEnded(fd); return nil }); err != nil || over {
			return st, err
		}
		if _, err := shim.ReadRecord(k.dir.State(), &st); err != nil {
			return st, err
		}
		select {
		case <-ctx.Done():
			return st, ctx.Err()
		case <-time.After(5 * time.Millisecond): // milliseconds, once in the life of an agent
		}
	}
	return st, nil
}
