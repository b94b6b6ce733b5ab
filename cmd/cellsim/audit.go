package main

import (
	"context"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/memstore"
	"github.com/omegacell/omegacell/cmd/internal/audit"
	"github.com/omegacell/omegacell/cmd/internal/history"
)

// auditAll reads every revision again and counts what breaks an invariant: through etcd's own client, or, of a cell in
// memory, through its watch.
func auditAll(ctx context.Context, b *backing, out *result) error {
	var report audit.Report
	var err error
	if b.client != nil {
		report, err = audit.Run(ctx, b.client, cellName, 0)
	} else {
		report, err = auditMemory(ctx, b.memory)
	}
	if err != nil {
		return err
	}
	out.Revisions, out.Violations = report.Revisions, report.Violated
	for _, f := range report.Violations {
		out.Violated = append(out.Violated, f.String())
	}
	return nil
}

// auditMemory feeds the history of a cell that nobody writes to any more to the auditor.
func auditMemory(ctx context.Context, store *memstore.Store) (audit.Report, error) {
	last, err := store.List(ctx, cellstate.Range{}, 0)
	if err != nil {
		return audit.Report{}, err
	}
	first, err := store.List(ctx, cellstate.Range{}, 1)
	if err != nil {
		return audit.Report{}, err
	}
	c := audit.NewChecker()
	c.Apply(history.Revision{Rev: first.Rev, Base: true})
	for batch, err := range store.Watch(ctx, cellstate.Range{}, first.Rev+1) {
		if err != nil {
			return c.Report(), err
		}
		r := history.Revision{Rev: batch.Rev}
		for _, e := range batch.Events {
			e.Record.Raw = e.Record.Key.String()
			r.Entries = append(r.Entries, history.Entry{Record: e.Record, Deleted: e.Deleted})
		}
		c.Apply(r)
		if batch.Rev >= last.Rev {
			break
		}
	}
	return c.Report(), nil
}
