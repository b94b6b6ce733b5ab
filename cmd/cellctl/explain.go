package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/spf13/cobra"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cmd/internal/cliconf"
	"github.com/omegacell/omegacell/cmd/internal/history"
	"github.com/omegacell/omegacell/schedulers/place"
)

// maxTried bounds how many waiting tasks explain tries to place; more would tell nothing else.
const maxTried = 1000

func (t *tool) explainCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "explain [job/]NAME|machine/NAME",
		Short: "Says why a job is as it is and what would help, or why a machine takes no claims",
		Long: "Says why a job is as it is: why its tasks wait, by what its scheduler last wrote and by looking at the cell as it is now: how many machines\n" +
			"each rule excludes, which nearly fit, and what would help. Or of a machine what it has, now and later, and why it takes no claims.",
		Args: cobra.ExactArgs(1),
		ValidArgsFunction: t.completeNames(func(s cellstate.Snapshot) []string {
			var all []string
			for _, n := range jobNames(s) {
				all = append(all, "job/"+n)
			}
			for _, n := range machineNames(s) {
				all = append(all, "machine/"+n)
			}
			return all
		}),
		RunE: t.verb(func(ctx context.Context, c *cell, cmd *cobra.Command, args []string) error {
			s, err := c.snapshot(ctx)
			if err != nil {
				return err
			}
			var d document
			if name, ok := strings.CutPrefix(args[0], "machine/"); ok {
				m, err := findMachine(s, name)
				if err != nil {
					return err
				}
				d = explainMachine(m, t.now())
			} else {
				name := strings.TrimPrefix(args[0], "job/")
				if name == "" {
					return cliconf.Usagef("explain what? job/NAME or machine/NAME")
				}
				j, st, err := findJob(s, name)
				if err != nil {
					return err
				}
				led, err := c.led(ctx, j.Scheduler)
				if err != nil {
					return err
				}
				d = explainJob(s, summarize(s, j, st), led, t.now())
			}
			d.rev = s.Rev()
			return t.print(cmd.OutOrStdout(), d)
		}),
	}
}

// led reports whether a process of the scheduler leads at least one shard.
func (c *cell) led(ctx context.Context, scheduler string) (bool, error) {
	ctx, cancel := c.brief(ctx)
	defer cancel()
	l, err := c.store.List(ctx, cellstate.Range{Kind: cellstate.KindLeader, Scope: scheduler}, 0)
	return len(l.Records) > 0, err
}

// explainJob says why a job is as it is.
func explainJob(s cellstate.Snapshot, sum summary, led bool, now cellstate.Instant) document {
	j := sum.job
	d := document{head: row{
		{"job", j.Scheduler + "/" + j.Name}, {"state", sum.state}, {"tasks", j.Tasks}, {"running", sum.running}, {"waiting", len(sum.waiting)},
		{"done", sum.done}, {"gave_up", sum.gaveUp}, {"because", because(s, &sum, led, now)}, {"message", sum.status.Message},
	}}
	if x := sum.status.Explanation; x != nil && !sum.final {
		d.head = append(d.head, item{"parked", x.Parked}, item{"scheduler_looked_at", x.At}, item{"scheduler_says", history.Wait(x)})
	}
	if len(sum.waiting) > 0 {
		d.explainWaiting(s, &sum, now)
	}
	d.sections = append(d.sections, section{"tasks", taskRows(&sum, now)})
	return d
}

// explainWaiting tries to place what waits on the cell as it is, and says what stands in the way.
func (d *document) explainWaiting(s cellstate.Snapshot, sum *summary, now cellstate.Instant) {
	req := place.Request{Job: sum.job, Start: now}
	for _, t := range sum.waiting[:min(maxTried, len(sum.waiting))] {
		req.Tasks = append(req.Tasks, place.Slot{Task: t.Task, Attempt: t.Attempt})
	}
	if g := sum.job.GangMin; g > 0 && sum.placed == 0 && sum.done == 0 {
		req.Min = int(g)
	}
	// The seed decides only which of the near-best machines would be drawn, not what fits.
	x := place.Place(s, req, rand.New(rand.NewPCG(1, 1))).Explanation
	if x == nil {
		d.head = append(d.head, item{"now", fmt.Sprintf("all %d waiting tasks would fit", len(req.Tasks))})
		return
	}
	d.head = append(d.head,
		item{"now", fmt.Sprintf("of %d waiting tasks %d do not fit", len(req.Tasks), x.Unplaced)},
		item{"machines", x.Looked}, item{"eligible", x.Eligible}, item{"unblock", x.Unblock})
	rules, near := section{"rules", ruleRows(x)}, section{name: "near_misses"}
	for _, m := range x.NearMisses {
		near.rows = append(near.rows, row{{"machine", m.Machine}, {"lacks", m.Lacks}})
	}
	d.sections = append(d.sections, rules, near)
}

// because says in a sentence why the job is in its state.
func because(s cellstate.Snapshot, sum *summary, led bool, now cellstate.Instant) string {
	scheduler := sum.job.Scheduler
	reg, registered := s.Scheduler(scheduler)
	switch {
	case sum.final && sum.phase == cellstate.JobSucceeded:
		return "every task ended with exit code 0"
	case sum.final && sum.phase == cellstate.JobStopped:
		return "its submitter asked for it to be stopped"
	case sum.final:
		return failures(sum)
	case !registered:
		return fmt.Sprintf("scheduler %s is not registered any more", scheduler)
	case reg.Disabled:
		return fmt.Sprintf("scheduler %s is disabled: it commits nothing new", scheduler)
	case !led && (len(sum.waiting) > 0 || sum.job.Stopped):
		return fmt.Sprintf("no process of scheduler %s is at work: start one", scheduler)
	case sum.job.Stopped:
		return fmt.Sprintf("it is being stopped, and %d tasks have not ended", sum.placed)
	case len(sum.waiting) == 0 && sum.running < sum.placed:
		return fmt.Sprintf("%d of %d placed tasks do not run yet", sum.placed-sum.running, sum.placed)
	case len(sum.waiting) == 0 && sum.unseen > 0:
		return fmt.Sprintf("of %d placed tasks %d are on machines whose agent is not seen", sum.placed, sum.unseen)
	case len(sum.waiting) == 0 && sum.healthy < sum.running:
		return fmt.Sprintf("of %d running tasks %d do not pass their health check", sum.running, sum.running-sum.healthy)
	case len(sum.waiting) == 0:
		return "every task has its place"
	}
	if n := putOff(sum, now); n > 0 {
		return fmt.Sprintf("%d tasks wait for room, and %d until their next attempt is due", len(sum.waiting)-n, n)
	}
	return fmt.Sprintf("%d tasks have no place yet", len(sum.waiting))
}

// putOff counts the waiting tasks whose next attempt is not due.
func putOff(sum *summary, now cellstate.Instant) int {
	n := 0
	for _, t := range sum.waiting {
		if t.NotBefore > now {
			n++
		}
	}
	return n
}

func failures(sum *summary) string {
	for _, t := range sum.status.Tasks {
		if t.GaveUp {
			return fmt.Sprintf("%d tasks were given up; task %d after %d failures, the last: %s", sum.gaveUp, t.Task, t.Failures, history.Ending(&t.Last))
		}
	}
	return "its scheduler gave it up"
}
