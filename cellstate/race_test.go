package cellstate

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// race is a simulation of schedulers that race for the same machines, on one goroutine: a virtual clock, an agenda and a seed.
// Each scheduler looks, thinks for a while on what it saw, and commits; then it looks again. Agents end claims meanwhile.
type race struct {
	rng    *rand.Rand
	now    Instant
	agenda []event
	seq    int // breaks ties of the agenda
	cell   *cell
	gangs  map[string]int     // members by job, of every gang that was sent
	gone   map[string]bool    // gangs of which a member ended, went or was evicted: no longer whole
	once   map[ClaimID]string // the machine of every claim that ever was
	seen   raceCounts
}

type raceCounts struct{ conflicts, committed, gangs, brokenGangs, preempted, moved, resent, ended, early int }

type event struct {
	at  Instant
	seq int
	do  func()
}

func newRace(seed uint64) *race {
	r := &race{rng: rand.New(rand.NewPCG(seed, 0)), now: 1000, cell: newCell(), gangs: map[string]int{}, gone: map[string]bool{}, once: map[ClaimID]string{}}
	for i := range 4 {
		r.cell.store(NewLedger(fmt.Sprintf("m%d", i+1), Resources{CPUMilli: 4000, GPUMilli: 2000}))
	}
	return r
}

func (r *race) in(d int64, do func()) {
	r.seq++
	r.agenda = append(r.agenda, event{r.now + Instant(d), r.seq, do})
}

// step carries out the next event; it reports false when there is none.
func (r *race) step() bool {
	if len(r.agenda) == 0 {
		return false
	}
	next := 0
	for i, e := range r.agenda {
		if e.at < r.agenda[next].at || e.at == r.agenda[next].at && e.seq < r.agenda[next].seq {
			next = i
		}
	}
	e := r.agenda[next]
	r.agenda = slices.Delete(r.agenda, next, next+1)
	r.now = e.at
	e.do()
	return true
}

// racer is one scheduler.
type racer struct {
	*race
	name string
	job  int
	left int // transactions it still makes
}

// look takes a snapshot; the transaction made on it is sent after the think time, when the snapshot is stale.
func (s *racer) look() {
	if s.left--; s.left < 0 {
		return
	}
	x := s.plan(s.cell.snapshot())
	s.in(1+s.rng.Int64N(30), func() { s.send(x) })
}

// plan decides on a snapshot alone.
func (s *racer) plan(snap *cell) *Txn {
	s.job++
	x := &Txn{ID: fmt.Sprint(s.name, s.job), Scheduler: s.name, Mode: Incremental, Rule: FitRule, Basis: snap, BasisRev: snap.rev}
	if s.rng.IntN(4) == 0 {
		x.Rule = SeqRule
	}
	if s.rng.IntN(3) == 0 {
		x.Mode = AllOrNothing
	}
	job := fmt.Sprintf("j%d", s.job)
	precedence := Precedence(s.rng.IntN(4) * 100)
	for task := range 1 + s.rng.IntN(4) {
		c := Claim{ID: ClaimID{Scheduler: s.name, Job: job, Run: 1, Task: uint32(task)}, Machine: s.anyMachine(), JobVersion: 1, Precedence: precedence,
			Resources: Resources{CPUMilli: 500 * (1 + s.rng.Int64N(4)), GPUMilli: []int64{0, 0, 300, 500, 1000, 2000}[s.rng.IntN(6)]},
			Start:     s.now + Instant(max(0, s.rng.Int64N(60)-30))}
		if s.rng.IntN(2) == 0 {
			c.End = c.Start + 20 + Instant(s.rng.Int64N(100))
		}
		if x.Mode == AllOrNothing {
			c.GangMin = 1
		}
		l := snap.ledgers[c.Machine]
		if short := l.Fit(&c, Limits{}); short != (Shortage{}) && s.rng.IntN(2) == 0 {
			s.preempt(x, l, &c)
		} else if c.Resources.GPUMilli > 0 && s.rng.IntN(2) == 0 {
			c.GPUs, _ = l.AssignGPUs(&c) // named: others may take them meanwhile
		}
		x.Add = append(x.Add, c)
	}
	for _, c := range s.mine(snap) {
		if named(x, c.ID) {
			continue
		}
		ref := ClaimRef{c.Machine, c.ID}
		switch n := s.rng.IntN(20); {
		case c.Ended || n < 2:
			x.Remove = append(x.Remove, ref)
		case n == 2:
			x.Evict = append(x.Evict, Evict{ref, Eviction{Deadline: s.now + 10}})
		case n == 3 && c.Evict == nil:
			m := Move{c.Machine, c}
			m.To.Machine, m.To.GPUs, m.To.After = s.anyMachine(), nil, nil
			if m.From != m.To.Machine {
				x.Move = append(x.Move, m)
			}
		}
	}
	return x
}

