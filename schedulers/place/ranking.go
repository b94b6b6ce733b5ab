package place

import "math"

// ranking orders the candidates of a pool: a heap of groups, best first, each with a heap of its own. Counting one more task
// then moves a group, not its members.
type ranking struct {
	groups []*group // the heap
	all    []*group // in the order of their making
	ready  int      // candidates in groups that are not shut
	puts   uint32
	spare  []group // made ahead, to be handed out
	ranks  []rank  // scratch of best
	edge   []rank
}

// entry is a candidate in its group. Among equals the first come is the better.
type entry struct {
	score float64
	put   uint32
	cand  int32
}

func (m *entry) better(o *entry) bool {
	return m.score > o.score || m.score == o.score && m.put < o.put
}

// newRanking has one group where no spread tells candidates apart; else they come with the candidates.
func newRanking(p *plan, want int) ranking {
	n := min(p.req.Width, want)
	r := ranking{ranks: make([]rank, 0, n), edge: make([]rank, 0, 2*n+2)}
	if p.spread.grouped {
		r.reserve(min(want, 64))
	} else {
		r.add(nil).members = make([]entry, 0, want)
	}
	return r
}

// reserve makes room for so many groups.
func (r *ranking) reserve(n int) {
	r.groups, r.all, r.spare = make([]*group, 0, n), make([]*group, 0, n), make([]group, n)
}

// add makes a group. It copies the values.
func (r *ranking) add(values []*value) *group {
	if len(r.spare) == 0 {
		r.spare = make([]group, min(max(1, len(r.all)), 64))
	}
	g := &r.spare[0]
	r.spare = r.spare[1:]
	g.values, g.members, g.at = append(g.firstValue[:0], values...), g.firstEntry[:0], len(r.groups)
	r.groups, r.all = append(r.groups, g), append(r.all, g)
	return g
}

// first is how good the group's best candidate is now; of one that cannot be drawn from, worse than any.
func (g *group) first() entry {
	if g.shut || len(g.members) == 0 {
		return entry{score: math.Inf(-1)}
	}
	m := g.members[0]
	m.score -= g.penalty
	return m
}

// push ranks a candidate among its group.
func (r *ranking) push(g *group, score float64, cand int) {
	g.members = append(g.members, entry{score, r.puts, int32(cand)})
	r.puts++
	if !g.shut {
		r.ready++
	}
	if g.rise(len(g.members)-1) == 0 {
		r.move(g)
	}
}

// take removes a candidate from the ranking and returns it. Every rank got before is void.
func (r *ranking) take(k rank) int {
	g := k.group
	last := len(g.members) - 1
	g.members[k.at] = g.members[last]
	g.members = g.members[:last]
	if k.at < last {
		g.sink(g.rise(k.at))
	}
	r.ready--
	if k.at == 0 {
		r.move(g)
	}
	return int(k.cand)
}

// rejudge gives a group another penalty, and opens or shuts it.
func (r *ranking) rejudge(g *group, penalty float64, shut bool) {
	switch {
	case shut && !g.shut:
		r.ready -= len(g.members)
	case g.shut && !shut:
		r.ready += len(g.members)
	}
	g.penalty, g.shut = penalty, shut
	r.move(g)
}

// rank is a candidate and where it stands.
type rank struct {
	entry // with the score less the group's penalty
	group *group
	at    int // among the members
}

// best returns the n best candidates that may be drawn now, best first. There must be as many. The result holds until the
// next call.
func (r *ranking) best(n int) []rank {
	r.ranks, r.edge = r.ranks[:0], r.edge[:0]
	r.front(r.groups[0])
	for len(r.ranks) < n {
		k := r.edge[0]
		r.ranks = append(r.ranks, k)
		r.edge[0] = r.edge[len(r.edge)-1]
		r.edge = r.edge[:len(r.edge)-1]
		sinkRank(r.edge)
		for child := 2*k.at + 1; child <= 2*k.at+2 && child < len(k.group.members); child++ {
			m := k.group.members[child]
			m.score -= k.group.penalty
			r.border(rank{m, k.group, child})
		}
		if k.at == 0 {
			for child := 2*k.group.at + 1; child <= 2*k.group.at+2 && child < len(r.groups); child++ {
				r.front(r.groups[child])
			}
		}
	}
	return r.ranks
}

// front adds the best of a group to the edge of what was ranked.
func (r *ranking) front(g *group) {
	if m := g.first(); !math.IsInf(m.score, -1) {
		r.border(rank{m, g, 0})
	}
}

// border adds a rank to the edge, a heap.
func (r *ranking) border(k rank) {
	r.edge = append(r.edge, k)
	for i := len(r.edge) - 1; i > 0; {
		up := (i - 1) / 2
		if !r.edge[i].better(&r.edge[up].entry) {
			return
		}
		r.edge[i], r.edge[up] = r.edge[up], r.edge[i]
		i = up
	}
}

// sinkRank restores the heap below its first.
func sinkRank(h []rank) {
	for i := 0; ; {
		best := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(h); child++ {
			if h[child].better(&h[best].entry) {
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

// rise restores the heap of members above i, and returns where that member is then.
func (g *group) rise(i int) int {
	for i > 0 {
		up := (i - 1) / 2
		if !g.members[i].better(&g.members[up]) {
			break
		}
		g.members[i], g.members[up] = g.members[up], g.members[i]
		i = up
	}
	return i
}

// sink restores the heap of members below i.
func (g *group) sink(i int) {
	for {
		best := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(g.members); child++ {
			if g.members[child].better(&g.members[best]) {
				best = child
			}
		}
		if best == i {
			return
		}
		g.members[i], g.members[best] = g.members[best], g.members[i]
		i = best
	}
}

// move puts a group where it belongs after its best candidate changed.
func (r *ranking) move(g *group) {
	if len(r.groups) == 1 {
		return
	}
	me := g.first()
	for g.at > 0 {
		up := r.groups[(g.at-1)/2]
		if o := up.first(); !me.better(&o) {
			break
		}
		r.swap(g, up)
	}
	for {
		best, score := g, me
		for child := 2*g.at + 1; child <= 2*g.at+2 && child < len(r.groups); child++ {
			if o := r.groups[child].first(); o.better(&score) {
				best, score = r.groups[child], o
			}
		}
		if best == g {
			return
		}
		r.swap(g, best)
	}
}

func (r *ranking) swap(a, b *group) {
	r.groups[a.at], r.groups[b.at] = b, a
	a.at, b.at = b.at, a.at
}
