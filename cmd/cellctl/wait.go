package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cmd/internal/cliconf"
	"github.com/omegacell/omegacell/cmd/internal/history"
)

// What a job can be waited for. Ended is for stop: however it ended.
const (
	goalRunning  = "running"
	goalFinished = "finished"
	goalHealthy  = "healthy"
	goalEnded    = "ended"
)

var goals = [...]string{goalRunning, goalFinished, goalHealthy}

// waitFor says what to wait for, and how long.
type waitFor struct {
	goal    string // "": for nothing
	timeout time.Duration
}

// add adds a flag of that name for the goal, and --timeout.
func (w *waitFor) add(fs *pflag.FlagSet, name, goal string) {
	fs.StringVar(&w.goal, name, goal, "wait until each job is `GOAL`: "+strings.Join(goals[:], ", "))
	w.addTimeout(fs)
}

func (w *waitFor) addTimeout(fs *pflag.FlagSet) {
	fs.DurationVar(&w.timeout, "timeout", 10*time.Minute, "how long to wait at most")
}

func (w *waitFor) check() error {
	if w.goal != "" && !slices.Contains(goals[:], w.goal) {
		return cliconf.Usagef("%q is nothing to wait for: %s", w.goal, strings.Join(goals[:], ", "))
	}
	if w.timeout <= 0 {
		return cliconf.Usagef("--timeout must be above zero")
	}
	return nil
}

func (t *tool) waitCmd() *cobra.Command {
	var goal waitFor
	cmd := &cobra.Command{
		Use:   "wait NAME",
		Short: "Waits for a job to run, to finish, or to be healthy in its newest version",
		Long: "Waits for a job:\n\n" +
			"  running   every task that is not done runs\n" +
			"  finished  the job succeeded\n" +
			"  healthy   every task runs in the newest version and passes its check\n\n" +
			"A job that ends otherwise ends the wait with exit code 6.",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: t.completeNames(jobNames),
		RunE: t.verb(func(ctx context.Context, c *cell, cmd *cobra.Command, args []string) error {
			if err := goal.check(); err != nil {
				return err
			}
			s, err := c.snapshot(ctx)
			if err != nil {
				return err
			}
			j, _, err := findJob(s, args[0])
			if err != nil {
				return err
			}
			return c.waitJob(ctx, j.Scheduler, j.Name, 0, goal)
		}),
	}
	goal.add(cmd.Flags(), "for", goalRunning)
	return cmd
}

// waitJob waits until the job, as of revision rev or later, has reached the goal. It is a waitError where it cannot any more, or time
// ran out.
func (c *cell) waitJob(ctx context.Context, scheduler, name string, rev int64, w waitFor) error {
	job := scheduler + "/" + name
	last := "not seen"
	err := c.until(ctx, w.timeout, rev, func(s cellstate.Snapshot) (bool, error) {
		j, st, ok := s.Job(scheduler, name)
		if !ok {
			if w.goal == goalEnded {
				return true, nil
			}
			return false, waitf("job %s is gone", job)
		}
		sum := summarize(s, j, st)
		last = fmt.Sprintf("%s, %d of %d tasks run, %d done", sum.state, sum.running, j.Tasks, sum.done)
		if x := sum.status.Explanation; x != nil {
			last += "; " + history.Wait(x)
		}
		return sum.reached(w.goal)
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return waitf("job %s is not %s after %s: it is %s", job, w.goal, w.timeout, last)
	}
	return err
}

// reached reports whether the goal is reached, or an error where it cannot be any more.
func (s *summary) reached(goal string) (bool, error) {
	if !s.final {
		switch goal {
		case goalRunning:
			return s.allRunning(), nil
		case goalHealthy:
			return s.allHealthy(), s.halted()
		}
		return false, nil
	}
	if goal == goalEnded || s.phase == cellstate.JobSucceeded && goal != goalHealthy {
		return true, nil
	}
	text := fmt.Sprintf("job %s/%s %s", s.job.Scheduler, s.job.Name, s.phase)
	if s.status.Message != "" && s.status.Message != s.phase.String() {
		text += ": " + s.status.Message
	}
	return false, waitf("%s", text)
}

// halted is an error where the update to the present version has been given up.
func (s *summary) halted() error {
	if r := s.status.Rollout; r != nil && r.Version == s.job.Version && r.Phase == cellstate.RolloutHalted {
		return waitf("the update of job %s/%s to version %d halted: %s", s.job.Scheduler, s.job.Name, r.Version, r.Message)
	}
	return nil
}

// until calls met with snapshots of rev or later until it is, or returns an error. When time runs out the error wraps
// context.DeadlineExceeded.
func (c *cell) until(ctx context.Context, timeout time.Duration, rev int64, met func(cellstate.Snapshot) (bool, error)) error {
	m, err := c.mirror(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	changed := make(chan struct{}, 1)
	stop := m.Observe(func(cellstate.Snapshot, []cellstate.Change) {
		select {
		case changed <- struct{}{}:
		default: // one that is not taken yet is enough
		}
	})
	defer stop()
	for {
		if s := m.Snapshot(); s.Rev() >= max(rev, 1) {
			if ok, err := met(s); ok || err != nil {
				return err
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
