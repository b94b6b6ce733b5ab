package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/wire"
	"github.com/omegacell/omegacell/cmd/internal/cliconf"
	"github.com/omegacell/omegacell/cmd/internal/history"
)

// maxRanges bounds how many ranges one watch follows.
const maxRanges = 64

func (t *tool) watchCmd() *cobra.Command {
	var rev, count int64
	cmd := &cobra.Command{
		Use:   "watch [RANGE…]",
		Short: "Streams changes as they happen, decoded, one a line; RANGE is the beginning of keys, such as ledgers/ or jobs/batch/hello",
		Args:  cobra.MaximumNArgs(maxRanges),
		RunE: t.verb(func(ctx context.Context, c *cell, cmd *cobra.Command, args []string) error {
			if rev < 0 || count < 0 {
				return cliconf.Usagef("--rev and --count cannot be negative")
			}
			if len(args) == 0 {
				args = []string{""}
			}
			lines := make(chan history.Entry)
			group, following := errgroup.WithContext(ctx)
			for _, r := range args {
				group.Go(func() error { return c.watch(following, c.fullKey(r), rev, lines) })
			}
			enough := errors.New("enough")
			group.Go(func() error {
				for n := int64(1); ; n++ {
					select {
					case e := <-lines:
						if err := t.printChange(cmd, e); err != nil {
							return err
						}
					case <-following.Done():
						return following.Err()
					}
					if n == count {
						return enough
					}
				}
			})
			if err := group.Wait(); !errors.Is(err, enough) {
				return followed(ctx, true, err)
			}
			return nil
		}),
	}
	fs := cmd.Flags()
	fs.Int64Var(&rev, "rev", 0, "begin with the revision `N`; 0 is what comes from now on")
	fs.Int64VarP(&count, "count", "n", 0, "end after `N` changes; 0 is never")
	return cmd
}

// watch sends every change of the keys that begin with prefix.
func (c *cell) watch(ctx context.Context, prefix string, rev int64, lines chan<- history.Entry) error {
	opts := []clientv3.OpOption{clientv3.WithPrefix(), clientv3.WithRev(rev)}
	for resp := range c.client.Watch(clientv3.WithRequireLeader(ctx), prefix, opts...) {
		if errors.Is(resp.Err(), rpctypes.ErrCompacted) {
			return fmt.Errorf("revision %d is not retained any more, the oldest is %d: %w", rev, resp.CompactRevision, cellstate.ErrCompacted)
		}
		if err := resp.Err(); err != nil {
			return fmt.Errorf("watch %s: %w: %w", prefix, err, cellstate.ErrUnavailable)
		}
		for _, e := range resp.Events {
			select {
			case lines <- history.Decode(c.name, e.Kv, e.Type == clientv3.EventTypeDelete):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return ctx.Err()
}

func (t *tool) printChange(cmd *cobra.Command, e history.Entry) error {
	kind, text := "put", ""
	var value any
	switch {
	case e.Deleted:
		kind = "delete"
	case e.Err != nil:
		text = " cannot be read: " + e.Err.Error()
	default:
		b, err := wire.JSON(e.Value)
		if err != nil {
			return err
		}
		value, text = json.RawMessage(b), " "+string(b)
	}
	r := row{{"rev", e.Rev}, {"type", kind}, {"key", e.Raw}, {"value", value}}
	if e.Err != nil && !e.Deleted {
		r = append(r, item{"error", e.Err.Error()})
	}
	return t.printLine(cmd.OutOrStdout(), r, fmt.Sprintf("%d %s %s%s", e.Rev, kind, e.Raw, text))
}
