package history

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/etcdstore/etcdtest"
	"github.com/omegacell/omegacell/cellstate/wire"
)

// walked is a walk up to the first head, as text: the base's keys, and those of each revision.
func walked(ctx context.Context, c *clientv3.Client, from int64) ([]string, error) {
	var out []string
	for r, err := range Walk(ctx, c, "c", from) {
		if err != nil {
			return out, err
		}
		if r.Head {
			return append(out, fmt.Sprintf("head %d", r.Rev)), nil
		}
		line := fmt.Sprintf("%d", r.Rev)
		if r.Base {
			line = "base " + line
		}
		for _, e := range r.Entries {
			line += " " + e.Key.String()
			if e.Deleted {
				line += " gone"
			}
		}
		out = append(out, line)
	}
	return out, errors.New("a walk ended by itself")
}

func TestWalk(t *testing.T) {
	m := etcdtest.Start(t)
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{m.Endpoint}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	put := func(machine string) clientv3.Op {
		b, err := wire.Marshal(cellstate.NewLedger(machine, cellstate.Resources{}))
		if err != nil {
			t.Fatal(err)
		}
		return clientv3.OpPut(wire.Prefix("c")+"ledgers/"+machine, string(b))
	}
	ops := [][]clientv3.Op{
		{put("a"), put("b")}, {put("c")}, {clientv3.OpPut("/elsewhere", "")}, {clientv3.OpDelete(wire.Prefix("c") + "ledgers/a"), put("b")}, // revisions 2 to 5
	}
	for _, o := range ops {
		if _, err := c.Txn(t.Context()).Then(o...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		from int64
		want []string
	}{
		{0, []string{"base 1", "2 ledger a ledger b", "3 ledger c", "5 ledger a gone ledger b", "head 5"}},
		{3, []string{"base 3 ledger a ledger b ledger c", "5 ledger a gone ledger b", "head 5"}},
		{5, []string{"base 5 ledger b ledger c", "head 5"}}, // nothing comes after it, and the walk still ends
	} {
		if got, err := walked(t.Context(), c, tt.from); err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("from %d: %q, %v, want %q", tt.from, got, err, tt.want)
		}
	}
	if _, err := walked(t.Context(), c, 6); !errors.Is(err, cellstate.ErrInvalid) {
		t.Errorf("from a revision to come: %v", err)
	}
	if _, err := c.Compact(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	want := []string{"base 3 ledger a ledger b ledger c", "5 ledger a gone ledger b", "head 5"}
	if got, err := walked(t.Context(), c, 0); err != nil || !slices.Equal(got, want) {
		t.Errorf("after compaction: %q, %v, want %q", got, err, want)
	}
	if _, err := walked(t.Context(), c, 2); !errors.Is(err, cellstate.ErrCompacted) {
		t.Errorf("from a compacted revision: %v", err)
	}
	m.Stop()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := walked(ctx, c, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
}
