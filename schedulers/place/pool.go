package place

import (
	"math/rand/v2"
	"slices"

	"github.com/omegacell/omegacell/cellstate"
)

// pool holds machines that take the next claim, best first. It is filled by probing machines in random order, and only as
// far as needed: to the bottom of the cell only where machines with room are rare. As the tasks of a request are equal, and
// a request only makes machines fuller, what once was refused for want of room need not be looked at again.
type pool struct {
	probe  permutation
	want   int // candidates to hold while there are more to be had
	groups []*group
	heads  []head // scratch of nth
}

// Probing for the next task goes on for so many machines per wanted candidate; then fewer candidates must do. A task that
// still has none goes on to the end.
const patience = 16

// group is the candidates that the job's spreads treat alike, so that counting one more task moves their scores together.
type group struct {
	values []*value // one for each spread that is not local
	cands  []*candidate
}

// candidate is a machine that takes the next claim.
type candidate struct {
	slot  int
	view  *cellstate.MachineView
	group *group
	fixed float64 // attraction
	suits float64 // that, and what local spreads take from it
	score float64 // without the group's part
}

// newPool sizes the pool: with four candidates for each that is drawn among, a wide draw packs openb's pods as well as a
// narrow one (with two, about one pod in ninety is placed less). Where tasks are to be apart, there have to be as many machines.
func newPool(p *plan) pool {
	tasks, n := len(p.req.Tasks), p.snap.Len()
	want := max(8, 4*p.req.Width)
	if len(p.affinity) > 0 || len(p.spread.list) > 0 {
		want *= 2
	}
	if p.req.Job.Packing == cellstate.SpreadLoad || len(p.spread.list) > 0 {
		want = max(want, 2*tasks)
	}
	return pool{probe: newPermutation(n, p.rng), want: min(want, n)}
}

// draw takes one of the Width best candidates out of the pool, of those that suit the job as well as the best, each with
// the same chance; nil where no machine takes the next task.
func (p *plan) draw() *candidate {
	n := p.fill()
	if n == 0 {
		return nil
	}
	g, i := p.nth(p.rng.IntN(p.near(min(p.req.Width, n))))
	c := g.cands[i]
	g.cands = slices.Delete(g.cands, i, i+1)
	return c
}

// take records a claim on the candidate's machine, and puts it back in the pool if there is room for another.
func (p *plan) take(c *candidate, claim cellstate.Claim) {
	l := p.ledger(c.slot, c.view).With(claim)
	p.working[c.slot] = l
	if p.fit(l) == (cellstate.Shortage{}) {
		p.put(c, l)
	}
}

// fill probes until the pool holds enough candidates that may be drawn now, and returns how many it holds.
func (p *plan) fill() int {
	n := 0
	for _, g := range p.pool.groups {
		if p.open(g) {
			n += len(g.cands)
		}
	}
	for left := patience * p.pool.want; n < p.pool.want && (n == 0 || left > 0); left-- {
		slot, ok := p.pool.probe.next()
		if !ok {
			break
		}
		if m := p.snap.At(slot); m != nil && p.rules.excludes(m) == "" {
			if l := p.ledger(slot, m); p.fit(l) == (cellstate.Shortage{}) {
				c := &candidate{slot: slot, view: m, fixed: p.attraction(m)}
				if c.group = p.groupOf(m); c.group != nil {
					p.put(c, l)
					if p.open(c.group) {
						n++
					}
				}
			}
		}
	}
	return n
}

// put scores a candidate and sorts it into its group. Among equals the first come stays first.
func (p *plan) put(c *candidate, l *cellstate.Ledger) {
	c.suits = c.fixed
	for _, s := range p.spread.list {
		if s.local() {
			c.suits -= s.weight * float64(s.on(c.view).tasks)
		}
	}
	c.score = packWeight*p.packing(l) + c.suits
	cands := c.group.cands
	i, _ := slices.BinarySearchFunc(cands, c.score, func(o *candidate, score float64) int {
		if o.score >= score {
			return -1
		}
		return 1
	})
	c.group.cands = slices.Insert(cands, i, c)
}

// local reports whether the spread's value is the machine's own: then placing on one machine moves no other's score.
func (s *spread) local() bool { return s.attribute == nameAttribute && s.maxSkew == 0 }

