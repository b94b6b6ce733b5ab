package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/omegacell/omegacell/schedulers/sim"
)

// simulation is one run to be made. Its seed is in its configuration.
type simulation struct {
	config  sim.Config
	jobs    source
	prefill source // nil: the cell is empty at the beginning
}

// simulated is what it gave, and how long it took.
type simulated struct {
	sim.Result
	took time.Duration
}

// simulate makes the runs, so many at a time, and returns what they gave in their own order, whichever ended first. done is
// called after each, from any goroutine. Whatever fails, or the end of ctx, ends all of them.
func simulate(ctx context.Context, workers int, runs []simulation, done func()) ([]simulated, error) {
	out := make([]simulated, len(runs))
	g, running := errgroup.WithContext(ctx)
	g.SetLimit(workers)
	for i, r := range runs {
		g.Go(func() error {
			if running.Err() != nil {
				return running.Err()
			}
			jobs, err := r.jobs(r.config.Seed)
			if err != nil {
				return err
			}
			if r.prefill != nil {
				if r.config.Prefill, err = r.prefill(r.config.Seed); err != nil {
					return err
				}
			}
			began := time.Now()
			result, err := sim.Run(running, r.config, jobs)
			if err != nil {
				return err
			}
			out[i] = simulated{Result: result, took: time.Since(began)}
			done()
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return out, nil
}

// sweepProgress shows a bar of runs where w is a terminal.
func sweepProgress(w io.Writer, total int) (show func(what string), step, done func()) {
	bar := newBar(w, total)
	if bar == nil {
		return func(string) {}, func() {}, func() {}
	}
	return func(what string) { bar.Describe(fmt.Sprintf("%-12s", what)) },
		func() { _ = bar.Add(1) }, // it can only fail to draw
		func() { _ = bar.Finish() }
}
