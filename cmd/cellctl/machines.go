package main

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/omegacell/omegacell/cellstate"
)

func (t *tool) machinesCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "machines",
		Short: "Lists machines, and what is free on each now",
		Args:  cobra.NoArgs,
		RunE: t.verb(func(ctx context.Context, c *cell, cmd *cobra.Command, _ []string) error {
			s, err := c.snapshot(ctx)
			if err != nil {
				return err
			}
			list := section{name: "machines"}
			for _, name := range machineNames(s) {
				m, _ := s.Machine(name)
				list.rows = append(list.rows, machineRow(m, t.now()))
			}
			return t.print(cmd.OutOrStdout(), document{rev: s.Rev(), sections: []section{list}})
		}),
	}
}

func machineRow(m *cellstate.MachineView, now cellstate.Instant) row {
	return row{
		{"machine", m.Name()}, {"state", machineState(m)}, {"claims", m.Ledger.Live()}, {"free", freeAt(m.Ledger, now)}, {"capacity", m.Ledger.Capacity},
	}
}

func freeAt(l *cellstate.Ledger, at cellstate.Instant) cellstate.Resources { return l.Free(at, at+1) }

// machineState is a machine's state in a word or two.
func machineState(m *cellstate.MachineView) string {
	state := "up"
	if m.Session == nil {
		state = "lost"
	}
	switch {
	case m.Ledger.Drain != nil && m.Ledger.Live() == 0:
		state += ",drained"
	case m.Ledger.Drain != nil:
		state += ",draining"
	}
	if m.Ledger.Cordoned {
		state += ",cordoned"
	}
	return state
}

func (t *tool) machineCmd() *cobra.Command {
	return &cobra.Command{
		Use:               "machine NAME",
		Short:             "Shows one machine and its claims",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: t.completeNames(machineNames),
		RunE: t.verb(func(ctx context.Context, c *cell, cmd *cobra.Command, args []string) error {
			s, err := c.snapshot(ctx)
			if err != nil {
				return err
			}
			m, err := findMachine(s, args[0])
			if err != nil {
				return err
			}
			var rows []row
			for i := range m.Ledger.Claims {
				rows = append(rows, claimRow(view(m, &m.Ledger.Claims[i]), t.now()))
			}
			return t.print(cmd.OutOrStdout(), document{rev: s.Rev(), head: machineHead(m, t.now()), sections: []section{{"claim_list", rows}}})
		}),
	}
}

func machineHead(m *cellstate.MachineView, now cellstate.Instant) row {
	head := machineRow(m, now)
	if d := m.Ledger.Drain; d != nil {
		head = append(head, item{"drain_deadline", d.Deadline}, item{"drain_reason", d.Reason})
	}
	if s := m.Session; s != nil {
		head = append(head, item{"address", s.Address}, item{"epoch", s.Epoch}, item{"agent", s.Version}, item{"drivers", s.Drivers}, item{"up_since", s.StartedAt})
	}
	if d := m.Machine; d != nil {
		head = append(head, item{"attributes", pairs(d.Attributes)}, item{"labels", pairs(d.Labels)}, item{"domains", d.Domains})
	}
	return head
}

// pairs lists a map as key=value, sorted.
func pairs(m map[string]string) []string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, k+"="+m[k])
	}
	return out
}

// view is a claim as a snapshot would give it.
func view(m *cellstate.MachineView, c *cellstate.Claim) cellstate.ClaimView {
	return cellstate.ClaimView{Claim: c, Status: m.Report.Find(c.ID), Machine: m}
}

func claimRow(c cellstate.ClaimView, now cellstate.Instant) row {
	evict := ""
	if e := c.Claim.Evict; e != nil {
		evict = e.Deadline.String() + " " + e.Reason
	}
	var devices []string
	for _, g := range c.Claim.GPUs {
		devices = append(devices, fmt.Sprintf("%d:%dm", g.Device, g.Milli))
	}
	return row{
		{"claim", c.Claim.ID}, {"machine", c.Claim.Machine}, {"state", taskState(c, now)}, {"precedence", int32(c.Claim.Precedence)},
		{"resources", c.Claim.Resources}, {"devices", devices}, {"start", c.Claim.Start}, {"end", c.Claim.End}, {"evicted", evict},
	}
}

func (t *tool) claimsCmd() *cobra.Command {
	var job, machine string
	cmd := &cobra.Command{
		Use:   "claims",
		Short: "Lists claims, by machine",
		Args:  cobra.NoArgs,
		RunE: t.verb(func(ctx context.Context, c *cell, cmd *cobra.Command, _ []string) error {
			s, err := c.snapshot(ctx)
			if err != nil {
				return err
			}
			names := machineNames(s)
			if machine != "" {
				m, err := findMachine(s, machine)
				if err != nil {
					return err
				}
				names = []string{m.Name()}
			}
			var only *cellstate.Job
			if job != "" {
				if only, _, err = findJob(s, job); err != nil {
					return err
				}
			}
			list := section{name: "claims"}
			for _, name := range names {
				m, _ := s.Machine(name)
				for i := range m.Ledger.Claims {
					id := m.Ledger.Claims[i].ID
					if only == nil || id.Scheduler == only.Scheduler && id.Job == only.Name {
						list.rows = append(list.rows, claimRow(view(m, &m.Ledger.Claims[i]), t.now()))
					}
				}
			}
			return t.print(cmd.OutOrStdout(), document{rev: s.Rev(), sections: []section{list}})
		}),
	}
	cmd.Flags().StringVar(&job, "job", "", "only those of the job `NAME`")
	cmd.Flags().StringVar(&machine, "machine", "", "only those on the machine `NAME`")
	return cmd
}
