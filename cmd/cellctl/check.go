package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/omegacell/omegacell/cmd/internal/audit"
)

func (t *tool) checkCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "check", Short: "Checks a cell from outside",
		Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var from int64
	invariants := &cobra.Command{
		Use:   "invariants",
		Short: "Reads all that etcd retains of the cell and verifies the invariants in every revision",
		Long: "Reads all that etcd retains of the cell and verifies the invariants in every revision: I1, I2, I4, I5, I7 and I10 of ARCHITECTURE.md,\n" +
			"that every value can be read, and that every claim has a job. It reads etcd itself and trusts no scheduler and no agent.",
		Args: cobra.NoArgs,
		RunE: t.verb(func(ctx context.Context, c *cell, cmd *cobra.Command, _ []string) error {
			r, err := audit.Run(ctx, c.client, c.name, from)
			if err != nil {
				return err
			}
			if err := t.print(cmd.OutOrStdout(), document{rev: r.To, head: row{
				{"from", r.From}, {"to", r.To}, {"revisions", r.Revisions}, {"keys", r.Keys}, {"ledgers", r.Ledgers}, {"claims", r.Claims},
				{"violations", r.Violated}, {"notes", r.Noted},
			}, sections: []section{{"found", findingRows(r.Violations)}, {"noted", findingRows(r.Notes)}}}); err != nil {
				return err
			}
			if r.Violated > 0 {
				return fmt.Errorf("%d found: %w", r.Violated, errViolated)
			}
			return nil
		}),
	}
	invariants.Flags().Int64Var(&from, "from-rev", 0, "begin with the revision `N`; 0 is the oldest that is retained")
	cmd.AddCommand(invariants, t.perfCmd())
	return cmd
}

func findingRows(all []audit.Finding) []row {
	var rows []row
	for _, f := range all {
		rows = append(rows, row{{"rev", f.Rev}, {"invariant", f.Invariant}, {"key", f.Key}, {"text", f.Text}})
	}
	return rows
}
