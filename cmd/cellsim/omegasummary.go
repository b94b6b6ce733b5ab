package main

import (
	"encoding/csv"
	"io"
	"slices"
	"strconv"

	"github.com/omegacell/omegacell/schedulers/sim"
)

// figureRow is what all runs of one point gave for one class.
type figureRow struct {
	series string
	class  sim.Class
	x      float64
	seeds  int

	wait, waitP90, waitFull    spread // seconds
	busy, noConflict, conflict spread // busyness: of each run the median of its days
	wasted, cpu                spread
	abandoned, queueEnd        spread // jobs
}

// spread is a median over runs and the median of the absolute deviations from it.
type spread struct{ median, mad float64 }

func spreadOf(values []float64) spread {
	m := median(values)
	deviations := make([]float64, len(values))
	for i, v := range values {
		deviations[i] = max(v-m, m-v)
	}
	return spread{m, median(deviations)}
}

// median of an even number of values is the mean of the two in the middle.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

func summarise(p figurePoint, class sim.Class, runs []simulated) figureRow {
	over := func(of func(r *simulated, c *sim.ClassResult) float64) spread {
		values := make([]float64, len(runs))
		for i := range runs {
			values[i] = of(&runs[i], runs[i].Classes.Of(class))
		}
		return spreadOf(values)
	}
	return figureRow{
		series: p.series, class: class, x: p.x, seeds: len(runs),
		wait:       over(func(_ *simulated, c *sim.ClassResult) float64 { return c.WaitFirst.Mean.Seconds() }),
		waitP90:    over(func(_ *simulated, c *sim.ClassResult) float64 { return c.WaitFirst.P90.Seconds() }),
		waitFull:   over(func(_ *simulated, c *sim.ClassResult) float64 { return c.WaitFull.Mean.Seconds() }),
		busy:       over(func(_ *simulated, c *sim.ClassResult) float64 { return c.Busy.Median }),
		noConflict: over(func(_ *simulated, c *sim.ClassResult) float64 { return c.NoConflict.Median }),
		// Where nothing succeeded there is no fraction: then it is as if one had.
		conflict:  over(func(_ *simulated, c *sim.ClassResult) float64 { return float64(c.TxFailed) / float64(max(c.TxOK, 1)) }),
		wasted:    over(func(_ *simulated, c *sim.ClassResult) float64 { return c.Wasted.Median }),
		cpu:       over(func(r *simulated, _ *sim.ClassResult) float64 { return r.CPU }),
		abandoned: over(func(_ *simulated, c *sim.ClassResult) float64 { return float64(c.Abandoned) }),
		queueEnd:  over(func(_ *simulated, c *sim.ClassResult) float64 { return float64(c.QueueEnd) }),
	}
}

// seriesOf lists the lines, in the order in which they first stand.
func seriesOf(rows []figureRow) []string {
	var all []string
	for _, r := range rows {
		if !slices.Contains(all, r.series) {
			all = append(all, r.series)
		}
	}
	return all
}

// writeCSV writes a line for each point and class. x names the column of what is varied.
func writeCSV(w io.Writer, x string, rows []figureRow) error {
	out := csv.NewWriter(w)
	// A csv.Writer keeps its first error.
	_ = out.Write([]string{
		"series", "class", x, "seeds", "wait_s", "wait_s_mad", "wait_p90_s", "wait_full_s", "busy", "busy_mad", "busy_no_conflict",
		"wasted", "conflict_fraction", "conflict_fraction_mad", "abandoned", "queue_end", "cpu",
	})
	for _, r := range rows {
		line := []string{r.series, r.class.String(), digits(r.x), strconv.Itoa(r.seeds)}
		for _, v := range []float64{
			r.wait.median, r.wait.mad, r.waitP90.median, r.waitFull.median, r.busy.median, r.busy.mad, r.noConflict.median,
			r.wasted.median, r.conflict.median, r.conflict.mad, r.abandoned.median, r.queueEnd.median, r.cpu.median,
		} {
			line = append(line, digits(v))
		}
		_ = out.Write(line)
	}
	out.Flush()
	return out.Error()
}

func digits(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }
