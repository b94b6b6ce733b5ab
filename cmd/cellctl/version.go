package main

import (
	"context"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cmd/internal/daemon"
)

func (t *tool) versionCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Shows the versions of this tool and of etcd",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := document{head: row{{"cellctl", daemon.Version()}, {"go", runtime.Version()}}}
			c, err := t.dial(cmd.Context())
			if err == nil {
				defer c.close()
				var members section
				if members, err = c.members(cmd.Context()); err == nil {
					d.sections = append(d.sections, members)
				}
			}
			if err := t.print(cmd.OutOrStdout(), d); err != nil {
				return err
			}
			return coded(err)
		},
	}
}

// members asks each endpoint what it is. It fails only where none answers.
func (c *cell) members(ctx context.Context) (section, error) {
	s := section{name: "etcd"}
	ctx, cancel := c.brief(ctx)
	defer cancel()
	var failure error
	for _, e := range c.client.Endpoints() {
		st, err := c.client.Status(ctx, e)
		if err != nil {
			c.tool.warn("etcd at %s: %v", e, err)
			failure = cellstate.ErrUnavailable
			continue
		}
		s.rows = append(s.rows, row{{"endpoint", e}, {"version", st.Version}, {"revision", st.Header.Revision}, {"db_bytes", st.DbSize}, {"leader", st.Leader == st.Header.MemberId}})
	}
	if len(s.rows) > 0 {
		failure = nil
	}
	return s, failure
}
