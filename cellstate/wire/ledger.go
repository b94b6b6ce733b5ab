package wire

import (
	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/cellpb"
)

// ledgerTo is for people (JSON) and the test of [appendLedger], which must say the same.
func ledgerTo(l *cellstate.Ledger) *cellpb.Ledger {
	m := &cellpb.Ledger{
		Machine:  l.Machine,
		Capacity: resourcesTo(&l.Capacity),
		Cordoned: l.Cordoned,
		Claims:   make([]*cellpb.Claim, len(l.Claims)),
	}
	if d := l.Drain; d != nil {
		m.Drain = &cellpb.Drain{DeadlineUnixMillis: int64(d.Deadline), Reason: d.Reason}
	}
	for i := range l.Claims {
		m.Claims[i] = claimTo(&l.Claims[i])
	}
	return m
}

func claimTo(c *cellstate.Claim) *cellpb.Claim {
	m := &cellpb.Claim{
		Scheduler:       c.ID.Scheduler,
		Job:             c.ID.Job,
		Run:             c.ID.Run,
		Task:            c.ID.Task,
		Attempt:         c.ID.Attempt,
		JobVersion:      c.JobVersion,
		Precedence:      int32(c.Precedence),
		GangMin:         c.GangMin,
		Resources:       resourcesTo(&c.Resources),
		StartUnixMillis: int64(c.Start),
		EndUnixMillis:   int64(c.End),
		Ended:           c.Ended,
	}
	for _, g := range c.GPUs {
		m.Gpus = append(m.Gpus, &cellpb.GPUShare{Device: uint32(g.Device), Milli: uint32(g.Milli)})
	}
	for _, id := range c.After {
		m.After = append(m.After, claimIDTo(id))
	}
	if e := c.Evict; e != nil {
		m.Evict = &cellpb.Eviction{DeadlineUnixMillis: int64(e.Deadline), Reason: e.Reason, By: claimIDTo(e.By)}
	}
	return m
}

// claimIDTo returns nil for the zero ID: there is no claim.
func claimIDTo(id cellstate.ClaimID) *cellpb.ClaimID {
	if id == (cellstate.ClaimID{}) {
		return nil
	}
	return &cellpb.ClaimID{Scheduler: id.Scheduler, Job: id.Job, Run: id.Run, Task: id.Task, Attempt: id.Attempt}
}

func claimIDFrom(m *cellpb.ClaimID) cellstate.ClaimID {
	return cellstate.ClaimID{
		Scheduler: m.GetScheduler(), Job: m.GetJob(), Run: m.GetRun(), Task: m.GetTask(), Attempt: m.GetAttempt(),
	}
}

// resourcesTo returns nil for no resources at all.
func resourcesTo(r *cellstate.Resources) *cellpb.Resources {
	if r.IsZero() {
		return nil
	}
	m := &cellpb.Resources{
		CpuMilli:         r.CPUMilli,
		MemBytes:         r.MemBytes,
		DiskBytes:        r.DiskBytes,
		NetBitsPerSecond: r.NetBitsPerSecond,
		GpuMilli:         r.GPUMilli,
	}
	for _, e := range r.Extended {
		m.Extended = append(m.Extended, &cellpb.ExtendedAmount{Name: e.Name, Amount: e.Amount})
	}
	return m
}

func (r *reader) resources(m *cellpb.Resources) cellstate.Resources {
	out := cellstate.Resources{
		CPUMilli:         m.GetCpuMilli(),
		MemBytes:         m.GetMemBytes(),
		DiskBytes:        m.GetDiskBytes(),
		NetBitsPerSecond: m.GetNetBitsPerSecond(),
		GPUMilli:         m.GetGpuMilli(),
	}
	for _, e := range m.GetExtended() {
		out.Extended = append(out.Extended, cellstate.Extended{Name: e.GetName(), Amount: e.GetAmount()})
	}
	return out
}
