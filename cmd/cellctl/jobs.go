package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cmd/internal/history"
	"github.com/omegacell/omegacell/cmd/internal/jobfile"
)

func (t *tool) jobsCmd() *cobra.Command {
	var scheduler string
	cmd := &cobra.Command{
		Use:   "jobs",
		Short: "Lists jobs",
		Args:  cobra.NoArgs,
		RunE: t.verb(func(ctx context.Context, c *cell, cmd *cobra.Command, _ []string) error {
			s, err := c.snapshot(ctx)
			if err != nil {
				return err
			}
			list := section{name: "jobs"}
			for j, st := range s.Jobs(scheduler) {
				list.rows = append(list.rows, jobRow(summarize(s, j, st)))
			}
			return t.print(cmd.OutOrStdout(), document{rev: s.Rev(), sections: []section{list}})
		}),
	}
	cmd.Flags().StringVar(&scheduler, "scheduler", "", "only those of the scheduler `NAME`")
	return cmd
}

func jobRow(s summary) row {
	return row{
		{"job", s.job.Scheduler + "/" + s.job.Name}, {"state", s.state}, {"tasks", s.job.Tasks}, {"running", s.running},
		{"waiting", len(s.waiting)}, {"done", s.done}, {"gave_up", s.gaveUp}, {"version", s.job.Version}, {"tenant", s.job.Tenant},
		{"precedence", int32(s.job.Precedence)}, {"submitted", s.job.SubmittedAt},
	}
}

func (t *tool) jobCmd() *cobra.Command {
	var spec bool
	cmd := &cobra.Command{
		Use:               "job NAME",
		Short:             "Shows one job and its tasks; NAME is SCHEDULER/JOB, or JOB where that says which",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: t.completeNames(jobNames),
		RunE: t.verb(func(ctx context.Context, c *cell, cmd *cobra.Command, args []string) error {
			s, err := c.snapshot(ctx)
			if err != nil {
				return err
			}
			j, st, err := findJob(s, args[0])
			if err != nil {
				return err
			}
			if spec {
				_, err := cmd.OutOrStdout().Write(jobfile.Format(j))
				return err
			}
			sum := summarize(s, j, st)
			return t.print(cmd.OutOrStdout(), document{rev: s.Rev(), head: jobHead(&sum), sections: []section{
				{"tasks", taskRows(&sum, t.now())}, {"rules", ruleRows(sum.status.Explanation)},
			}})
		}),
	}
	cmd.Flags().BoolVar(&spec, "spec", false, "print the specification, as a file that run accepts")
	return cmd
}

func jobHead(s *summary) row {
	j := s.job
	head := jobRow(*s)
	head = append(head, item{"run", strconv.FormatUint(uint64(j.Run), 16)}, item{"resources", j.Task.Resources})
	if j.GangMin > 0 {
		head = append(head, item{"gang_min", j.GangMin})
	}
	var constraints []string
	for _, c := range j.Constraints {
		constraints = append(constraints, c.String())
	}
	head = append(head, item{"constraints", constraints}, item{"message", s.status.Message})
	if r := s.status.Rollout; r != nil {
		head = append(head, item{"rollout", fmt.Sprintf("version %d %s", r.Version, r.Phase)}, item{"rollout_message", r.Message})
	}
	if x := s.status.Explanation; x != nil && !s.final {
		head = append(head, item{"unplaced", x.Unplaced}, item{"parked", x.Parked}, item{"unblock", x.Unblock})
	}
	return head
}

