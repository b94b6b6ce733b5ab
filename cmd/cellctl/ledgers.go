package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cmd/internal/cliconf"
	"github.com/omegacell/omegacell/cmd/internal/submit"
)

// ledgerAttempts bounds how often a ledger is edited anew after another writer was faster.
const ledgerAttempts = 16

// maxDeadline bounds how far ahead a drain may be set, so that the sum with the present is no instant nobody lives to see.
const maxDeadline = 30 * 24 * time.Hour

// edit changes what an operator may change in a machine's ledger. change returns false where nothing needs to.
func (c *cell) edit(ctx context.Context, machine string, change func(*cellstate.Ledger) bool) (*cellstate.Ledger, bool, error) {
	ctx, cancel := c.brief(ctx)
	defer cancel()
	key := cellstate.LedgerKey(machine)
	for range ledgerAttempts {
		r, err := cellstate.Get(ctx, c.store, key)
		if err != nil {
			return nil, false, err
		}
		if r.Err != nil {
			return nil, false, fmt.Errorf("%s cannot be read: %v", key, r.Err)
		}
		old, ok := r.Value.(*cellstate.Ledger)
		if !ok {
			return nil, false, c.unknownMachine(ctx, machine)
		}
		now := old.Clone()
		if !change(now) {
			return old, false, nil
		}
		done, err := c.store.Swap(ctx, cellstate.Swap{Guards: []cellstate.Guard{{Key: key, Rev: r.Rev}}, Put: []cellstate.Put{{Value: now.Sum()}}})
		if err != nil {
			return nil, false, err
		}
		if done.OK {
			now.Rev = done.Rev
			return now, true, nil
		}
	}
	return nil, false, fmt.Errorf("machine %s: lost the race against other writers %d times: %w", machine, ledgerAttempts, submit.ErrRefused)
}

func (c *cell) unknownMachine(ctx context.Context, machine string) error {
	l, err := c.store.List(ctx, cellstate.Range{Kind: cellstate.KindLedger}, 0)
	if err != nil {
		return err
	}
	var names []string
	for _, r := range l.Records {
		names = append(names, r.Key.Name)
	}
	return unknown("machine", machine, names)
}

// printLedger says what became of a machine.
func (t *tool) printLedger(cmd *cobra.Command, l *cellstate.Ledger, outcome string) error {
	r := row{{"machine", l.Machine}, {"outcome", outcome}, {"claims", l.Live()}, {"cordoned", l.Cordoned}}
	if l.Drain != nil {
		r = append(r, item{"drain_deadline", l.Drain.Deadline}, item{"drain_reason", l.Drain.Reason})
	}
	return t.print(cmd.OutOrStdout(), document{rev: l.Rev, sections: []section{{"machines", []row{r}}}})
}

func (t *tool) cordonCmd() *cobra.Command {
	return t.setCordon("cordon MACHINE", "Lets a machine take no further claims; those it has go on", true, "cordoned")
}

func (t *tool) uncordonCmd() *cobra.Command {
	return t.setCordon("uncordon MACHINE", "Lets a machine take claims again", false, "uncordoned")
}

func (t *tool) setCordon(use, short string, cordoned bool, outcome string) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(1), ValidArgsFunction: t.completeNames(machineNames),
		RunE: t.verb(func(ctx context.Context, c *cell, cmd *cobra.Command, args []string) error {
			l, changed, err := c.edit(ctx, args[0], func(l *cellstate.Ledger) bool {
				was := l.Cordoned
				l.Cordoned = cordoned
				return was != cordoned
			})
			if err != nil {
				return err
			}
			if !changed {
				outcome = "unchanged"
			}
			return t.printLedger(cmd, l, outcome)
		}),
	}
}

func (t *tool) drainCmd() *cobra.Command {
	var deadline, timeout time.Duration
	var reason string
	var cancel, wait bool
	cmd := &cobra.Command{
		Use:   "drain MACHINE",
		Short: "Asks for a machine to be emptied: owners move or end their claims until the deadline, then its agent ends them",
		Args:  cobra.ExactArgs(1), ValidArgsFunction: t.completeNames(machineNames),
		RunE: t.verb(func(ctx context.Context, c *cell, cmd *cobra.Command, args []string) error {
			if deadline < 0 || deadline > maxDeadline {
				return cliconf.Usagef("--deadline %s is outside 0s..%s", deadline, maxDeadline)
			}
			var want *cellstate.Drain
			outcome := "undrained"
			if !cancel {
				want = &cellstate.Drain{Deadline: t.now().Add(deadline), Reason: reason}
				outcome = "draining"
			}
			l, changed, err := c.edit(ctx, args[0], func(l *cellstate.Ledger) bool {
				if want == nil && l.Drain == nil {
					return false
				}
				l.Drain = want
				return true
			})
			if err != nil {
				return err
			}
			if !changed {
				outcome = "unchanged"
			}
			if wait && !cancel {
				if l, err = c.drained(ctx, l, timeout); err != nil {
					return err
				}
				outcome = "drained"
			}
			return t.printLedger(cmd, l, outcome)
		}),
	}
	fs := cmd.Flags()
	fs.DurationVar(&deadline, "deadline", 5*time.Minute, "`TIME` from now until the agent ends what is left")
	fs.StringVar(&reason, "reason", "", "`TEXT` for the owners of the claims")
	fs.BoolVar(&cancel, "cancel", false, "take the wish back")
	fs.BoolVar(&wait, "wait", false, "wait until no live claim is left")
	fs.DurationVar(&timeout, "timeout", 10*time.Minute, "how long to wait at most")
	cmd.MarkFlagsMutuallyExclusive("cancel", "wait")
	return cmd
}

// drained waits until the machine has no live claim.
func (c *cell) drained(ctx context.Context, l *cellstate.Ledger, timeout time.Duration) (*cellstate.Ledger, error) {
	machine := l.Machine
	err := c.until(ctx, timeout, l.Rev, func(s cellstate.Snapshot) (bool, error) {
		now, ok := s.Ledger(machine)
		if !ok {
			return false, waitf("machine %s is gone", machine)
		}
		l = now
		return now.Live() == 0, nil
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, waitf("machine %s still has %d live claims after %s", machine, l.Live(), timeout)
	}
	return l, err
}
