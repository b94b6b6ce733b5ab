package place

import "github.com/omegacell/omegacell/cellstate"

// pool holds machines that take the next claim, for the best to be drawn from. It is filled by probing machines in random
// order, and only as far as needed: to the bottom of the cell only where machines with room are rare. As the tasks of a
// request are equal, and a request only makes machines fuller, what once was refused for want of room need not be looked at
// again, and what is left on a machine is known without looking: each claim leaves its amount less.
type pool struct {
	probe permutation
	want  int // candidates to hold while there are more to be had
	least int // as many as that, however few values a spread has
	left  int // machines that may yet be probed while there are candidates, if fewer than wanted
	cands []candidate
	ranking
}

// candidate is a machine that takes, or took, the next claim.
type candidate struct {
	view  *cellstate.MachineView
	group *group
	room  *room   // nil until the request took some
	fixed float64 // attraction
	suits float64 // that, less what local spreads take
	slot  int
}

// room is what a machine has left for claims equal to the request's, beside those that it took.
type room struct {
	free   cellstate.Resources // throughout their interval
	claims int                 // how many more the limit allows
}

// none is the index of no candidate.
const none = -1

// Beyond the first candidate, so many machines are probed for each that is wanted, and for each further task so many in all;
// then fewer candidates must do. A task that still has none goes on to the end of the cell.
const patience = 16

// newPool sizes the pool: with four candidates for each that is drawn among, a wide draw packs openb's pods as well as a
// narrow one (with two, about one pod in ninety is placed less). Where tasks are to be apart, there have to be as many machines.
func newPool(p *plan) pool {
	tasks, n := len(p.req.Tasks), p.snap.Len()
	want := max(8, 4*p.req.Width)
	if len(p.affinity) > 0 {
		want *= 2
	}
	least := want
	if p.req.Job.Packing == cellstate.SpreadLoad || len(p.spread.list) > 0 {
		want = max(want, 2*tasks)
	}
	want = min(want, n)
	return pool{
		probe: newPermutation(n, p.rng), want: want, least: least, left: patience * want,
		cands: make([]candidate, 0, want), ranking: newRanking(p, want),
	}
}

// draw takes one of the Width best candidates out of the pool, of those that suit the job as well as the best, each with
// the same chance; none where no machine takes the next task.
func (p *plan) draw() int {
	n := min(p.req.Width, p.fill())
	if n == 0 {
		return none
	}
	if len(p.affinity) == 0 && len(p.spread.list) == 0 {
		ranks := p.pool.best(1 + p.rng.IntN(n))
		return p.pool.take(ranks[len(ranks)-1])
	}
	ranks := p.pool.best(n)
	return p.pool.take(ranks[p.rng.IntN(p.near(ranks))])
}

// near returns how many of the best candidates suit the job as well as the best does, packing apart. In a small cell the
// best are all there are, and a draw among them would take no notice of affinities and spreads.
func (p *plan) near(ranks []rank) int {
	suits := func(r rank) float64 { return p.pool.cands[r.cand].suits - r.group.penalty }
	best := suits(ranks[0])
	for i, r := range ranks {
		if suits(r) < best {
			return i
		}
	}
	return len(ranks)
}

// take records a claim on a candidate's machine, and puts it back in the pool if there is room for another.
func (p *plan) take(i int, claim *cellstate.Claim) {
	c := &p.pool.cands[i]
	if p.devices() {
		l := p.ledger(c.slot, c.view).With(*claim)
		p.change(c.slot, l)
		if p.fit(l) == (cellstate.Shortage{}) {
			p.put(i, l.Free(p.claim.Start, p.until()))
		}
		return
	}
	if c.room == nil {
		l := c.view.Ledger
		c.room = &room{free: l.Free(p.claim.Start, p.until()), claims: p.req.Limits.ClaimsPerMachine - len(l.Claims)}
	}
	c.room.claims--
	c.room.free = c.room.free.Sub(claim.Resources)
	if c.room.claims > 0 && claim.Resources.Fits(&c.room.free) {
		p.put(i, c.room.free)
	}
}

// fill probes until the pool holds enough candidates that may be drawn now, and returns how many it holds.
func (p *plan) fill() int {
	q := &p.pool
	for short := p.short(); short > 0 && (q.ready == 0 || q.left > 0); short = p.short() {
		found := p.look(min(short, lookahead))
		if found == 0 {
			break
		}
		q.left -= found
	}
	q.left = min(q.left+patience, patience*q.want)
	return q.ready
}

// short is how many more candidates the pool should hold. For tasks that are to be even over the values of attributes it need
// not hold two for each task if it holds, of every value that was met, six: then hardly a value was not met.
func (p *plan) short() int {
	want := p.pool.want
	if p.spread.grouped {
		want = min(want, max(p.pool.least, 6*len(p.pool.all)))
	}
	return want - p.pool.ready
}

// lookahead bounds how many machines are probed together. What is known of a machine is seldom in the processor's caches:
// where it is, is read of all before what it has, so that it can fetch them at the same time.
const lookahead = 16

// look probes up to n machines, puts in the pool those that take the next claim, and returns how many it probed.
func (p *plan) look(n int) int {
	var buf [lookahead]candidate
	probed := buf[:n]
	for i := range probed {
		slot, ok := p.pool.probe.next()
		if !ok {
			probed = probed[:i]
			break
		}
		probed[i].slot, probed[i].view = slot, p.snap.At(slot)
	}
	n = len(probed)
	probed = keep(probed, func(c *candidate) bool { return c.view != nil && c.view.Session != nil })
	if len(p.rules.constraints) > 0 {
		probed = keep(probed, func(c *candidate) bool { return p.rules.unsatisfied(c.view) == none })
	}
	probed = keep(probed, func(c *candidate) bool { return open(c.view.Ledger) && !p.rules.avoids(c.view) })
	probed = keep(probed, func(c *candidate) bool { return p.fit(c.view.Ledger) == cellstate.Shortage{} })
	p.group(probed)
	for _, c := range probed {
		if c.group == nil {
			continue
		}
		c.fixed = p.attraction(c.view)
		p.pool.cands = append(p.pool.cands, c)
		p.put(len(p.pool.cands)-1, c.view.Ledger.Free(p.claim.Start, p.until()))
	}
	return n
}

// keep drops from a list all that f is false of.
func keep(list []candidate, f func(*candidate) bool) []candidate {
	n := 0
	for i := range list {
		if f(&list[i]) {
			if n < i {
				list[n] = list[i]
			}
			n++
		}
	}
	return list[:n]
}

// put scores a candidate, of which so much is free, and ranks it among its group.
func (p *plan) put(i int, free cellstate.Resources) {
	c := &p.pool.cands[i]
	c.suits = c.fixed
	for _, s := range p.spread.list {
		if s.local {
			c.suits -= s.weight * float64(s.tasksOn(c.view))
		}
	}
	p.pool.push(c.group, packWeight*p.packing(c, &free)+c.suits, i)
}
