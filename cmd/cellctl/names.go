package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cmd/internal/submit"
)

// findJob returns the job that people call name: "scheduler/job", or "job" where only one scheduler has one of the name.
func findJob(s cellstate.Snapshot, name string) (*cellstate.Job, *cellstate.JobStatus, error) {
	if scheduler, job, ok := strings.Cut(name, "/"); ok {
		if j, st, ok := s.Job(scheduler, job); ok {
			return j, st, nil
		}
	}
	var all, same []string
	for j := range s.Jobs("") {
		full := j.Scheduler + "/" + j.Name
		all = append(all, full)
		if j.Name == name {
			same = append(same, full)
		}
	}
	switch len(same) {
	case 0:
		return nil, nil, unknown("job", name, all)
	case 1:
		scheduler, job, _ := strings.Cut(same[0], "/")
		j, st, _ := s.Job(scheduler, job)
		return j, st, nil
	}
	return nil, nil, fmt.Errorf("job %q may be any of %s: say which: %w", name, strings.Join(same, ", "), cellstate.ErrInvalid)
}

func findMachine(s cellstate.Snapshot, name string) (*cellstate.MachineView, error) {
	if m, ok := s.Machine(name); ok {
		return m, nil
	}
	return nil, unknown("machine", name, machineNames(s))
}

func machineNames(s cellstate.Snapshot) []string {
	var all []string
	for i := range s.Len() {
		if m := s.At(i); m != nil {
			all = append(all, m.Name())
		}
	}
	slices.Sort(all)
	return all
}

// unknown says that there is no such thing, and which names are near.
func unknown(what, name string, known []string) error {
	near := nearest(name, known)
	switch {
	case len(known) == 0:
		return fmt.Errorf("no %s %q, nor any other: %w", what, name, submit.ErrNotFound)
	case len(near) == 0:
		return fmt.Errorf("no %s %q: %w", what, name, submit.ErrNotFound)
	}
	return fmt.Errorf("no %s %q; did you mean %s?: %w", what, name, strings.Join(near, " or "), submit.ErrNotFound)
}

// nearest returns up to three names that people may have meant by name, the nearest first.
func nearest(name string, known []string) []string {
	type candidate struct {
		name string
		off  int
	}
	var all []candidate
	for _, k := range known {
		off := distance(name, k)
		if _, last, ok := strings.Cut(k, "/"); ok {
			off = min(off, distance(name, last))
		}
		if off <= min(3, max(1, (len(name)+1)/2)) || strings.HasPrefix(k, name) {
			all = append(all, candidate{k, off})
		}
	}
	slices.SortStableFunc(all, func(a, b candidate) int { return a.off - b.off })
	var out []string
	for _, c := range all[:min(3, len(all))] {
		out = append(out, c.name)
	}
	return out
}

// distance is the number of bytes to insert, delete or replace to make b of a (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}

// completeNames completes the first argument from what a snapshot knows. Where there is no cell, there are no suggestions.
func (t *tool) completeNames(names func(cellstate.Snapshot) []string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 || t.load(cmd) != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx := cmd.Context()
		if ctx == nil {
			ctx = context.Background()
		}
		c, err := t.dial(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer c.close()
		s, err := c.snapshot(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return slices.DeleteFunc(names(s), func(n string) bool { return !strings.HasPrefix(n, begun) }), cobra.ShellCompDirectiveNoFileComp
	}
}

func jobNames(s cellstate.Snapshot) []string {
	var all []string
	for j := range s.Jobs("") {
		all = append(all, j.Scheduler+"/"+j.Name)
	}
	return all
}
