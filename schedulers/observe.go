package schedulers

import (
	"github.com/omegacell/omegacell/cellstate"
)

// observe turns what changed in the cell into jobs to plan: the jobs whose records, claims or machines changed, and the
// parked ones that a change could help. What was there before the first call is planned when a shard is won.
func (l *Loop) observe(snap cellstate.Snapshot, changes []cellstate.Change) {
	o := observation{loop: l, snap: snap, room: l.flights.observe(snap, changes)}
	for i := range changes {
		o.see(&changes[i])
	}
	l.agenda.observed(snap.Rev())
	l.agenda.dueAll(o.due)
	if o.anything {
		l.agenda.unparkAll()
	} else {
		l.agenda.unpark(o.room)
	}
}

// enqueueAll makes all our jobs due that pass the filter, also those of which only claims are left.
func (l *Loop) enqueueAll(snap cellstate.Snapshot, filter func(name string) bool) {
	var jobs []dueJob
	for j := range snap.Jobs(l.cfg.Name) {
		if filter(j.Name) {
			jobs = append(jobs, dueJob{j.Name, j.Precedence})
		}
	}
	for i := range snap.Len() {
		if m := snap.At(i); m != nil {
			for k := range m.Ledger.Claims {
				c := &m.Ledger.Claims[k]
				if c.ID.Scheduler != l.cfg.Name || !filter(c.ID.Job) {
					continue
				}
				if _, _, ok := snap.Job(l.cfg.Name, c.ID.Job); !ok {
					jobs = append(jobs, dueJob{c.ID.Job, c.Precedence})
				}
			}
		}
	}
	l.agenda.dueAll(jobs)
}

// observation is what one batch of changes means for the loop.
type observation struct {
	loop     *Loop
	snap     cellstate.Snapshot
	due      []dueJob
	room     []*cellstate.MachineView // machines that may have room they had not before
	anything bool                     // some change that could help any parked job
}

func (o *observation) see(c *cellstate.Change) {
	switch c.Key.Kind {
	case cellstate.KindJob:
		o.job(c.Key.Scope, c.Key.Name)
	case cellstate.KindStatus:
		// Ours are written by ourselves, except when a submission replaces one; that writes the job as well.
	case cellstate.KindLedger:
		o.ledger(c)
	case cellstate.KindReport:
		o.report(c)
	case cellstate.KindSession:
		o.session(c)
	case cellstate.KindMachine:
		o.anything = true // attributes, on which constraints may depend
	case cellstate.KindScheduler:
		o.anything = o.anything || c.Key.Name == o.loop.cfg.Name
	}
}

// job makes one job due, if it is ours.
func (o *observation) job(scheduler, name string) {
	if scheduler != o.loop.cfg.Name || len(o.due) > 0 && o.due[len(o.due)-1].name == name || !o.loop.shards.Load().holds(name) {
		return
	}
	var p cellstate.Precedence
	if j, _, ok := o.snap.Job(scheduler, name); ok {
		p = j.Precedence
	}
	o.due = append(o.due, dueJob{name, p})
}

// ledger compares two versions of a ledger. A claim of ours that merely appeared is no news: we put it there.
func (o *observation) ledger(c *cellstate.Change) {
	was, _ := c.Old.(*cellstate.Ledger)
	is, _ := c.New.(*cellstate.Ledger)
	if was != nil {
		i := 0
		for k := range was.Claims {
			old := &was.Claims[k]
			if old.ID.Scheduler != o.loop.cfg.Name {
				continue
			}
			var now *cellstate.Claim
			if is != nil {
				for i < len(is.Claims) && is.Claims[i].ID.Compare(old.ID) < 0 {
					i++
				}
				if i < len(is.Claims) && is.Claims[i].ID == old.ID {
					now = &is.Claims[i]
				}
			}
			if now == nil || now.Ended != old.Ended || (now.Evict == nil) != (old.Evict == nil) || !sameDrain(was.Drain, is.Drain) {
				o.job(old.ID.Scheduler, old.ID.Job)
			}
		}
	}
	if is == nil {
		return
	}
	if was == nil || roomier(was, is, o.loop.cfg.Limits) {
		if m, ok := o.snap.Machine(is.Machine); ok {
			o.room = append(o.room, m)
		}
	}
}

// sameDrain reports whether two wishes to empty a machine give its claims the same time.
func sameDrain(a, b *cellstate.Drain) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Deadline == b.Deadline
}

// roomier reports whether something may fit on is that did not fit on was.
func roomier(was, is *cellstate.Ledger, lim cellstate.Limits) bool {
	if was.Cordoned && !is.Cordoned || was.Drain != nil && is.Drain == nil || !was.Capacity.Equal(is.Capacity) {
		return true
	}
	if most := lim.ClaimsPerMachine; len(was.Claims) >= most && len(is.Claims) < most {
		return true // an ended claim holds no room, but counts until it is removed
	}
	before, after := was.Capacity.Sub(was.Used()), is.Capacity.Sub(is.Used())
	return !after.Fits(&before)
}

// report makes the jobs due of whose claims the agent says something else than before.
func (o *observation) report(c *cellstate.Change) {
	was, _ := c.Old.(*cellstate.Report)
	is, _ := c.New.(*cellstate.Report)
	if is == nil {
		return
	}
	var before []cellstate.ClaimStatus
	if was != nil {
		before = was.Claims
	}
	for i := range is.Claims {
		s := &is.Claims[i]
		if s.ID.Scheduler != o.loop.cfg.Name {
			continue
		}
		for len(before) > 0 && before[0].ID.Compare(s.ID) < 0 {
			before = before[1:]
		}
		if len(before) == 0 || before[0].ID != s.ID ||
			before[0].Phase != s.Phase || before[0].Health != s.Health || before[0].StartedAt != s.StartedAt {
			o.job(s.ID.Scheduler, s.ID.Job)
		}
	}
}

// session makes the jobs due that have claims on a machine whose agent came or went.
func (o *observation) session(c *cellstate.Change) {
	m, ok := o.snap.Machine(c.Key.Name)
	if !ok || (c.Old == nil) == (c.New == nil) {
		return
	}
	if c.New != nil {
		o.room = append(o.room, m)
	}
	for i := range m.Ledger.Claims {
		o.job(m.Ledger.Claims[i].ID.Scheduler, m.Ledger.Claims[i].ID.Job)
	}
}