// groupOf returns the machine's group, a new one if need be; nil where a spread with a MaxSkew finds no value on it.
func (p *plan) groupOf(m *cellstate.MachineView) *group {
	var values []*value
	for _, s := range p.spread.list {
		if s.local() {
			continue
		}
		v := s.on(m)
		if v == nil {
			return nil
		}
		values = append(values, v)
	}
	alike := &p.pool.groups
	if len(values) > 0 {
		alike = &values[0].groups
	}
	for _, g := range *alike {
		if slices.Equal(g.values, values) {
			return g
		}
	}
	g := &group{values: values}
	if len(values) > 0 {
		*alike = append(*alike, g)
	}
	p.pool.groups = append(p.pool.groups, g)
	return g
}

// open reports whether the spreads let the group have one more task.
func (p *plan) open(g *group) bool {
	if !p.spread.hard {
		return true
	}
	i := 0
	for _, s := range p.spread.list {
		if s.local() {
			continue
		}
		if s.maxSkew > 0 && !s.takes(p, g.values[i]) {
			return false
		}
		i++
	}
	return true
}

// penalty is what the spreads take from the score of all of the group.
func (p *plan) penalty(g *group) float64 {
	sum, i := 0.0, 0
	for _, s := range p.spread.list {
		if !s.local() {
			sum += s.weight * float64(g.values[i].tasks)
			i++
		}
	}
	return sum
}

// head is the best of a group that is not passed over yet.
type head struct {
	group   *group
	at      int
	penalty float64
}

func (h *head) score() float64 { return h.group.cands[h.at].score - h.penalty }

// nth returns the group and the place in it of the candidate that n others are better than. There must be one.
func (p *plan) nth(n int) (g *group, i int) {
	if len(p.pool.groups) == 1 {
		return p.pool.groups[0], n
	}
	for g, i = range p.ranked {
		if n--; n < 0 {
			break
		}
	}
	return g, i
}

// near returns how many of the n best candidates suit the job as well as the best does, packing apart. In a small cell the n
// best are all there are, and a draw among them would take no notice of affinities and spreads.
func (p *plan) near(n int) int {
	if len(p.affinity) == 0 && len(p.spread.list) == 0 {
		return n
	}
	count, best := 0, 0.0
	for g, i := range p.ranked {
		suits := g.cands[i].suits - p.penalty(g)
		if count == 0 {
			best = suits
		}
		if count == n || suits < best {
			break
		}
		count++
	}
	return count
}

// ranked yields the candidates that may be drawn now, best first, as group and place in it.
func (p *plan) ranked(yield func(*group, int) bool) {
	if len(p.pool.groups) == 1 {
		for i := range p.pool.groups[0].cands {
			if !yield(p.pool.groups[0], i) {
				return
			}
		}
		return
	}
	h := p.pool.heads[:0]
	for _, g := range p.pool.groups {
		if len(g.cands) > 0 && p.open(g) {
			h = append(h, head{group: g, penalty: p.penalty(g)})
		}
	}
	p.pool.heads = h
	for i := len(h)/2 - 1; i >= 0; i-- {
		sink(h, i)
	}
	for len(h) > 0 && yield(h[0].group, h[0].at) {
		if h[0].at++; h[0].at == len(h[0].group.cands) {
			h[0] = h[len(h)-1]
			h = h[:len(h)-1]
		}
		sink(h, 0)
	}
}

// sink restores the heap (best first) below i.
func sink(h []head, i int) {
	for {
		best := i
		for _, child := range [2]int{2*i + 1, 2*i + 2} {
			if child < len(h) && h[child].score() > h[best].score() {
				best = child
			}
		}
		if best == i {
			return
		}
		h[i], h[best] = h[best], h[i]
		i = best
	}
}

// permutation walks 0 … n−1 once, from a random place by a random stride that n has no factor in common with.
type permutation struct{ n, at, stride, left int }

func newPermutation(n int, rng *rand.Rand) permutation {
	if n <= 0 {
		return permutation{}
	}
	stride := 1 + rng.IntN(n)
	for gcd(stride, n) != 1 {
		stride = 1 + rng.IntN(n)
	}
	return permutation{n: n, at: rng.IntN(n), stride: stride, left: n}
}

func (p *permutation) next() (int, bool) {
	if p.left == 0 {
		return 0, false
	}
	p.left--
	i := p.at
	p.at = (p.at + p.stride) % p.n
	return i, true
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
