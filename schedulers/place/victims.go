package place

import (
	"cmp"
	"container/heap"
	"slices"

	"github.com/omegacell/omegacell/cellstate"
)

// makeRoom places what it can of r.Unplaced, which fits nowhere as the cell is, on machines that would have room at the
// eviction deadline if claims of lower precedence went (or have it then anyway, which needs no victims). The new claims
// start at the deadline. Each task takes its victims from one machine.
//
// The machine is one where the least harm is done: first, the highest precedence among the victims is as low as it can be on
// any machine that was looked at, which are all of the cell where fewer than sitesAtOnce could make room; then there are as
// few of them as can be, and they started latest, among as many such machines as were looked at closely.
func (p *plan) makeRoom(r *Result) {
	p.startAt(max(p.req.Evict.Deadline, p.req.Start))
	defer p.startAt(p.req.Start)
	q := sites{gangs: make(map[gangKey]string), walk: newPermutation(p.snap.Len(), p.rng)}
	for len(r.Unplaced) > 0 {
		s := p.leastHarm(&q)
		if s == nil {
			return
		}
		claim := p.claim
		r.Unplaced[0].name(&claim, s.view)
		r.Unplaced = r.Unplaced[1:]
		l := s.ledger
		if len(s.victims) > 0 {
			ev := p.eviction(claim.ID)
			l = l.Clone()
			for _, id := range s.victims {
				l.Find(id).Evict = &ev
				r.Evict = append(r.Evict, cellstate.Evict{ClaimRef: cellstate.ClaimRef{Machine: claim.Machine, ID: id}, Eviction: ev})
			}
			l.Sum()
			claim.After = s.victims
		}
		s.ledger = l.With(claim)
		p.change(s.slot, s.ledger)
		p.spread.add(s.view)
		r.Claims = append(r.Claims, claim)
		if s.estimate(p, &q) {
			heap.Push(&q, s)
		}
	}
}

func (p *plan) eviction(by cellstate.ClaimID) cellstate.Eviction {
	reason := p.req.Evict.Reason
	if reason == "" {
		reason = "preempted by " + by.Scheduler + "/" + by.Job
	}
	return cellstate.Eviction{Deadline: p.claim.Start, Reason: reason, By: by}
}

// site is a machine that may be able to make room.
type site struct {
	slot   int
	order  int // random, so that equal planners look at equal sites in different order
	view   *cellstate.MachineView
	ledger *cellstate.Ledger
	units  []unit // that may be evicted: lowest precedence first, then latest started
	known  knowledge
	// level is the highest precedence among the victims, or noVictims. Until the victims are chosen it is a lower bound.
	level   int
	victims []cellstate.ClaimID
	latest  cellstate.Instant // start of the first victim to have started
}

// knowledge is how closely a site was looked at. Most never come to the head of the queue, and are not looked at again.
type knowledge uint8

const (
	bounded   knowledge = iota // level is a bound by the amounts of single claims
	estimated                  // by those of units
	chosen                     // the victims are known
)

// noVictims is the level below every precedence.
const noVictims = -1

// unit is what can only be evicted together: one claim, or a whole gang.
type unit struct {
	ids        []cellstate.ClaimID
	precedence cellstate.Precedence // the highest
	start      cellstate.Instant    // the earliest
	amount     cellstate.Resources  // in use at the start of the new claim
	firm       bool                 // some of it yields to nobody, or is not here
}

// sites is a queue of machines, lowest level first, and the walk that finds more.
type sites struct {
	list  []*site
	gangs map[gangKey]string
	walk  permutation
	met   int
	sums  []sum // scratch of bound
}

// sitesAtOnce bounds how many machines are compared for the least harm. Among so many drawn at random it is hardly more
// than the least of all.
const sitesAtOnce = 1024

func (q *sites) Len() int      { return len(q.list) }
func (q *sites) Swap(i, j int) { q.list[i], q.list[j] = q.list[j], q.list[i] }
func (q *sites) Push(x any)    { q.list = append(q.list, x.(*site)) }
func (q *sites) Less(i, j int) bool {
	a, b := q.list[i], q.list[j]
	return cmp.Or(cmp.Compare(a.level, b.level), cmp.Compare(a.order, b.order)) < 0
}

func (q *sites) Pop() any {
	last := q.list[len(q.list)-1]
	q.list = q.list[:len(q.list)-1]
	return last
}

// more puts in the queue up to sitesAtOnce further machines where evicting could help, as far as sums over amounts tell. It
// reports whether there are any.
func (p *plan) more(q *sites) bool {
	for len(q.list) < sitesAtOnce {
		slot, ok := q.walk.next()
		if !ok {
			break
		}
		q.met++
		m := p.snap.At(slot)
		if m == nil || !p.rules.admit(m) {
			continue
		}
		l := p.ledger(slot, m)
		if level, ok := q.bound(p, l); ok {
			q.list = append(q.list, &site{slot: slot, order: q.met, view: m, ledger: l, level: level})
		}
	}
	heap.Init(q)
	return len(q.list) > 0
}

