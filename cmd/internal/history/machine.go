package history

import (
	"fmt"
	"reflect"

	"github.com/omegacell/omegacell/cellstate"
)

func (t *teller) ledger(old, now *cellstate.Ledger) {
	switch {
	case old == nil && now == nil:
		return
	case old == nil:
		t.add(Event{What: MachineAdded, Machine: now.Machine, Text: "with " + now.Capacity.String()})
		old = cellstate.NewLedger(now.Machine, now.Capacity)
	case now == nil:
		now = cellstate.NewLedger(old.Machine, old.Capacity)
		now.Cordoned, now.Drain = old.Cordoned, old.Drain
		defer t.add(Event{What: MachineGone, Machine: old.Machine})
	}
	t.intent(old, now)
	for i := range old.Claims {
		if c := &old.Claims[i]; now.Find(c.ID) == nil {
			text := "before it ended"
			if c.Ended {
				text = "after it had ended"
			}
			t.add(Event{What: ClaimRemoved, Machine: old.Machine, Claim: &c.ID, Text: text})
		}
	}
	for i := range now.Claims {
		c := &now.Claims[i]
		t.claim(now.Machine, old.Find(c.ID), c)
	}
}

// intent tells what was done to the machine as a whole.
func (t *teller) intent(old, now *cellstate.Ledger) {
	e := Event{Machine: now.Machine}
	tell := func(w What, text string) {
		e.What, e.Text = w, text
		t.add(e)
	}
	if !old.Capacity.Equal(now.Capacity) {
		tell(MachineResized, fmt.Sprintf("from %s to %s", old.Capacity, now.Capacity))
	}
	switch {
	case now.Cordoned && !old.Cordoned:
		tell(MachineCordoned, "")
	case old.Cordoned && !now.Cordoned:
		tell(MachineUncordoned, "")
	}
	switch {
	case now.Drain != nil && (old.Drain == nil || *old.Drain != *now.Drain):
		text := "until " + now.Drain.Deadline.String()
		if now.Drain.Reason != "" {
			text += ": " + now.Drain.Reason
		}
		tell(MachineDraining, text)
	case old.Drain != nil && now.Drain == nil:
		tell(MachineUndrained, "")
	}
}

func (t *teller) claim(machine string, old, now *cellstate.Claim) {
	e := Event{Machine: machine, Claim: &now.ID}
	if old == nil {
		e.What, e.Text = ClaimPlaced, placed(now)
		t.add(e)
		if now.Evict == nil {
			return
		}
		old = &cellstate.Claim{Start: now.Start, End: now.End, Resources: now.Resources}
	}
	if now.Evict != nil && (old.Evict == nil || *old.Evict != *now.Evict) {
		e := e
		e.What = ClaimEvicted
		e.Text = "deadline " + now.Evict.Deadline.String()
		if now.Evict.By != (cellstate.ClaimID{}) {
			e.Text += ", by " + now.Evict.By.String()
		}
		if now.Evict.Reason != "" {
			e.Text += ": " + now.Evict.Reason
		}
		t.add(e)
	}
	if old.Start != now.Start || old.End != now.End || !old.Resources.Equal(now.Resources) {
		e.What, e.Text = ClaimChanged, placed(now)
		t.add(e)
	}
}

func placed(c *cellstate.Claim) string {
	s := fmt.Sprintf("%s, precedence %d, from %s", c.Resources, c.Precedence, c.Start)
	if c.End != 0 {
		s += " to " + c.End.String()
	}
	for i, g := range c.GPUs {
		if i == 0 {
			s += ", device"
		}
		s += fmt.Sprintf(" %d:%dm", g.Device, g.Milli)
	}
	if len(c.After) > 0 {
		s += fmt.Sprintf(", after %d others have ended", len(c.After))
	}
	return s
}

func (t *teller) session(old, now *cellstate.Session) {
	switch {
	case now == nil && old != nil:
		t.add(Event{What: MachineLost, Machine: old.Machine, Text: fmt.Sprintf("epoch %d", old.Epoch)})
	case now != nil && (old == nil || old.Epoch != now.Epoch):
		t.add(Event{What: MachineUp, Machine: now.Machine, At: now.StartedAt, Text: fmt.Sprintf("epoch %d, agent %s", now.Epoch, now.Version)})
	}
}

func (t *teller) machine(old, now *cellstate.Machine) {
	if old != nil && now != nil && !reflect.DeepEqual(old, now) {
		t.add(Event{What: MachineChanged, Machine: now.Name, Text: "its attributes, domains or labels"})
	}
}

func (t *teller) tenant(old, now *cellstate.Tenant) {
	if now == nil {
		return
	}
	for _, b := range now.Bands {
		limit := ""
		if old != nil {
			for _, o := range old.Bands {
				if o.Band == b.Band {
					limit = o.Limit.String()
				}
			}
		}
		if text := b.Limit.String(); text != limit {
			t.add(Event{What: TenantChanged, Text: fmt.Sprintf("%s may use %s in band %s", now.Name, text, b.Band)})
		}
	}
	if old == nil {
		return
	}
	for _, o := range old.Bands {
		if !hasBand(now, o.Band) {
			t.add(Event{What: TenantChanged, Text: fmt.Sprintf("%s has no quota in band %s any more", now.Name, o.Band)})
		}
	}
}

func hasBand(t *cellstate.Tenant, b cellstate.Band) bool {
	for _, q := range t.Bands {
		if q.Band == b {
			return true
		}
	}
	return false
}

func (t *teller) scheduler(old, now *cellstate.Scheduler) {
	if now == nil {
		if old != nil {
			t.add(Event{What: SchedulerChanged, Text: old.Name + " is not registered any more"})
		}
		return
	}
	text := fmt.Sprintf("%s: precedence up to %d, shards %d", now.Name, now.MaxPrecedence, now.Shards)
	if now.Disabled {
		text += ", disabled"
	}
	if old == nil || !reflect.DeepEqual(old, now) {
		t.add(Event{What: SchedulerChanged, Text: text})
	}
}

func (t *teller) leader(old, now *cellstate.Leader) {
	switch {
	case now == nil && old != nil:
		t.add(Event{What: LeaderGone, Text: fmt.Sprintf("of %s shard %d: %s", old.Scheduler, old.Shard, old.Holder)})
	case now != nil && (old == nil || old.Holder != now.Holder):
		t.add(Event{What: LeaderElected, At: now.Since, Text: fmt.Sprintf("of %s shard %d: %s", now.Scheduler, now.Shard, now.Holder)})
	}
}
