package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cmd/internal/cliconf"
	"github.com/omegacell/omegacell/cmd/internal/jobfile"
	"github.com/omegacell/omegacell/cmd/internal/submit"
)

// maxJobFile bounds a job file in bytes; jobfile has a limit of its own below it.
const maxJobFile = 16 << 20

func (t *tool) runCmd() *cobra.Command {
	var dryRun bool
	var goal waitFor
	cmd := &cobra.Command{
		Use:   "run FILE|-",
		Short: "Submits the jobs of a file, or of standard input, to the schedulers they name",
		Long: "Submits the jobs of a file, or of standard input, to the schedulers they name.\n\n" +
			"A job of a new name is created; a live one of another specification gets its next version; one that has ended runs again; one that is the\n" +
			"same stays as it is. Each is admitted against its tenant's quota in the transaction that writes it.",
		Args: cobra.ExactArgs(1),
		RunE: t.verb(func(ctx context.Context, c *cell, cmd *cobra.Command, args []string) error {
			if err := goal.check(); err != nil {
				return err
			}
			jobs, err := t.readJobs(args[0])
			if err != nil {
				return err
			}
			list := section{name: "jobs"}
			var rev int64
			var failure error
			for _, j := range jobs {
				r, err := t.submit(ctx, c, j, dryRun)
				if err != nil {
					failure = err // what came before it is in the cell
					break
				}
				rev = max(rev, r.Rev)
				list.rows = append(list.rows, row{{"job", r.Job.Scheduler + "/" + r.Job.Name}, {"outcome", r.Outcome}, {"version", r.Job.Version}, {"rev", r.Rev}})
			}
			if err := t.print(cmd.OutOrStdout(), document{rev: rev, sections: []section{list}}); err != nil {
				return err
			}
			if failure != nil || dryRun || goal.goal == "" {
				return failure
			}
			for _, j := range jobs {
				if err := c.waitJob(ctx, j.Scheduler, j.Name, rev, goal); err != nil {
					return err
				}
			}
			return nil
		}),
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "check all that run checks, and write nothing")
	goal.add(cmd.Flags(), "wait", "")
	cmd.Flags().Lookup("wait").NoOptDefVal = goalRunning // --wait alone
	return cmd
}

// readJobs reads a job file. Whatever is wrong with it is of usage.
func (t *tool) readJobs(name string) ([]*cellstate.Job, error) {
	in := t.stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, cliconf.Usagef("%w", err)
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, maxJobFile+1))
	if err != nil {
		return nil, cliconf.Usagef("%s: %w", name, err)
	}
	if len(b) > maxJobFile {
		return nil, cliconf.Usagef("%s: more than %d bytes", name, maxJobFile)
	}
	return jobfile.Parse(name, b)
}

func (t *tool) submit(ctx context.Context, c *cell, j *cellstate.Job, dryRun bool) (submit.Result, error) {
	ctx, cancel := c.brief(ctx)
	defer cancel()
	var run [4]byte
	if _, err := rand.Read(run[:]); err != nil {
		return submit.Result{}, fmt.Errorf("a random number for the run: %w", err)
	}
	do := submit.Job
	if dryRun {
		do = submit.DryRun
	}
	return do(ctx, c.store, j, t.now(), binary.LittleEndian.Uint32(run[:]))
}

func (t *tool) stopCmd() *cobra.Command {
	var wait, purge bool
	var goal waitFor
	cmd := &cobra.Command{
		Use:               "stop NAME",
		Short:             "Asks for a job to be ended; with --purge, forgets one that has ended",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: t.completeNames(jobNames),
		RunE: t.verb(func(ctx context.Context, c *cell, cmd *cobra.Command, args []string) error {
			s, err := c.snapshot(ctx)
			if err != nil {
				return err
			}
			j, _, err := findJob(s, args[0])
			if err != nil {
				return err
			}
			r, err := t.stop(ctx, c, j, purge && !wait)
			if err != nil {
				return err
			}
			if wait {
				goal.goal = goalEnded
				if err := c.waitJob(ctx, j.Scheduler, j.Name, r.Rev, goal); err != nil {
					return err
				}
				if purge {
					if r, err = t.stop(ctx, c, j, true); err != nil {
						return err
					}
				}
			}
			return t.print(cmd.OutOrStdout(), document{rev: r.Rev, sections: []section{{"jobs", []row{
				{{"job", j.Scheduler + "/" + j.Name}, {"outcome", r.Outcome}, {"version", r.Job.Version}, {"rev", r.Rev}},
			}}}})
		}),
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until it has ended")
	cmd.Flags().BoolVar(&purge, "purge", false, "delete the job and its status; it must have ended, and its claims be gone")
	goal.addTimeout(cmd.Flags())
	return cmd
}

func (t *tool) stop(ctx context.Context, c *cell, j *cellstate.Job, purge bool) (submit.Result, error) {
	ctx, cancel := c.brief(ctx)
	defer cancel()
	if purge {
		return submit.Purge(ctx, c.store, j.Scheduler, j.Name)
	}
	return submit.Stop(ctx, c.store, j.Scheduler, j.Name)
}