// leastHarm takes the site out of the queue that is to make room for the next claim; nil where none can. Victims are chosen
// only on sites that come to the head of the queue, and on no more of one level than are needed to draw among.
func (p *plan) leastHarm(q *sites) *site {
	var best, aside []*site
	for len(best) == 0 && (q.Len() > 0 || p.more(q)) {
		for q.Len() > 0 && len(best) < max(8, 2*p.req.Width) {
			if len(best) > 0 && q.list[0].level > best[0].level {
				break
			}
			s := heap.Pop(q).(*site)
			switch {
			case p.spread.excludes(p, s.view) != none:
				aside = append(aside, s)
			case s.known == chosen:
				best = append(best, s)
			case s.known == bounded && s.estimate(p, q) || s.known == estimated && s.choose(p):
				heap.Push(q, s)
			}
		}
	}
	slices.SortFunc(best, (*site).compare)
	near := 0
	for near < len(best) && near < p.req.Width && len(best[near].victims) == len(best[0].victims) {
		near++
	}
	var drawn *site
	if near > 0 {
		i := p.rng.IntN(near)
		drawn = best[i]
		best = slices.Delete(best, i, i+1)
	}
	for _, s := range slices.Concat(best, aside) {
		heap.Push(q, s)
	}
	return drawn
}

// compare orders sites of one level by harm.
func (s *site) compare(o *site) int {
	return cmp.Or(cmp.Compare(len(s.victims), len(o.victims)), cmp.Compare(o.latest, s.latest), cmp.Compare(s.order, o.order))
}

// sum is what claims of one precedence have in use.
type sum struct {
	precedence cellstate.Precedence
	amount     cellstate.Resources
}

// bound finds the lowest level at which there could be room if any claim that yields could be evicted by itself, by the sum
// of amounts at the start of the new claim. It reports whether there is such a level.
func (q *sites) bound(p *plan, l *cellstate.Ledger) (level int, ok bool) {
	free := l.Free(p.claim.Start, p.claim.Start+1)
	want := &p.claim.Resources
	q.sums = q.sums[:0]
	for i := range l.Claims {
		if c := &l.Claims[i]; p.claim.Precedence.MayEvict(c.Precedence) && c.ActiveAt(p.claim.Start) && !p.owns(c) {
			at := 0
			for at < len(q.sums) && q.sums[at].precedence < c.Precedence {
				at++
			}
			if at == len(q.sums) || q.sums[at].precedence != c.Precedence {
				q.sums = slices.Insert(q.sums, at, sum{precedence: c.Precedence})
			}
			q.sums[at].amount = q.sums[at].amount.Add(c.Resources)
		}
	}
	level = noVictims
	for i := range q.sums {
		if want.Fits(&free) {
			return level, true
		}
		level = int(q.sums[i].precedence)
		free = free.Add(q.sums[i].amount)
	}
	return level, want.Fits(&free)
}

// owns reports whether a claim is of the same job.
func (p *plan) owns(c *cellstate.Claim) bool {
	return c.ID.Scheduler == p.claim.ID.Scheduler && c.ID.Job == p.claim.ID.Job
}

// estimate finds what may be evicted and the lowest level at which, by the sum of amounts at the start of the new claim,
// there could be room. It reports whether there is such a level.
func (s *site) estimate(p *plan, q *sites) bool {
	s.known, s.victims, s.level = estimated, nil, noVictims
	s.units = p.units(s.ledger, q)
	free := s.ledger.Free(p.claim.Start, p.claim.Start+1)
	want := &p.claim.Resources
	for i := range s.units {
		if want.Fits(&free) {
			return true
		}
		s.level = int(s.units[i].precedence)
		free = free.Add(s.units[i].amount)
	}
	return want.Fits(&free)
}

// units returns what on a ledger is not gone by the start of the next claim and may be evicted for it.
func (p *plan) units(l *cellstate.Ledger, q *sites) []unit {
	var out []unit
	var gangs map[gangKey]int // index in out
	for i := range l.Claims {
		c := &l.Claims[i]
		yields := p.claim.Precedence.MayEvict(c.Precedence)
		if p.owns(c) || !yields && c.GangMin == 0 || !c.Overlaps(p.claim.Start, cellstate.Forever) {
			continue
		}
		if out == nil {
			out = make([]unit, 0, len(l.Claims))
		}
		k := gangOf(c)
		n, joined := gangs[k]
		if c.GangMin == 0 || !joined {
			n = len(out)
			out = append(out, unit{start: c.Start})
		}
		u := &out[n]
		u.ids = append(u.ids, c.ID)
		u.precedence = max(u.precedence, c.Precedence)
		u.start = min(u.start, c.Start)
		u.firm = u.firm || !yields
		if c.ActiveAt(p.claim.Start) {
			u.amount = u.amount.Add(c.Resources)
		}
		if c.GangMin > 0 && !joined {
			if gangs == nil {
				gangs = make(map[gangKey]int)
			}
			gangs[k] = n
			u.firm = u.firm || q.gangMachine(p.snap, k) != l.Machine
		}
	}
	out = slices.DeleteFunc(out, func(u unit) bool { return u.firm })
	slices.SortFunc(out, func(a, b unit) int {
		return cmp.Or(cmp.Compare(a.precedence, b.precedence), cmp.Compare(b.start, a.start), a.ids[0].Compare(b.ids[0]))
	})
	return out
}

// gangKey names one run of a job.
type gangKey struct {
	scheduler, job string
	run            uint32
}

func gangOf(c *cellstate.Claim) gangKey { return gangKey{c.ID.Scheduler, c.ID.Job, c.ID.Run} }

// gangMachine returns the machine that holds all live members of a gang, or "". Part of a gang is never evicted: what is
// left of it would be useless, or too few (I2).
func (q *sites) gangMachine(snap cellstate.Snapshot, k gangKey) string {
	machine, known := q.gangs[k]
	if known {
		return machine
	}
	for c := range snap.Claims(k.scheduler, k.job) {
		if c.Claim.Ended || c.Claim.ID.Run != k.run {
			continue
		}
		if machine != "" && machine != c.Claim.Machine {
			machine = ""
			break
		}
		machine = c.Claim.Machine
	}
	q.gangs[k] = machine
	return machine
}
