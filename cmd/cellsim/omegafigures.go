package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cmd/internal/cliconf"
	"github.com/omegacell/omegacell/schedulers/sim"
)

// figure is one experiment of the paper, or of our own beside it: what is run, and what is drawn of it. A
// figure is the same whichever others are drawn with it.
type figure struct {
	name, title string
	fixed       string // what is the same for all points
	column, x   string // of the CSV; of the axis
	logX        bool
	ticksX      []float64
	points      func() []figurePoint
	panels      []figurePanel
	without     []string // the series beside which the no-conflict approximation is drawn; of others it is the same
}

// figurePoint is one setting: a place on one line.
type figurePoint struct {
	series string
	x      float64
	config sim.Config // without seed, machines and horizon
	load   figureLoad
}

// figurePanel says which measure of which class a panel shows.
type figurePanel struct {
	title, y   string
	class      sim.Class
	measure    func(*figureRow) spread
	logY       bool
	least      float64
	objective  bool    // the paper's 30 s
	most       float64 // the y axis ends here; 0: where the lines do
	noConflict bool    // draw the approximation too
}

// The measures that panels show.
func waitOf(r *figureRow) spread       { return r.wait }
func busyOf(r *figureRow) spread       { return r.busy }
func noConflictOf(r *figureRow) spread { return r.noConflict }
func conflictOf(r *figureRow) spread   { return r.conflict }

func waitPanel(c sim.Class) figurePanel {
	return figurePanel{title: "Wait until the first attempt, " + c.String() + " jobs", y: "mean wait [s]", class: c, measure: waitOf, logY: true, least: 1e-3, objective: true}
}

func busyPanel(c sim.Class) figurePanel {
	return figurePanel{title: "Busyness, " + c.String() + " jobs' schedulers", y: "share of time", class: c, measure: busyOf, most: 1.1, noConflict: true}
}

func conflictPanel(c sim.Class) figurePanel {
	return figurePanel{title: "Conflict fraction, " + c.String() + " jobs", y: "conflicts by success", class: c, measure: conflictOf, logY: true, least: 1e-3}
}

// The names of lines that stand in several figures.
const (
	linePaper    = "paper's rule"
	lineOurs     = "revalidation + repair"
	lineGoogle   = "Google's simulator"
	lineShared   = "shared state"
	noConflictOn = " without conflicts"
)

// decisionTimes span the paper's range of t_job, in seconds.
func decisionTimes() []float64 { return []float64{0.01, 0.1, 0.3, 1, 3, 10, 30, 100} }

const tJobService = "t_job of service jobs [s]"

func figures() []figure {
	return []figure{
		{
			name: "decision", title: "Wait and busyness against decision time, by architecture", x: "t_job of service jobs (single path: of all) [s]", column: "t_job_s", logX: true,
			fixed: "batch t_job 0.1 s, t_task 5 ms", without: []string{lineShared}, points: decisionPoints,
			panels: []figurePanel{waitPanel(sim.Batch), waitPanel(sim.Service), busyPanel(sim.Batch), busyPanel(sim.Service)},
		},
		{
			name: "arrivals", title: "Wait and busyness against the arrival rate of batch jobs", x: "batch arrivals, relative", column: "arrivals",
			ticksX: []float64{1, 2, 4, 6, 8, 10}, fixed: "t_job 1 s; tasks run the shorter the more there are", without: []string{lineShared + " with 1 for batch", lineShared + " with 4 for batch"}, points: arrivalPoints,
			panels: []figurePanel{waitPanel(sim.Batch), waitPanel(sim.Service), busyPanel(sim.Batch), busyPanel(sim.Service)},
		},
		{
			name: "schedulers", title: "From 1 to 128 batch schedulers", x: "batch schedulers", column: "schedulers", logX: true,
			ticksX: powersOfTwo(), fixed: "6 × batch arrivals, t_job 1 s", without: []string{linePaper}, points: schedulerPoints,
			panels: []figurePanel{
				{title: "Busyness, mean of the batch schedulers", y: "share of time", class: sim.Batch, measure: busyOf, logY: true, least: 1e-3, noConflict: true},
				waitPanel(sim.Batch), conflictPanel(sim.Batch), conflictPanel(sim.Service),
			},
		},
		{
			name: "conflicts", title: "Conflicts against decision time, by how full the cell is", x: tJobService, column: "t_job_s", logX: true,
			fixed: "shared state, the paper's rule: fit, incremental", without: []string{"70 % full"}, points: conflictPoints,
			panels: []figurePanel{conflictPanel(sim.Service), conflictPanel(sim.Batch), busyPanel(sim.Service), waitPanel(sim.Service)},
		},
		{
			name: "penalties", title: "What gangs and coarse conflict detection cost", x: tJobService, column: "t_job_s", logX: true,
			fixed: "shared state, the paper's rule", without: []string{"fit + incremental"}, points: penaltyPoints,
			panels: []figurePanel{conflictPanel(sim.Service), conflictPanel(sim.Batch), busyPanel(sim.Service), waitPanel(sim.Service)},
		},
		{
			name: "repair", title: "Our rule and the paper's", x: tJobService, column: "t_job_s", logX: true,
			fixed: "shared state; fit", without: []string{linePaper}, points: repairPoints,
			panels: []figurePanel{conflictPanel(sim.Service), conflictPanel(sim.Batch), busyPanel(sim.Service), waitPanel(sim.Service)},
		},
	}
}