func (s *racer) anyMachine() string { return fmt.Sprintf("m%d", 1+s.rng.IntN(4)) }

func (s *racer) mine(snap *cell) []Claim {
	var mine []Claim
	for _, m := range snap.machines() {
		for _, c := range snap.ledgers[m].Claims {
			if c.ID.Scheduler == s.name {
				mine = append(mine, c)
			}
		}
	}
	return mine
}

func named(x *Txn, id ClaimID) bool {
	return slices.ContainsFunc(x.Evict, func(e Evict) bool { return e.ID == id })
}

// preempt evicts what the snapshot shows of lower precedence for c, which starts at the deadline or sooner.
func (s *racer) preempt(x *Txn, l *Ledger, c *Claim) {
	deadline := max(c.Start, s.now+25)
	for i := range l.Claims {
		v := &l.Claims[i]
		if !v.Ended && v.ID.Scheduler != s.name && c.Precedence.MayEvict(v.Precedence) && !named(x, v.ID) {
			x.Evict = append(x.Evict, Evict{ClaimRef{l.Machine, v.ID}, Eviction{Deadline: deadline, By: c.ID, Reason: "preempted"}})
			c.After = append(c.After, v.ID)
		}
	}
	if length := c.End - c.Start; c.End != 0 {
		c.End = deadline + length
	}
	c.Start = deadline
}

// send commits. At times the outcome stays unknown, and the same is sent again after others had their turn.
func (s *racer) send(x *Txn) {
	if x.Mode == AllOrNothing {
		s.gangs[x.Add[0].ID.Job+x.Scheduler] = len(x.Add)
	}
	o := s.commit(x)
	s.seen.committed += len(o.Committed)
	s.seen.conflicts += len(o.Conflicts)
	for i := range x.Evict {
		if x.forOthers(&x.Evict[i]) && slices.Contains(o.Committed, x.Evict[i].ID) {
			s.seen.preempted++
		}
	}
	if x.Mode == AllOrNothing && len(o.Committed) > 0 {
		s.seen.gangs++
	} else if x.Mode == AllOrNothing {
		s.seen.brokenGangs++
	}
	if s.rng.IntN(5) == 0 {
		s.seen.resent++
		s.in(1+s.rng.Int64N(20), func() {
			s.resend(x, o)
			s.in(1, s.look)
		})
		return
	}
	s.in(1, s.look)
}

// resend is the second half of an unknown outcome: what was committed stays so, in effect once (I4). What was refused may fit
// by now.
func (s *racer) resend(x *Txn, first Decision) {
	o := s.commit(x)
	for _, id := range first.Committed {
		if !slices.Contains(o.Committed, id) {
			panic(fmt.Sprintf("I4: %v was committed; sent again it is not: %v", id, o.Conflicts))
		}
	}
}

// commit carries x out, as a store does.
func (s *racer) commit(x *Txn) Decision {
	o, err := Commit(s.cell, x, Limits{})
	if err != nil {
		panic(err)
	}
	for _, l := range o.Ledgers {
		s.losses(s.cell.ledgers[l.Machine], l)
	}
	s.cell.store(o.Ledgers...)
	for _, m := range x.Move {
		if slices.Contains(o.Committed, m.To.ID) {
			s.seen.moved++
			s.once[m.To.ID] = m.To.Machine
		}
	}
	return o
}

// losses notes the gangs of which a member leaves.
func (r *race) losses(before, after *Ledger) {
	for i := range before.Claims {
		c := &before.Claims[i]
		if after.Find(c.ID) == nil {
			r.gone[c.ID.Job+c.ID.Scheduler] = true
		}
	}
}