// taskRows shows each task that has a claim or a history, and the others together.
func taskRows(s *summary, now cellstate.Instant) []row {
	var rows []row
	shown := make(map[uint32]bool)
	for _, c := range s.claims {
		shown[c.Claim.ID.Task] = true
		rows = append(rows, taskRow(c, now))
	}
	for _, h := range s.status.Tasks {
		if shown[h.Task] {
			continue
		}
		state, text := "waiting", fmt.Sprintf("failures %d, attempt %d not before %s; the last ", h.Failures, h.Attempt, h.NotBefore)
		switch {
		case h.GaveUp:
			state, text = "gave-up", fmt.Sprintf("failures %d; the last ", h.Failures)
		case s.final || s.job.Stopped:
			state, text = "ended", fmt.Sprintf("failures %d; the last ", h.Failures)
		}
		rows = append(rows, row{
			{"task", strconv.FormatUint(uint64(h.Task), 10)}, {"attempt", h.Last.ID.Attempt}, {"state", state}, {"machine", nil}, {"version", nil},
			{"pid", nil}, {"health", nil}, {"restarts", h.Last.Restarts}, {"started", h.Last.StartedAt}, {"text", text + history.Ending(&h.Last)},
		})
	}
	for _, r := range s.status.Done {
		rows = append(rows, many(r.From, r.To, "done", "succeeded"))
	}
	for i := 0; i < len(s.waiting); {
		n := 1
		for i+n < len(s.waiting) && s.waiting[i+n].Task == s.waiting[i].Task+uint32(n) && s.waiting[i+n].Failures == 0 {
			n++
		}
		if _, told := s.history[s.waiting[i].Task]; !told {
			rows = append(rows, many(s.waiting[i].Task, s.waiting[i].Task+uint32(n), "waiting", "to be placed"))
		}
		i += n
	}
	slices.SortStableFunc(rows, func(a, b row) int { return cmp.Compare(firstTask(a), firstTask(b)) })
	return rows
}

// firstTask is the number that a row of tasks begins with.
func firstTask(r row) uint64 {
	first, _, _ := strings.Cut(r[0].value.(string), "-")
	n, err := strconv.ParseUint(first, 10, 32)
	if err != nil {
		panic("cellctl: a row of tasks names no task: " + first)
	}
	return n
}

func taskRow(c cellstate.ClaimView, now cellstate.Instant) row {
	r := row{
		{"task", strconv.FormatUint(uint64(c.Claim.ID.Task), 10)}, {"attempt", c.Claim.ID.Attempt}, {"state", taskState(c, now)},
		{"machine", c.Claim.Machine}, {"version", c.Claim.JobVersion},
	}
	st := c.Status
	if st == nil {
		st = &cellstate.ClaimStatus{}
	}
	text := st.Message
	switch {
	case st.Phase == cellstate.PhaseEnded:
		text = history.Ending(st)
	case c.Claim.Evict != nil:
		text = "evicted, deadline " + c.Claim.Evict.Deadline.String() + ": " + c.Claim.Evict.Reason
	case c.Claim.Start > now:
		text = "from " + c.Claim.Start.String()
	}
	return append(r, item{"pid", nonzero(st.PID)}, item{"health", health(st.Health)}, item{"restarts", st.Restarts},
		item{"started", st.StartedAt}, item{"text", text})
}

// many is a row for the tasks from … to−1.
func many(from, to uint32, state, text string) row {
	name := strconv.FormatUint(uint64(from), 10)
	if to > from+1 {
		name += "-" + strconv.FormatUint(uint64(to-1), 10)
	}
	return row{
		{"task", name}, {"attempt", nil}, {"state", state}, {"machine", nil}, {"version", nil}, {"pid", nil}, {"health", nil},
		{"restarts", nil}, {"started", nil}, {"text", text},
	}
}

func nonzero(n int32) any {
	if n == 0 {
		return nil
	}
	return n
}

func health(h cellstate.Health) any {
	if h == cellstate.HealthUnknown {
		return nil
	}
	return h
}

func ruleRows(x *cellstate.Explanation) []row {
	if x == nil {
		return nil
	}
	var rows []row
	for _, r := range x.Rules {
		rows = append(rows, row{{"rule", r.Rule}, {"machines", r.Count}})
	}
	return rows
}
