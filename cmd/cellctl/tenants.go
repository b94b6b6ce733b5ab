package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cmd/internal/cliconf"
	"github.com/omegacell/omegacell/cmd/internal/jobfile"
	"github.com/omegacell/omegacell/cmd/internal/submit"
)

func (t *tool) tenantsCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "tenants",
		Short: "Lists tenants with a quota: one line for each band",
		Args:  cobra.NoArgs,
		RunE: t.verb(func(ctx context.Context, c *cell, cmd *cobra.Command, _ []string) error {
			l, err := c.list(ctx, cellstate.KindTenant)
			if err != nil {
				return err
			}
			list := section{name: "tenants"}
			for _, r := range l.Records {
				list.rows = append(list.rows, tenantRows(r.Value.(*cellstate.Tenant))...)
			}
			return t.print(cmd.OutOrStdout(), document{rev: l.Rev, sections: []section{list}})
		}),
	}
}

func tenantRows(n *cellstate.Tenant) []row {
	var rows []row
	for _, b := range n.Bands {
		rows = append(rows, row{
			{"tenant", n.Name}, {"band", b.Band}, {"limit", b.Limit}, {"admitted", b.Admitted}, {"free", b.Limit.Sub(b.Admitted)},
		})
	}
	return rows
}

func (t *tool) tenantCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tenant NAME",
		Short: "Shows one tenant's quota and what its jobs ask for, or sets the quota (tenant set)",
		Args:  cobra.ExactArgs(1),
		RunE: t.verb(func(ctx context.Context, c *cell, cmd *cobra.Command, args []string) error {
			l, err := c.list(ctx, cellstate.KindTenant)
			if err != nil {
				return err
			}
			s, err := c.snapshot(ctx)
			if err != nil {
				return err
			}
			jobs := section{name: "jobs"}
			for j, st := range s.Jobs("") {
				if j.Tenant == args[0] {
					jobs.rows = append(jobs.rows, row{
						{"job", j.Scheduler + "/" + j.Name}, {"state", summarize(s, j, st).state}, {"band", j.Precedence.Band()},
						{"demand", j.Demand()}, {"counts", !submit.Final(j, st)},
					})
				}
			}
			names := []string{cellstate.DefaultTenant}
			for _, r := range l.Records {
				names = append(names, r.Key.Name)
				if n := r.Value.(*cellstate.Tenant); n.Name == args[0] {
					return t.print(cmd.OutOrStdout(), document{rev: l.Rev, head: row{{"tenant", n.Name}}, sections: []section{{"bands", tenantRows(n)}, jobs}})
				}
			}
			if len(jobs.rows) == 0 && args[0] != cellstate.DefaultTenant {
				return unknown("tenant", args[0], names)
			}
			return t.print(cmd.OutOrStdout(), document{rev: l.Rev, head: row{{"tenant", args[0]}, {"quota", "unlimited"}}, sections: []section{jobs}})
		}),
	}
	cmd.AddCommand(t.tenantSetCmd())
	return cmd
}

func (t *tool) tenantSetCmd() *cobra.Command {
	var band string
	var unlimited bool
	amount := make(map[string]*string)
	cmd := &cobra.Command{
		Use:   "set NAME",
		Short: "Sets a tenant's quota for one band of precedence, or takes it away (--unlimited)",
		Long: "Sets a tenant's quota for one band of precedence, or takes it away (--unlimited).\n\n" +
			"A resource that is not named is allowed none of. Jobs that are admitted already stay, also where the new quota is less.",
		Args: cobra.ExactArgs(1),
		RunE: t.verb(func(ctx context.Context, c *cell, cmd *cobra.Command, args []string) error {
			q := submit.Quota{Tenant: args[0]}
			for _, b := range cellstate.Bands() {
				if b.String() == band {
					q.Band = b
				}
			}
			if q.Band == 0 {
				return cliconf.Usagef("--band %q is none of %s", band, bandNames())
			}
			if !unlimited {
				limit, err := parseLimit(amount)
				if err != nil {
					return err
				}
				q.Limit = &limit
			}
			ctx, cancel := c.brief(ctx)
			defer cancel()
			n, err := submit.SetQuota(ctx, c.store, q)
			if err != nil {
				return err
			}
			return t.print(cmd.OutOrStdout(), document{rev: n.Rev, sections: []section{{"tenants", tenantRows(n)}}})
		}),
	}
	fs := cmd.Flags()
	fs.StringVar(&band, "band", "", "`BAND` of precedence: "+bandNames())
	fs.BoolVar(&unlimited, "unlimited", false, "take the quota of the band away")
	for _, r := range []struct{ name, usage string }{
		{"cpu", "cores, such as 8 or 500m"}, {"memory", "such as 64Gi"}, {"disk", "such as 1Ti"}, {"network", "bits per second, such as 10Gbit"},
		{"gpu", "devices, such as 4 or 500m"},
	} {
		amount[r.name] = fs.String(r.name, "", "`AMOUNT` allowed: "+r.usage)
	}
	return cmd
}

func bandNames() string {
	var names []string
	for _, b := range cellstate.Bands() {
		if b != cellstate.BandBestEffort {
			names = append(names, b.String())
		}
	}
	return strings.Join(names, ", ")
}

// parseLimit reads amounts as job files spell them.
func parseLimit(flags map[string]*string) (cellstate.Resources, error) {
	var limit cellstate.Resources
	for _, f := range []struct {
		name  string
		field *int64
	}{
		{"cpu", &limit.CPUMilli}, {"memory", &limit.MemBytes}, {"disk", &limit.DiskBytes}, {"network", &limit.NetBitsPerSecond}, {"gpu", &limit.GPUMilli},
	} {
		text := *flags[f.name]
		if text == "" {
			continue
		}
		n, err := jobfile.Amount(f.name, text)
		if err != nil {
			return limit, cliconf.Usagef("--%s: %w", f.name, err)
		}
		*f.field = n
	}
	return limit, nil
}
