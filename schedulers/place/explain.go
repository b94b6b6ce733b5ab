package place

import (
	"slices"

	"github.com/omegacell/omegacell/cellstate"
)

// nearMisses bounds how many machines an explanation names.
const nearMisses = 5

// explain says why tasks are unplaced, where `found` of the request's tasks had a place.
func (p *plan) explain(found, unplaced int) *cellstate.Explanation {
	s := p.survey()
	e := &cellstate.Explanation{
		At: p.req.Start, Rev: p.snap.Rev(), Unplaced: uint32(unplaced),
		Looked: s.looked, Eligible: s.eligible, Rules: s.rules.counted(p), Unblock: p.unblock(&s, found),
	}
	for i := range s.nearest {
		m := &s.nearest[i]
		e.NearMisses = append(e.NearMisses, cellstate.NearMiss{Machine: m.ledger.Machine, Lacks: join(p.lacks(m), amount.lack)})
	}
	return e
}

// survey is a look at every machine of the cell, after what this request placed, for the next task of the request. It keeps
// counts and the few machines that are named, as it is made of all of a cell, for every job that waits.
type survey struct {
	looked, eligible uint32
	rules            census
	satisfying       int // machines that satisfy all constraints; of these,
	silent           int // have no session,
	cordoned         int // take no further claims,
	avoided          int // or are not to be used
	admitted         int // the rest of them
	able             int // admitted machines whose whole capacity would hold the task
	largest          cellstate.Resources
	nearest          []miss // the nearMisses that lack least
	best             *miss  // of those able, the one that lacks least
	alike            []lack
	crowded, skewed  int // admitted machines excluded by the claims limit or by a MaxSkew
}

// lack counts the machines that lack the same amounts.
type lack struct {
	dims uint64
	n    int
}

func (p *plan) survey() survey {
	s := survey{rules: p.newCensus()}
	want := &p.claim.Resources
	for _, e := range want.Extended {
		s.largest.Extended = append(s.largest.Extended, cellstate.Extended{Name: e.Name})
	}
	for slot := range p.snap.Len() {
		if m := p.snap.At(slot); m != nil {
			s.looked++
			p.examine(&s, slot, m)
		}
	}
	return s
}

// examine adds one machine to the survey.
func (p *plan) examine(s *survey, slot int, m *cellstate.MachineView) {
	constraint := p.rules.unsatisfied(m)
	if constraint == none {
		s.satisfying++
	}
	count := func(n *int, rule int) {
		if constraint == none {
			*n++
		}
		s.rules.add(rule)
	}
	switch {
	case m.Session == nil:
		count(&s.silent, ruleNoSession)
		return
	case !open(m.Ledger):
		count(&s.cordoned, ruleCordoned)
		return
	case constraint != none:
		s.rules.add(s.rules.constraints + constraint)
		return
	case p.rules.avoids(m):
		count(&s.avoided, s.rules.avoided)
		return
	}
	l := p.ledger(slot, m)
	s.admitted++
	able := p.claim.Resources.Fits(&l.Capacity)
	if able {
		s.able++
	} else {
		s.enlarge(&l.Capacity)
	}
	skew := p.spread.excludes(p, m)
	short := p.fit(l)
	switch short.Reason {
	case 0:
		if skew == none {
			s.eligible++
			return
		}
		s.skewed++
		s.rules.add(s.rules.spreads + skew)
		return
	case cellstate.ReasonFull, cellstate.ReasonGPUDevice:
		if skew == none {
			s.missed(p.miss(l, able, short))
		}
	case cellstate.ReasonTooManyClaims:
		s.crowded++
	}
	s.rules.add(s.rules.shortage(p, short))
}

// enlarge raises the largest capacity of each dimension to c's.
func (s *survey) enlarge(c *cellstate.Resources) {
	m := &s.largest
	m.CPUMilli, m.MemBytes, m.DiskBytes = max(m.CPUMilli, c.CPUMilli), max(m.MemBytes, c.MemBytes), max(m.DiskBytes, c.DiskBytes)
	m.NetBitsPerSecond, m.GPUMilli = max(m.NetBitsPerSecond, c.NetBitsPerSecond), max(m.GPUMilli, c.GPUMilli)
	for i := range m.Extended {
		e := &m.Extended[i]
		e.Amount = max(e.Amount, c.Amount(e.Name))
	}
}

// missed counts a machine that lacks nothing but amounts, and keeps it if it is one of the nearest.
func (s *survey) missed(m miss) {
	i := slices.IndexFunc(s.alike, func(a lack) bool { return a.dims == m.dims })
	if i < 0 {
		i = len(s.alike)
		s.alike = append(s.alike, lack{dims: m.dims})
	}
	s.alike[i].n++
	if m.able && (s.best == nil || m.less(s.best)) {
		best := m
		s.best = &best
	}
	at := len(s.nearest)
	for at > 0 && m.less(&s.nearest[at-1]) {
		at--
	}
	if at < nearMisses {
		s.nearest = slices.Insert(s.nearest[:min(len(s.nearest), nearMisses-1)], at, m)
	}
}
