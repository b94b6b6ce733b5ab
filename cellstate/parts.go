package cellstate

import (
	"slices"
	"strings"
)

// Parts splits a transaction into the parts that are decided by themselves, ordered by their first machine.
func (t *Txn) Parts() []Part {
	g := newGrouping(len(t.Remove) + len(t.Evict) + len(t.Add) + 2*len(t.Move))
	remove, evict, add, move := make([]int32, len(t.Remove)), make([]int32, len(t.Evict)), make([]int32, len(t.Add)), make([]int32, len(t.Move))
	for i := range t.Remove {
		remove[i] = g.machine(t.Remove[i].Machine)
	}
	newcomers := t.newcomers()
	for i := range t.Evict {
		evict[i] = g.machine(t.Evict[i].Machine)
		if to, ok := newcomers[t.Evict[i].Eviction.By]; ok {
			g.join(evict[i], g.machine(to))
		}
	}
	for i := range t.Add {
		add[i] = g.machine(t.Add[i].Machine)
	}
	for i := range t.Move {
		move[i] = g.machine(t.Move[i].To.Machine)
		g.join(g.machine(t.Move[i].From), move[i])
	}
	if t.Mode == AllOrNothing {
		for i := range g.names {
			g.join(0, int32(i))
		}
	}
	parts, of := g.parts()
	for i, m := range remove {
		p := &parts[of[m]]
		p.remove = append(p.remove, t.Remove[i])
	}
	for i, m := range evict {
		p := &parts[of[m]]
		p.evict = append(p.evict, t.Evict[i])
		_, makesRoom := newcomers[t.Evict[i].Eviction.By]
		p.Atomic = p.Atomic || makesRoom
	}
	t.deal(parts, of, add)
	for i, m := range move {
		p := &parts[of[m]]
		p.move = append(p.move, t.Move[i])
		p.Atomic = true
	}
	if t.Mode == AllOrNothing && len(parts) > 0 {
		parts[0].Atomic = true
	}
	return parts
}

// deal gives each part its added claims, which stand side by side in one list: most transactions are nothing else.
func (t *Txn) deal(parts []Part, of []int32, machine []int32) {
	many := make([]int32, len(parts))
	for _, m := range machine {
		many[of[m]]++
	}
	all := make([]*Claim, len(machine))
	for i := range parts {
		parts[i].add, all = all[:0:many[i]], all[many[i]:]
	}
	for i, m := range machine {
		p := &parts[of[m]]
		p.add = append(p.add, &t.Add[i])
	}
}

// newcomers returns the machine that each added or moved claim goes to; nil where no eviction makes room for anything.
func (t *Txn) newcomers() map[ClaimID]string {
	if !slices.ContainsFunc(t.Evict, func(e Evict) bool { return e.Eviction.By != ClaimID{} }) {
		return nil
	}
	to := make(map[ClaimID]string, len(t.Add)+len(t.Move))
	for i := range t.Add {
		to[t.Add[i].ID] = t.Add[i].Machine
	}
	for i := range t.Move {
		to[t.Move[i].To.ID] = t.Move[i].To.Machine
	}
	return to
}

// grouping is a disjoint-set forest over machines, which it numbers.
type grouping struct {
	number map[string]int32
	names  []string // by number
	parent []int32  // by number; itself at a root
}

func newGrouping(n int) *grouping {
	return &grouping{number: make(map[string]int32, n), names: make([]string, 0, n), parent: make([]int32, 0, n)}
}

func (g *grouping) machine(name string) int32 {
	n, ok := g.number[name]
	if !ok {
		n = int32(len(g.names))
		g.number[name] = n
		g.names, g.parent = append(g.names, name), append(g.parent, n)
	}
	return n
}

func (g *grouping) find(a int32) int32 {
	for g.parent[a] != a {
		g.parent[a] = g.parent[g.parent[a]]
		a = g.parent[a]
	}
	return a
}

func (g *grouping) join(a, b int32) { g.parent[g.find(b)] = g.find(a) }

// parts returns a part for each group, ordered by its first machine, and the part of each machine by number.
func (g *grouping) parts() (parts []Part, of []int32) {
	order := make([]int32, len(g.names))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int { return strings.Compare(g.names[a], g.names[b]) })
	sorted := make([]string, len(order))
	of = make([]int32, len(order))
	for i := range of {
		of[i] = -1
	}
	parts = make([]Part, 0, len(order))
	for i, m := range order {
		sorted[i] = g.names[m]
		root := g.find(m)
		if of[root] < 0 {
			of[root] = int32(len(parts))
			parts = append(parts, Part{Machines: sorted[i : i+1 : i+1]}) // a copy is made for those with more
		} else {
			p := &parts[of[root]]
			p.Machines = append(p.Machines, sorted[i])
		}
		of[m] = of[root]
	}
	return parts, of
}
