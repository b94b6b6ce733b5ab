package main

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/schedulers/place"
)

// whyUnplaced names the rule that kept most of the machines from taking a job's task, among those that its constraints allow;
// fits says that there is room after all.
func whyUnplaced(snap cellstate.Snapshot, j *cellstate.Job) (why string, fits bool) {
	r := place.Place(snap, place.Request{
		Job: j, Tasks: []place.Slot{{}}, Start: now(), Limits: cellstate.Limits{}.WithDefaults(),
	}, rand.New(rand.NewPCG(1, 1)))
	if len(r.Claims) > 0 {
		return "fits", true
	}
	counts := make(map[string]uint32)
	for _, rule := range r.Explanation.Rules {
		name, _, _ := strings.Cut(rule.Rule, " ")
		if name == "full:" {
			name = rule.Rule
		}
		counts[name] += rule.Count
	}
	names := slices.Sorted(maps.Keys(counts))
	most := uint32(0)
	why = "constraint"
	for _, name := range names {
		if name != "constraint" && counts[name] > most {
			why, most = name, counts[name]
		}
	}
	return why, false
}
