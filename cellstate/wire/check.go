package wire

import (
	"fmt"
	"unicode/utf8"

	"github.com/omegacell/omegacell/cellstate"
)

// check returns an error that names what v may not have. Marshal and Unmarshal both call it, so nothing is written that
// could not be read.
func check(v cellstate.Value) error {
	if err := CheckKey(v.Key()); err != nil {
		return err
	}
	switch v := v.(type) {
	case *cellstate.Ledger:
		return checkLedger(v)
	case *cellstate.Report:
		return checkReport(v)
	case *cellstate.Tenant:
		return checkTenant(v)
	case *cellstate.Job:
		return checkJob(v)
	case *cellstate.JobStatus:
		return checkStatus(v)
	case *cellstate.Scheduler:
		if v.Name == cellstate.Operator {
			return invalid("name: no scheduler may be called %q", v.Name)
		}
		return field("max precedence", v.MaxPrecedence.Check())
	}
	return nil
}

func invalid(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, cellstate.ErrInvalid)...)
}

// field says where in the value err was found.
func field(name string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func checkLedger(l *cellstate.Ledger) error {
	if err := l.Check(); err != nil {
		return err
	}
	if err := checkTexts(l.Capacity.Extended); err != nil {
		return field("capacity", err)
	}
	if d := l.Drain; d != nil {
		if d.Deadline < 0 {
			return invalid("drain: deadline %d is negative", d.Deadline)
		}
		if !utf8.ValidString(d.Reason) {
			return invalid("drain: reason %q is not UTF-8", d.Reason)
		}
	}
	for i := range l.Claims {
		c := &l.Claims[i]
		if c.Machine != l.Machine {
			return invalid("claim %s: machine %q is not the ledger's (Ledger.Sum sets it)", c.ID, c.Machine)
		}
		if err := c.Check(); err != nil {
			return err
		}
		if i > 0 && l.Claims[i-1].ID.Compare(c.ID) >= 0 {
			return invalid("claim %s is doubled or out of order", c.ID)
		}
		if err := checkTexts(c.Resources.Extended); err != nil {
			return fmt.Errorf("claim %s: %w", c.ID, err)
		}
		for _, id := range c.After {
			if err := checkID(id); err != nil {
				return fmt.Errorf("claim %s: after: %w", c.ID, err)
			}
		}
		if e := c.Evict; e != nil {
			if e.Deadline <= 0 {
				return invalid("claim %s: evict: deadline %d is not above 0", c.ID, e.Deadline)
			}
			if !utf8.ValidString(e.Reason) {
				return invalid("claim %s: evict: reason %q is not UTF-8", c.ID, e.Reason)
			}
			if e.By != (cellstate.ClaimID{}) {
				if err := checkID(e.By); err != nil {
					return fmt.Errorf("claim %s: evict: by: %w", c.ID, err)
				}
			}
		}
	}
	return nil
}

// checkTexts is for ledgers, whose encoder leaves UTF-8 to check; elsewhere the generated code sees to it.
func checkTexts(extended []cellstate.Extended) error {
	for _, e := range extended {
		if !utf8.ValidString(e.Name) {
			return invalid("extended resource %q is not UTF-8", e.Name)
		}
	}
	return nil
}

func checkID(id cellstate.ClaimID) error {
	if err := cellstate.CheckName(id.Scheduler); err != nil {
		return field("scheduler", err)
	}
	return field("job", cellstate.CheckName(id.Job))
}

func checkReport(r *cellstate.Report) error {
	for i := range r.Claims {
		s := &r.Claims[i]
		if err := checkID(s.ID); err != nil {
			return fmt.Errorf("claim %d: %w", i, err)
		}
		if s.Phase == 0 {
			return invalid("claim %s: phase is missing", s.ID)
		}
		if err := checkClaimStatus(s); err != nil {
			return fmt.Errorf("claim %s: %w", s.ID, err)
		}
		if i > 0 && r.Claims[i-1].ID.Compare(s.ID) >= 0 {
			return invalid("claim %s is doubled or out of order", s.ID)
		}
	}
	return nil
}

func checkClaimStatus(s *cellstate.ClaimStatus) error {
	if s.Phase > cellstate.PhaseEnded {
		return invalid("phase: there is no %d", s.Phase)
	}
	if s.Health > cellstate.Unhealthy {
		return invalid("health: there is no %d", s.Health)
	}
	if s.Outcome > cellstate.OutcomeLost {
		return invalid("outcome: there is no %d", s.Outcome)
	}
	return nil
}

func checkTenant(t *cellstate.Tenant) error {
	for i := range t.Bands {
		q := &t.Bands[i]
		if q.Band < cellstate.BandBestEffort || q.Band > cellstate.BandMonitoring {
			return invalid("bands: there is no %s", q.Band)
		}
		if i > 0 && t.Bands[i-1].Band >= q.Band {
			return invalid("bands: %s is doubled or out of order", q.Band)
		}
		if err := checkQuota(&q.Limit); err != nil {
			return fmt.Errorf("bands: %s: limit: %w", q.Band, err)
		}
		if err := checkQuota(&q.Admitted); err != nil {
			return fmt.Errorf("bands: %s: admitted: %w", q.Band, err)
		}
	}
	return nil
}

// checkQuota is Resources.Check for sums over many jobs: they may be larger than any machine, and GPU shares add up.
func checkQuota(r *cellstate.Resources) error {
	if min(r.CPUMilli, r.MemBytes, r.DiskBytes, r.NetBitsPerSecond, r.GPUMilli) < 0 {
		return invalid("an amount of %s is negative", r)
	}
	for i, e := range r.Extended {
		if e.Name == "" || e.Amount <= 0 || i > 0 && r.Extended[i-1].Name >= e.Name {
			return invalid("extended resource %q, amount %d: has no name, is not above 0, doubled or out of order", e.Name, e.Amount)
		}
	}
	return nil
}

func checkJob(j *cellstate.Job) error {
	if j.Tenant != "" {
		if err := cellstate.CheckName(j.Tenant); err != nil {
			return field("tenant", err)
		}
	}
	if err := j.Precedence.Check(); err != nil {
		return field("precedence", err)
	}
	if err := j.Task.Resources.Check(); err != nil {
		return field("task resources", err)
	}
	if w := j.Task.Restart.When; w > cellstate.RestartAlways {
		return invalid("task restart when: there is no %d", w)
	}
	if j.Packing > cellstate.SpreadLoad {
		return invalid("packing: there is no %d", j.Packing)
	}
	for i := range j.Constraints {
		if err := checkOp(j.Constraints[i].Op); err != nil {
			return fmt.Errorf("constraint %d: %w", i, err)
		}
	}
	for i := range j.Affinities {
		if err := checkOp(j.Affinities[i].Op); err != nil {
			return fmt.Errorf("affinity %d: %w", i, err)
		}
	}
	return nil
}

func checkOp(o cellstate.Op) error {
	if o < cellstate.OpEqual || o > cellstate.OpVersion {
		return invalid("op: there is no %d", o)
	}
	return nil
}

func checkStatus(s *cellstate.JobStatus) error {
	if s.Phase < cellstate.JobPending || s.Phase > cellstate.JobStopped {
		return invalid("phase: there is no %d", s.Phase)
	}
	for i, d := range s.Done {
		if d.From >= d.To || i > 0 && s.Done[i-1].To >= d.From {
			return invalid("done: tasks [%d, %d) are none, or not after and apart from the range before", d.From, d.To)
		}
	}
	for i := range s.Tasks {
		t := &s.Tasks[i]
		if i > 0 && s.Tasks[i-1].Task >= t.Task {
			return invalid("tasks: %d is doubled or out of order", t.Task)
		}
		if err := checkClaimStatus(&t.Last); err != nil {
			return fmt.Errorf("tasks: %d: %w", t.Task, err)
		}
	}
	if r := s.Rollout; r != nil && (r.Phase < cellstate.RolloutRunning || r.Phase > cellstate.RolloutHalted) {
		return invalid("rollout phase: there is no %d", r.Phase)
	}
	return nil
}
