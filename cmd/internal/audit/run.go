package audit

import (
	"context"
	"fmt"
	"iter"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/omegacell/omegacell/cmd/internal/history"
)

// settle is how long a task may be seen without a state before it counts as a breach of I10: schedulers at work come past
// such states between two commits.
const settle = 5 * time.Second

// Run audits a cell: all that stands at revision fromRev, or at the oldest that is retained for 0, and every revision up to
// the newest at the time it is called. Where it ends on tasks without a state, it follows the cell a few seconds more, until
// they have one. Errors are those of history.Walk: the audit was not finished, and the report says how far it came.
func Run(ctx context.Context, client *clientv3.Client, cell string, fromRev int64) (Report, error) {
	return judge(ctx, history.Walk(ctx, client, cell, fromRev), client, cell)
}

// judge is Run on a history that is read elsewhere.
func judge(ctx context.Context, walk iter.Seq2[history.Revision, error], client *clientv3.Client, cell string) (Report, error) {
	c := NewChecker()
	seen := make(keys)
	var patience time.Time
	for r, err := range walk {
		if err != nil {
			return c.Report(), err
		}
		c.Apply(r)
		seen.apply(r)
		if !r.Head {
			continue
		}
		if patience.IsZero() {
			patience = time.Now().Add(settle)
		}
		if len(c.Unaccounted()) == 0 || time.Now().After(patience) {
			break
		}
	}
	if err := ctx.Err(); err != nil {
		return c.Report(), err
	}
	return c.Report(), seen.compare(ctx, client, cell, c.report.To)
}

// keys are the revisions that wrote the keys of a cell last, as far as its history told.
type keys map[string]int64

func (k keys) apply(r history.Revision) {
	for _, e := range r.Entries {
		if e.Deleted {
			delete(k, e.Raw)
		} else {
			k[e.Raw] = e.Rev
		}
	}
}

// compare returns an error unless the history that was read leads to exactly what stands there at rev: an audit of a part of
// the history would prove nothing.
func (k keys) compare(ctx context.Context, client *clientv3.Client, cell string, rev int64) error {
	now, err := history.At(ctx, client, cell, rev)
	if err != nil {
		return err
	}
	for _, e := range now.Entries {
		if k[e.Raw] != e.Rev {
			return fmt.Errorf("audit of cell %s: revision %d wrote %s, and its history said %d: the history is not whole", cell, e.Rev, e.Raw, k[e.Raw])
		}
	}
	if len(k) != len(now.Entries) {
		return fmt.Errorf("audit of cell %s: %d keys at revision %d, and its history leads to %d: the history is not whole", cell, len(now.Entries), rev, len(k))
	}
	return nil
}
