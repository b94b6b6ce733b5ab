// Record runs the benchmarks of the repository and writes down what they say: the raw lines, ready for benchstat, in
// integration/testdata/bench.txt; tables in integration/README.md, between two markers; and how cost grows with the cell in
// integration/figures/growth.svg. Run it in the repository's root.
//
//	go run ./integration/record                 all of it
//	go run ./integration/record -run workload   only the steps whose names match; the others' lines stay
//	go run ./integration/record -run NONE       only the tables and the figure, from the lines that are there
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"syscall"
	"time"
)

const (
	rawFile    = "integration/testdata/bench.txt"
	readmeFile = "integration/README.md"
	figureFile = "integration/figures/growth.svg"
)

func main() { os.Exit(run(os.Args[1:], os.Stderr)) }

func run(args []string, stderr io.Writer) int {
	fs := flag.NewFlagSet("record", flag.ContinueOnError)
	fs.SetOutput(stderr)
	only := fs.String("run", "", "run the steps whose names match this `REGEXP`; with none of them, only write the tables anew")
	count := fs.Int("count", 3, "times that each benchmark beside the code is run")
	whole := fs.Int("whole", 3, "times that each workload, and check perf, is run")
	short := fs.Bool("short", false, "leave out the sizes that take long to set up")
	if err := fs.Parse(args); err != nil {
		return 2
	}
	re, err := regexp.Compile(*only)
	if err == nil && (*count < 1 || *whole < 1 || fs.NArg() > 0) {
		err = errors.New("-count and -whole are at least 1, and there are no arguments")
	}
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		err = record(ctx, re, plan(*count, *whole, *short), stderr)
	}
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "record: %v\n", err) // there is nobody else to tell
		return 1
	}
	return 0
}

// record runs the steps that match, and writes after each of them, so that an interrupted run is not lost. A step that fails
// does not keep the others from running.
func record(ctx context.Context, only *regexp.Regexp, steps []step, stderr io.Writer) error {
	all, err := readResults(rawFile)
	if err != nil {
		return err
	}
	where, err := describe(ctx)
	if err != nil {
		return err
	}
	var failed error
	for _, s := range steps {
		if !only.MatchString(s.name) || ctx.Err() != nil {
			continue
		}
		began := time.Now()
		found, err := s.run(ctx, where)
		if _, err := fmt.Fprintf(stderr, "%-40s %4d results in %s\n", s.name, len(found), time.Since(began).Round(time.Second)); err != nil {
			return err
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", s.name, err))
			continue
		}
		all = replace(all, s.name, found, steps)
		if err := writeResults(rawFile, all); err != nil {
			return err
		}
	}
	sum := summarize(all)
	if err := writeFigure(figureFile, sum); err != nil {
		return err
	}
	return errors.Join(failed, writeReadme(readmeFile, sum, steps), ctx.Err())
}

// replace puts the results of one step in the place of its earlier ones, in the order of the steps.
func replace(all []result, name string, found []result, steps []step) []result {
	all = slices.DeleteFunc(all, func(r result) bool { return r.step() == name })
	all = append(all, found...)
	place := make(map[string]int)
	for i, s := range steps {
		place[s.name] = i
	}
	slices.SortStableFunc(all, func(a, b result) int { return cmp.Compare(place[a.step()], place[b.step()]) })
	return all
}