func figureNames() []string {
	var all []string
	for _, f := range figures() {
		all = append(all, f.name)
	}
	return all
}

// chosenFigures returns the figures named, in the order in which they are listed above.
func chosenFigures(wanted []string) ([]figure, error) {
	for _, name := range wanted {
		if name != "all" && !slices.Contains(figureNames(), name) {
			return nil, cliconf.Usagef("--figure %q is none of %s, or all", name, strings.Join(figureNames(), ", "))
		}
	}
	all := figures()
	return slices.DeleteFunc(all, func(f figure) bool { return !slices.Contains(wanted, f.name) && !slices.Contains(wanted, "all") }), nil
}

func think(job float64) sim.Think {
	return sim.Think{Job: time.Duration(job * float64(time.Second)), Task: 5 * time.Millisecond}
}

// paperWidth is among how many near-best machines the paper's rule draws here. The paper's simulator draws among all that have
// room, which our kernel would take long for; with fewer there are more collisions, and so its lines stand beside.
const paperWidth = 32

// shared is a shared-state cell with these decision times, under the paper's rule: machines are drawn widely, and who loses
// decides again from the beginning.
func shared(batch, service float64) sim.Config {
	return sim.Config{
		Architecture: sim.SharedState, Think: sim.PerClass[sim.Think]{Batch: think(batch), Service: think(service)}, Width: paperWidth,
	}
}

// google is the same as Google's own simulator has it.
func google(c sim.Config) sim.Config {
	c.Compat = sim.CompatGoogle
	return c
}

// mirrorLag is how long after a commit the other schedulers see it: the 99th percentile asked of a mirror at half load.
const mirrorLag = 20 * time.Millisecond

// ours is omegacell's way: decisions are brought up to date while they are made, only losers are thought about again, and
// machines are drawn as widely as recent conflicts call for.
func ours(c sim.Config) sim.Config {
	c.Repair, c.Width = sim.Repair{Revalidate: 3, Losers: true, Lag: mirrorLag}, 0
	return c
}

func decisionPoints() []figurePoint {
	var all []figurePoint
	for _, x := range decisionTimes() {
		for _, a := range []struct {
			series       string
			architecture sim.Architecture
		}{
			{"single path", sim.MonolithicSinglePath}, {"multi-path", sim.MonolithicMultiPath},
			{"two-level", sim.TwoLevel}, {lineShared, sim.SharedState},
		} {
			c := shared(0.1, x)
			c.Architecture = a.architecture
			all = append(all, figurePoint{series: a.series, x: x, config: c, load: figureLoad{batchRate: 1}})
		}
	}
	return all
}

func arrivalPoints() []figurePoint {
	var all []figurePoint
	for _, x := range []float64{1, 2, 4, 6, 8, 10} {
		load := figureLoad{batchRate: x, horizon: 1.0 / 3}
		monolithic := shared(1, 1)
		monolithic.Architecture = sim.MonolithicMultiPath
		all = append(all, figurePoint{series: "multi-path", x: x, config: monolithic, load: load})
		for _, n := range []int{1, 4} {
			c := shared(1, 1)
			c.Schedulers.Batch = n
			all = append(all, figurePoint{series: fmt.Sprintf("%s with %d for batch", lineShared, n), x: x, config: c, load: load})
		}
	}
	return all
}

func powersOfTwo() []float64 { return []float64{1, 2, 4, 8, 16, 32, 64, 128} }

func schedulerPoints() []figurePoint {
	var all []figurePoint
	for _, x := range powersOfTwo() {
		c := shared(1, 1)
		c.Schedulers.Batch = int(x)
		load := figureLoad{batchRate: 6, horizon: 1.0 / 6}
		all = append(all, figurePoint{series: linePaper, x: x, config: c, load: load}, figurePoint{series: lineOurs, x: x, config: ours(c), load: load})
	}
	return all
}

func conflictPoints() []figurePoint {
	var all []figurePoint
	for _, x := range decisionTimes() {
		for _, fill := range []float64{0.5, 0.6, 0.7} {
			all = append(all, figurePoint{series: fmt.Sprintf("%.0f %% full", 100*fill), x: x, config: shared(0.1, x), load: figureLoad{batchRate: 1, fill: fill}})
		}
	}
	return all
}

func penaltyPoints() []figurePoint {
	var all []figurePoint
	for _, x := range decisionTimes() {
		for _, mode := range []cellstate.Mode{cellstate.Incremental, cellstate.AllOrNothing} {
			for _, rule := range []cellstate.Rule{cellstate.FitRule, cellstate.SeqRule} {
				c := shared(0.1, x)
				c.Mode, c.Rule = mode, rule
				all = append(all, figurePoint{series: rule.String() + " + " + mode.String(), x: x, config: c, load: figureLoad{batchRate: 1}})
			}
		}
	}
	return all
}

func repairPoints() []figurePoint {
	var all []figurePoint
	for _, x := range decisionTimes() {
		for _, mode := range []cellstate.Mode{cellstate.Incremental, cellstate.AllOrNothing} {
			c := shared(0.1, x)
			c.Mode = mode
			load := figureLoad{batchRate: 1}
			suffix := ""
			if mode == cellstate.AllOrNothing {
				suffix = " (gangs)"
			}
			all = append(all,
				figurePoint{series: lineGoogle + suffix, x: x, config: google(c), load: load},
				figurePoint{series: linePaper + suffix, x: x, config: c, load: load},
				figurePoint{series: lineOurs + suffix, x: x, config: ours(c), load: load})
		}
	}
	return all
}
