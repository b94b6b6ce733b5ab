package place

import (
	"cmp"
	"slices"

	"github.com/omegacell/omegacell/cellstate"
)

// choose finds the victims on a site: of the lowest level that is enough, and few. It reports whether any are enough.
func (s *site) choose(p *plan) bool {
	what := whatIf{plan: p, ledger: s.ledger.Clone()}
	n := 0
	for enough := what.fits(); !enough; enough = what.fits() {
		if n == len(s.units) {
			return false
		}
		level := s.units[n].precedence
		for ; n < len(s.units) && s.units[n].precedence == level; n++ {
			what.evict(&s.units[n])
		}
	}
	s.known = chosen
	for i, u := range what.fewest(s.ledger, s.units[:n]) {
		s.victims = append(s.victims, u.ids...)
		if s.level = max(s.level, int(u.precedence)); i == 0 || u.start < s.latest {
			s.latest = u.start
		}
	}
	slices.SortFunc(s.victims, cellstate.ClaimID.Compare)
	return true
}

// whatIf is a copy of a ledger to try evictions on.
type whatIf struct {
	plan   *plan
	ledger *cellstate.Ledger
}

func (w *whatIf) fits() bool { return w.plan.fit(w.ledger.Sum()) == (cellstate.Shortage{}) }

func (w *whatIf) evict(u *unit) {
	for _, id := range u.ids {
		w.ledger.Find(id).Evict = &cellstate.Eviction{Deadline: w.plan.claim.Start}
	}
}

// spare takes an eviction back.
func (w *whatIf) spare(u *unit, as *cellstate.Ledger) {
	for _, id := range u.ids {
		w.ledger.Find(id).Evict = as.Find(id).Evict
	}
}

// fewest returns victims that are enough, out of units that are enough together, of which those of the last precedence
// are needed. A single one of these is best; else units are spared while the rest is enough, those first that weigh most:
// higher precedence, then smaller (so that fewer larger ones remain), then earlier started.
func (w *whatIf) fewest(as *cellstate.Ledger, units []unit) []*unit {
	if len(units) == 0 {
		return nil
	}
	all := make([]*unit, len(units))
	for i := range units {
		all[i] = &units[i]
		w.spare(all[i], as)
	}
	for _, u := range all {
		if u.precedence == all[len(all)-1].precedence && len(u.ids) == 1 {
			w.evict(u)
			if w.fits() {
				return []*unit{u}
			}
			w.spare(u, as)
		}
	}
	for _, u := range all {
		w.evict(u)
	}
	slices.SortStableFunc(all, func(a, b *unit) int {
		return cmp.Or(cmp.Compare(b.precedence, a.precedence), cmp.Compare(w.weight(a), w.weight(b)),
			cmp.Compare(a.start, b.start), a.ids[0].Compare(b.ids[0]))
	})
	return slices.DeleteFunc(all, func(u *unit) bool {
		w.spare(u, as)
		if w.fits() {
			return true
		}
		w.evict(u)
		return false
	})
}

// weight is how much of what the new claim lacks the unit frees for each claim that goes: the largest share over all amounts.
func (w *whatIf) weight(u *unit) float64 {
	want := &w.plan.claim.Resources
	most := 0.0
	for _, a := range amounts(want, &u.amount) {
		most = max(most, part(a.have, a.want))
	}
	return most / float64(len(u.ids))
}
