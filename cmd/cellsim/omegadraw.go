package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/renameio/v2"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cmd/internal/cliconf"
	"github.com/omegacell/omegacell/schedulers/sim"
	"github.com/omegacell/omegacell/schedulers/sim/workload"
)

// figureCell is the cell that figures are about.
type figureCell struct {
	machines []cellstate.Resources
	horizon  time.Duration
}

// figureLoad is the default workload, changed. What it asks for is kept at a share of the cell by letting jobs run for as
// long as that takes: then a change of rate, or of the number of machines, changes nothing else.
type figureLoad struct {
	batchRate float64 // relative to the default
	fill      float64 // share of the cell's CPU asked for; 0 means 0.6, as full as Google's simulator fills a cell
	horizon   float64 // part of the run time asked for, where there is more to simulate than elsewhere; 0: all of it
}

const defaultFill = 0.6

func (l figureLoad) workload(cell figureCell) workload.Exponential {
	if l.fill == 0 {
		l.fill = defaultFill
	}
	e := workload.Default()
	e.Batch.Gap = time.Duration(float64(e.Batch.Gap) / l.batchRate)
	var capacity float64
	for _, m := range cell.machines {
		capacity += float64(m.CPUMilli)
	}
	asked := e.Batch.Asked() + e.Service.Asked()
	e.Batch.Duration = time.Duration(float64(e.Batch.Duration) * l.fill * capacity / asked)
	e.Service.Duration = time.Duration(float64(e.Service.Duration) * l.fill * capacity / asked)
	return e
}

// run is the simulation of one point with one seed.
func (p figurePoint) run(cell figureCell, seed uint64) simulation {
	c := p.config
	c.Machines, c.Horizon, c.Seed = cell.machines, cell.horizon, seed
	if p.load.horizon > 0 {
		c.Horizon = time.Duration(float64(c.Horizon) * p.load.horizon)
	}
	load := p.load.workload(cell)
	return simulation{
		config: c,
		jobs:   func(seed uint64) ([]sim.Job, error) { return load.Jobs(c.Horizon, jobSource(seed)) },
		prefill: func(seed uint64) ([]sim.Job, error) {
			return load.Running(jobSource(^seed))
		},
	}
}

// drawFigures runs what the figures need, one figure after the other, and writes each when it is complete.
func drawFigures(ctx context.Context, cfg omegaConfig, stdout, stderr io.Writer) error {
	chosen, err := chosenFigures(cfg.Figure)
	if err != nil {
		return err
	}
	machines, err := cfg.machines()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(cfg.Out, 0o755); err != nil {
		return cliconf.Usagef("--out: %w", err)
	}
	cell := figureCell{machines: machines, horizon: cfg.Horizon}
	if cell.horizon == 0 {
		cell.horizon = omegaHorizon
	}
	total := 0
	for _, f := range chosen {
		total += len(f.points()) * cfg.Seeds
	}
	show, step, done := sweepProgress(stderr, total)
	defer done()
	for i, f := range chosen {
		show(f.name)
		rows, err := f.rows(ctx, cfg, cell, step)
		if errors.Is(err, context.Canceled) {
			done()
			return fmt.Errorf("stopped during figure %s; %d of %d are in %s: %w", f.name, i, len(chosen), cfg.Out, err)
		}
		if err != nil {
			return err
		}
		files, err := f.write(cfg, cell, rows)
		if err != nil {
			return err
		}
		for _, name := range files {
			if _, err := fmt.Fprintln(stdout, name); err != nil {
				return err
			}
		}
	}
	return nil
}

// rows runs all points with all seeds and sums them up.
func (f figure) rows(ctx context.Context, cfg omegaConfig, cell figureCell, step func()) ([]figureRow, error) {
	points := f.points()
	var runs []simulation
	for _, p := range points {
		for i := range cfg.Seeds {
			runs = append(runs, p.run(cell, cfg.Seed+uint64(i)))
		}
	}
	results, err := simulate(ctx, cfg.workers(), runs, step)
	if err != nil {
		return nil, err
	}
	var rows []figureRow
	for i, p := range points {
		for _, class := range sim.Classes() {
			rows = append(rows, summarise(p, class, results[i*cfg.Seeds:(i+1)*cfg.Seeds]))
		}
	}
	return rows, nil
}

// write leaves the figure's three files, each whole or not at all, and returns their names.
func (f figure) write(cfg omegaConfig, cell figureCell, rows []figureRow) ([]string, error) {
	c := f.chart(rows)
	machines := fmt.Sprintf("%d machines", len(cell.machines))
	if cfg.Nodes == "" {
		machines += fmt.Sprintf(" of %g cores", cfg.MachineCPUs)
	}
	c.note = fmt.Sprintf("%s · %s, %.3g h, %d seeds: median, bars: median absolute deviation", f.fixed, machines, cell.horizon.Hours(), cfg.Seeds)
	var files []string
	for _, form := range []struct {
		ending string
		write  func(io.Writer) error
	}{
		{".csv", func(w io.Writer) error { return writeCSV(w, f.column, rows) }},
		{".png", c.writePNG},
		{".svg", c.writeSVG},
	} {
		var b bytes.Buffer
		if err := form.write(&b); err != nil {
			return nil, fmt.Errorf("figure %s: %w", f.name, err)
		}
		name := filepath.Join(cfg.Out, f.name+form.ending)
		if err := renameio.WriteFile(name, b.Bytes(), 0o644); err != nil {
			return nil, err
		}
		files = append(files, name)
	}
	return files, nil
}

// chart draws the rows.
func (f figure) chart(rows []figureRow) chart {
	c := chart{title: f.title}
	for _, p := range f.panels {
		drawn := panel{title: p.title, x: f.x, y: p.y, logX: f.logX, logY: p.logY, least: p.least, most: p.most, ticksX: f.ticksX}
		if p.objective {
			drawn.level, drawn.levelName = 30, "objective: 30 s"
		}
		for _, series := range seriesOf(rows) {
			line, approximation := chartLine{name: series}, chartLine{name: series + noConflictOn, like: series}
			for i := range rows {
				r := &rows[i]
				if r.series != series || r.class != p.class {
					continue
				}
				at, without := p.measure(r), noConflictOf(r)
				line.points = append(line.points, chartPoint{r.x, at.median, at.mad})
				approximation.points = append(approximation.points, chartPoint{r.x, without.median, 0})
			}
			drawn.lines = append(drawn.lines, line)
			if p.noConflict && slices.Contains(f.without, series) {
				drawn.lines = append(drawn.lines, approximation)
			}
		}
		c.panels = append(c.panels, drawn)
	}
	return c
}
