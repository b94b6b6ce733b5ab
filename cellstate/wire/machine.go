package wire

import (
	"slices"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/cellpb"
)

func machineTo(v *cellstate.Machine) *cellpb.Machine {
	return &cellpb.Machine{Name: v.Name, Attributes: v.Attributes, Domains: v.Domains, Labels: v.Labels}
}

func (r *reader) machine(m *cellpb.Machine) *cellstate.Machine {
	return &cellstate.Machine{
		Name: m.GetName(), Attributes: orNil(m.GetAttributes()), Domains: m.GetDomains(), Labels: orNil(m.GetLabels()),
	}
}

// orNil makes one of an empty map and none, which the generated code tells apart and nobody else does.
func orNil(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	return m
}

func sessionTo(v *cellstate.Session) *cellpb.Session {
	return &cellpb.Session{
		Machine:             v.Machine,
		Epoch:               v.Epoch,
		Address:             v.Address,
		Version:             v.Version,
		Drivers:             v.Drivers,
		StartedAtUnixMillis: int64(v.StartedAt),
	}
}

func (r *reader) session(m *cellpb.Session) *cellstate.Session {
	return &cellstate.Session{
		Machine:   m.GetMachine(),
		Epoch:     m.GetEpoch(),
		Address:   m.GetAddress(),
		Version:   m.GetVersion(),
		Drivers:   m.GetDrivers(),
		StartedAt: cellstate.Instant(m.GetStartedAtUnixMillis()),
	}
}

func reportTo(v *cellstate.Report) *cellpb.Report {
	m := &cellpb.Report{Machine: v.Machine, Epoch: v.Epoch, Claims: make([]*cellpb.ClaimStatus, len(v.Claims))}
	for i := range v.Claims {
		m.Claims[i] = claimStatusTo(&v.Claims[i])
	}
	return m
}

// sortReport sorts the claims, which another writer may have left as they came.
func sortReport(v *cellstate.Report) {
	byID := func(a, b cellstate.ClaimStatus) int { return a.ID.Compare(b.ID) }
	if !slices.IsSortedFunc(v.Claims, byID) {
		slices.SortFunc(v.Claims, byID)
	}
}

func claimStatusTo(v *cellstate.ClaimStatus) *cellpb.ClaimStatus {
	return &cellpb.ClaimStatus{
		Id:                  claimIDTo(v.ID),
		Phase:               cellpb.Phase(v.Phase),
		Health:              cellpb.Health(v.Health),
		Restarts:            v.Restarts,
		Pid:                 v.PID,
		StartedAtUnixMillis: int64(v.StartedAt),
		EndedAtUnixMillis:   int64(v.EndedAt),
		Outcome:             cellpb.Outcome(v.Outcome),
		ExitCode:            v.ExitCode,
		Signal:              v.Signal,
		Message:             v.Message,
	}
}

func (r *reader) claimStatus(m *cellpb.ClaimStatus) cellstate.ClaimStatus {
	return cellstate.ClaimStatus{
		ID:        claimIDFrom(m.GetId()),
		Phase:     enum(r, "phase", m.GetPhase(), cellstate.PhaseEnded),
		Health:    enum(r, "health", m.GetHealth(), cellstate.Unhealthy),
		Restarts:  m.GetRestarts(),
		PID:       m.GetPid(),
		StartedAt: cellstate.Instant(m.GetStartedAtUnixMillis()),
		EndedAt:   cellstate.Instant(m.GetEndedAtUnixMillis()),
		Outcome:   enum(r, "outcome", m.GetOutcome(), cellstate.OutcomeLost),
		ExitCode:  m.GetExitCode(),
		Signal:    m.GetSignal(),
		Message:   m.GetMessage(),
	}
}

func tenantTo(v *cellstate.Tenant) *cellpb.Tenant {
	m := &cellpb.Tenant{Name: v.Name}
	for i := range v.Bands {
		q := &v.Bands[i]
		m.Bands = append(m.Bands, &cellpb.BandQuota{
			Band: cellpb.Band(q.Band), Limit: resourcesTo(&q.Limit), Admitted: resourcesTo(&q.Admitted),
		})
	}
	return m
}

func (r *reader) tenant(m *cellpb.Tenant) *cellstate.Tenant {
	v := &cellstate.Tenant{Name: m.GetName()}
	for _, q := range m.GetBands() {
		v.Bands = append(v.Bands, cellstate.BandQuota{
			Band:     enum(r, "band", q.GetBand(), cellstate.BandMonitoring),
			Limit:    r.resources(q.GetLimit()),
			Admitted: r.resources(q.GetAdmitted()),
		})
	}
	return v
}

func schedulerTo(v *cellstate.Scheduler) *cellpb.Scheduler {
	return &cellpb.Scheduler{
		Name:          v.Name,
		MaxPrecedence: int32(v.MaxPrecedence),
		Disabled:      v.Disabled,
		Shards:        v.Shards,
		PublicKey:     v.PublicKey,
	}
}

func (r *reader) scheduler(m *cellpb.Scheduler) *cellstate.Scheduler {
	v := &cellstate.Scheduler{
		Name:          m.GetName(),
		MaxPrecedence: cellstate.Precedence(m.GetMaxPrecedence()),
		Disabled:      m.GetDisabled(),
		Shards:        m.GetShards(),
	}
	if len(m.GetPublicKey()) > 0 { // a key that is there but empty is none
		v.PublicKey = m.GetPublicKey()
	}
	return v
}

func leaderTo(v *cellstate.Leader) *cellpb.Leader {
	return &cellpb.Leader{Scheduler: v.Scheduler, Shard: v.Shard, Holder: v.Holder, SinceUnixMillis: int64(v.Since)}
}

func (r *reader) leader(m *cellpb.Leader) *cellstate.Leader {
	return &cellstate.Leader{
		Scheduler: m.GetScheduler(), Shard: m.GetShard(), Holder: m.GetHolder(), Since: cellstate.Instant(m.GetSinceUnixMillis()),
	}
}
