package cellstate

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Check returns an error that names the first thing that no job may have, whatever its scheduler. Rules that need more than
// the job are elsewhere: who may submit it with the scheduler's record, what its constraints mean with who evaluates them.
func (j *Job) Check() error {
	for _, err := range []error{j.checkNames(), j.checkNumbers(), j.checkDurations(), j.Task.check()} {
		if err != nil {
			return &OpError{Op: "check job", On: j.Scheduler + "/" + j.Name, Err: err}
		}
	}
	return nil
}

func badJob(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, ErrInvalid)...)
}

func (j *Job) checkNames() error {
	for _, n := range []struct{ field, name string }{
		{"scheduler", j.Scheduler}, {"name", j.Name}, {"tenant", j.Tenant}, {"task.driver", j.Task.Driver},
	} {
		if n.name == "" && (n.field == "tenant" || n.field == "task.driver") {
			continue // they have defaults
		}
		if err := CheckName(n.name); err != nil {
			return fmt.Errorf("%s: %w", n.field, err)
		}
	}
	if j.Scheduler == Operator {
		return badJob("scheduler: none can be named %q", Operator)
	}
	return nil
}

func (j *Job) checkNumbers() error {
	limit := uint32(Limits{}.WithDefaults().TasksPerJob)
	switch {
	case j.Tasks == 0 || j.Tasks > limit:
		return badJob("%d tasks, not 1 to %d", j.Tasks, limit)
	case j.GangMin > j.Tasks:
		return badJob("a gang of at least %d needs as many tasks, not %d", j.GangMin, j.Tasks)
	case j.Packing > SpreadLoad:
		return badJob("packing: there is no %d", j.Packing)
	}
	if err := j.Precedence.Check(); err != nil {
		return err
	}
	r := &j.Task.Resources
	if err := r.Check(); err != nil {
		return fmt.Errorf("task.resources: %w", err)
	}
	most := Resources{CPUMilli: MaxDemand, MemBytes: MaxDemand, DiskBytes: MaxDemand, NetBitsPerSecond: MaxDemand, GPUMilli: MaxDemand}
	for _, e := range r.Extended {
		most.Extended = append(most.Extended, Extended{e.Name, MaxDemand})
	}
	// MaxAmount times any number of tasks within the limit stays within an int64: see TestSumsDoNotOverflow.
	if demand := j.Demand(); !demand.Fits(&most) {
		s := firstShortage(&demand, &most)
		return badJob("%d tasks ask for %d of %s together, more than %d", j.Tasks, s.Want, s.resource(), s.Free)
	}
	return nil
}

func (j *Job) checkDurations() error {
	t := &j.Task
	ds := []struct {
		field string
		d     time.Duration
	}{
		{"task.maxRunTime", t.MaxRunTime}, {"task.stop.grace", t.StopGrace},
		{"task.restart.backoffMin", t.Restart.BackoffMin}, {"task.restart.backoffMax", t.Restart.BackoffMax},
		{"update.healthyFor", j.Update.HealthyFor}, {"update.healthTimeout", j.Update.HealthTimeout},
		{"disconnect.stopAfter", j.Disconnect.StopAfter}, // a negative replaceAfter means never
	}
	for _, d := range ds {
		if d.d < 0 {
			return badJob("%s: %s is negative", d.field, d.d)
		}
	}
	if r := t.Restart; r.BackoffMax != 0 && r.BackoffMin > r.BackoffMax {
		return badJob("task.restart: backoffMin %s is more than backoffMax %s", r.BackoffMin, r.BackoffMax)
	}
	return nil
}

func (t *TaskSpec) check() error {
	if t.Restart.When > RestartAlways {
		return badJob("task.restart.when: there is no %d", t.Restart.When)
	}
	if t.Logs.MaxBytes < 0 {
		return badJob("task.logs: %d bytes of a file is negative", t.Logs.MaxBytes)
	}
	for i, arg := range t.Command {
		if strings.ContainsRune(arg, 0) {
			return badJob("task.command: argument %d holds a zero byte", i)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(t.Env)) {
		if v := t.Env[k]; k == "" || strings.ContainsAny(k, "=\x00") || strings.ContainsRune(v, 0) {
			return badJob("task.env: %q=%q: a name is empty or holds '=' or a zero byte, or a value a zero byte", k, v)
		}
	}
	return t.Health.check()
}

func (h *HealthCheck) check() error {
	if h == nil {
		return nil
	}
	kinds := 0
	for _, set := range []bool{len(h.Command) > 0, h.HTTP != "", h.TCP != ""} {
		if set {
			kinds++
		}
	}
	if kinds != 1 {
		return badJob("task.health: want exactly one of command, http and tcp, not %d of them", kinds)
	}
	if h.Interval < 0 || h.Timeout < 0 {
		return badJob("task.health: interval %s or timeout %s is negative", h.Interval, h.Timeout)
	}
	return nil
}