// agent ends what has to end on one machine, and some of the rest.
func (r *race) agent(machine string) {
	l := r.cell.ledgers[machine]
	var ids []ClaimID
	for i := range l.Claims {
		c := &l.Claims[i]
		if !c.Ended && c.Start <= r.now && (c.until() <= r.now || r.rng.IntN(8) == 0) {
			ids = append(ids, c.ID)
		}
	}
	n := l.MarkEnded(ids, r.now)
	for i := range n.Claims {
		if n.Claims[i].Start < l.Claims[i].Start {
			r.seen.early++
		}
	}
	if n != l {
		r.seen.ended += len(ids)
		r.cell.store(n)
	}
}

// broken returns the invariant that does not hold, or "".
func (r *race) broken() string {
	members := map[string]int{}
	at := map[ClaimID]string{}
	for _, m := range r.cell.machines() {
		l := r.cell.ledgers[m]
		for i := range l.Claims {
			c := &l.Claims[i]
			if other, twice := at[c.ID]; twice {
				return fmt.Sprintf("I4: %v is on %s and on %s", c.ID, other, m)
			}
			at[c.ID] = m
			if was, known := r.once[c.ID]; known && was != m {
				return fmt.Sprintf("I4: %v was on %s and is on %s", c.ID, was, m)
			}
			r.once[c.ID] = m
			members[c.ID.Job+c.ID.Scheduler]++
		}
		if s := overAtAnyStart(l); s != "" {
			return "I1: " + m + ": " + s
		}
		if s := l.Overcommitted(0); s != (Shortage{}) {
			return "I1: " + m + " by its own reckoning: " + s.String()
		}
	}
	for job, want := range r.gangs {
		if n := members[job]; n != want && n != 0 && !r.gone[job] {
			return fmt.Sprintf("I2: gang %s has %d of %d", job, n, want)
		}
	}
	return ""
}

// overAtAnyStart adds up what holds at each claim's start; use rises nowhere else.
func overAtAnyStart(l *Ledger) string {
	for i := range l.Claims {
		t := l.Claims[i].Start
		var cpu, gpu int64
		devices := map[uint16]int64{}
		for j := range l.Claims {
			c := &l.Claims[j]
			if !holdsAt(c, t) {
				continue
			}
			cpu += c.Resources.CPUMilli
			gpu += c.Resources.GPUMilli
			for _, g := range c.GPUs {
				if devices[g.Device] += int64(g.Milli); devices[g.Device] > 1000 || g.Device > 1 {
					return fmt.Sprintf("device %d has %dm at %d", g.Device, devices[g.Device], t)
				}
			}
		}
		if cpu > l.Capacity.CPUMilli || gpu > l.Capacity.GPUMilli {
			return fmt.Sprintf("cpu %d, gpu %d at %d", cpu, gpu, t)
		}
	}
	return ""
}

// TestRacingSchedulers checks I1, I2 and I4 after every event of many races.
func TestRacingSchedulers(t *testing.T) {
	var all raceCounts
	for seed := uint64(1); seed <= 150; seed++ {
		r := newRace(seed)
		for _, name := range []string{"p", "q", "r"} {
			s := &racer{race: r, name: name, left: 25}
			r.in(r.rng.Int64N(10), s.look)
		}
		for at := int64(5); at < 600; at += 20 {
			for _, m := range r.cell.machines() {
				r.in(at+r.rng.Int64N(10), func() { r.agent(m) })
			}
		}
		func() {
			defer func() {
				if p := recover(); p != nil {
					t.Fatalf("seed %d at %d: %v", seed, r.now, p)
				}
			}()
			for r.step() {
				if s := r.broken(); s != "" {
					t.Fatalf("seed %d at %d: %s", seed, r.now, s)
				}
			}
		}()
		all.add(r.seen)
	}
	t.Logf("%+v", all)
	if all.conflicts == 0 || all.committed == 0 || all.gangs == 0 || all.brokenGangs == 0 || all.preempted == 0 || all.moved == 0 ||
		all.resent == 0 || all.ended == 0 || all.early == 0 {
		t.Errorf("%+v: nothing interesting happened", all)
	}
}

func (c *raceCounts) add(o raceCounts) {
	c.conflicts += o.conflicts
	c.committed += o.committed
	c.gangs += o.gangs
	c.brokenGangs += o.brokenGangs
	c.preempted += o.preempted
	c.moved += o.moved
	c.resent += o.resent
	c.ended += o.ended
	c.early += o.early
}
