package wire

import (
	"time"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/cellpb"
)

func jobTo(v *cellstate.Job) *cellpb.Job {
	m := &cellpb.Job{
		Scheduler:             v.Scheduler,
		Name:                  v.Name,
		Run:                   v.Run,
		Version:               v.Version,
		Tenant:                v.Tenant,
		Precedence:            int32(v.Precedence),
		Tasks:                 v.Tasks,
		GangMin:               v.GangMin,
		Task:                  taskTo(&v.Task),
		Packing:               cellpb.Packing(v.Packing),
		Retries:               v.Retries,
		Stopped:               v.Stopped,
		SubmittedAtUnixMillis: int64(v.SubmittedAt),
	}
	for i := range v.Constraints {
		m.Constraints = append(m.Constraints, constraintTo(&v.Constraints[i]))
	}
	for i := range v.Affinities {
		a := &v.Affinities[i]
		m.Affinities = append(m.Affinities, &cellpb.Affinity{Constraint: constraintTo(&a.Constraint), Weight: a.Weight})
	}
	for _, s := range v.Spread {
		m.Spread = append(m.Spread, &cellpb.Spread{Attribute: s.Attribute, Weight: s.Weight, MaxSkew: s.MaxSkew})
	}
	if u := v.Update; u != (cellstate.UpdatePolicy{}) {
		m.Update = &cellpb.UpdatePolicy{
			MaxParallel: u.MaxParallel, HealthyForNanos: int64(u.HealthyFor), HealthTimeoutNanos: int64(u.HealthTimeout),
		}
	}
	if d := v.Disconnect; d != (cellstate.DisconnectPolicy{}) {
		m.Disconnect = &cellpb.DisconnectPolicy{StopAfterNanos: int64(d.StopAfter), ReplaceAfterNanos: int64(d.ReplaceAfter)}
	}
	return m
}

func (r *reader) job(m *cellpb.Job) *cellstate.Job {
	v := &cellstate.Job{
		Scheduler:  m.GetScheduler(),
		Name:       m.GetName(),
		Run:        m.GetRun(),
		Version:    m.GetVersion(),
		Tenant:     m.GetTenant(),
		Precedence: cellstate.Precedence(m.GetPrecedence()),
		Tasks:      m.GetTasks(),
		GangMin:    m.GetGangMin(),
		Task:       r.task(m.GetTask()),
		Packing:    enum(r, "packing", m.GetPacking(), cellstate.SpreadLoad),
		Retries:    m.GetRetries(),
		Update: cellstate.UpdatePolicy{
			MaxParallel:   m.GetUpdate().GetMaxParallel(),
			HealthyFor:    time.Duration(m.GetUpdate().GetHealthyForNanos()),
			HealthTimeout: time.Duration(m.GetUpdate().GetHealthTimeoutNanos()),
		},
		Disconnect: cellstate.DisconnectPolicy{
			StopAfter:    time.Duration(m.GetDisconnect().GetStopAfterNanos()),
			ReplaceAfter: time.Duration(m.GetDisconnect().GetReplaceAfterNanos()),
		},
		Stopped:     m.GetStopped(),
		SubmittedAt: cellstate.Instant(m.GetSubmittedAtUnixMillis()),
	}
	for _, c := range m.GetConstraints() {
		v.Constraints = append(v.Constraints, r.constraint(c))
	}
	for _, a := range m.GetAffinities() {
		v.Affinities = append(v.Affinities, cellstate.Affinity{Constraint: r.constraint(a.GetConstraint()), Weight: a.GetWeight()})
	}
	for _, s := range m.GetSpread() {
		v.Spread = append(v.Spread, cellstate.Spread{Attribute: s.GetAttribute(), Weight: s.GetWeight(), MaxSkew: s.GetMaxSkew()})
	}
	return v
}

func constraintTo(v *cellstate.Constraint) *cellpb.Constraint {
	return &cellpb.Constraint{Attribute: v.Attribute, Op: cellpb.Operator(v.Op), Values: v.Values}
}

func (r *reader) constraint(m *cellpb.Constraint) cellstate.Constraint {
	return cellstate.Constraint{
		Attribute: m.GetAttribute(), Op: enum(r, "op", m.GetOp(), cellstate.OpVersion), Values: m.GetValues(),
	}
}

func taskTo(v *cellstate.TaskSpec) *cellpb.TaskSpec {
	m := &cellpb.TaskSpec{
		Driver:          v.Driver,
		Command:         v.Command,
		Env:             v.Env,
		Dir:             v.Dir,
		User:            v.User,
		Resources:       resourcesTo(&v.Resources),
		StopSignal:      v.StopSignal,
		StopGraceNanos:  int64(v.StopGrace),
		MaxRunTimeNanos: int64(v.MaxRunTime),
	}
	if p := v.Restart; p != (cellstate.RestartPolicy{}) {
		m.Restart = &cellpb.RestartPolicy{
			When: cellpb.RestartWhen(p.When), Max: p.Max, BackoffMinNanos: int64(p.BackoffMin), BackoffMaxNanos: int64(p.BackoffMax),
		}
	}
	if h := v.Health; h != nil {
		m.Health = &cellpb.HealthCheck{
			Command:       h.Command,
			Http:          h.HTTP,
			Tcp:           h.TCP,
			IntervalNanos: int64(h.Interval),
			TimeoutNanos:  int64(h.Timeout),
			Failures:      h.Failures,
		}
	}
	if l := v.Logs; l != (cellstate.LogPolicy{}) {
		m.Logs = &cellpb.LogPolicy{MaxBytes: l.MaxBytes, Files: l.Files}
	}
	return m
}

func (r *reader) task(m *cellpb.TaskSpec) cellstate.TaskSpec {
	v := cellstate.TaskSpec{
		Driver:     m.GetDriver(),
		Command:    m.GetCommand(),
		Env:        orNil(m.GetEnv()),
		Dir:        m.GetDir(),
		User:       m.GetUser(),
		Resources:  r.resources(m.GetResources()),
		StopSignal: m.GetStopSignal(),
		StopGrace:  time.Duration(m.GetStopGraceNanos()),
		MaxRunTime: time.Duration(m.GetMaxRunTimeNanos()),
		Restart: cellstate.RestartPolicy{
			When:       enum(r, "restart when", m.GetRestart().GetWhen(), cellstate.RestartAlways),
			Max:        m.GetRestart().GetMax(),
			BackoffMin: time.Duration(m.GetRestart().GetBackoffMinNanos()),
			BackoffMax: time.Duration(m.GetRestart().GetBackoffMaxNanos()),
		},
		Logs: cellstate.LogPolicy{MaxBytes: m.GetLogs().GetMaxBytes(), Files: m.GetLogs().GetFiles()},
	}
	if h := m.GetHealth(); h != nil {
		v.Health = &cellstate.HealthCheck{
			Command:  h.GetCommand(),
			HTTP:     h.GetHttp(),
			TCP:      h.GetTcp(),
			Interval: time.Duration(h.GetIntervalNanos()),
			Timeout:  time.Duration(h.GetTimeoutNanos()),
			Failures: h.GetFailures(),
		}
	}
	return v
}
