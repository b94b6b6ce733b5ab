package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/omegacell/omegacell/cmd/internal/history"
)

func (t *tool) eventsCmd() *cobra.Command {
	var follow bool
	var from int64
	var job, machine string
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Tells what happened, as far back as etcd retains it, oldest first",
		Args:  cobra.NoArgs,
		RunE: t.verb(func(ctx context.Context, c *cell, cmd *cobra.Command, _ []string) error {
			base := from
			if from > 1 {
				base = from - 1 // an event is a difference from what was before
			}
			cell := history.NewCell()
			told := 0
			for r, err := range history.Walk(ctx, c.client, c.name, base) {
				if err != nil {
					return followed(ctx, follow, err)
				}
				if r.Head {
					if !follow {
						break
					}
					continue
				}
				for _, e := range cell.Apply(r) {
					if !concerns(e, job, machine) {
						continue
					}
					told++
					if err := t.printEvent(cmd.OutOrStdout(), e); err != nil {
						return err
					}
				}
			}
			if told == 0 && !follow && (job != "" || machine != "") {
				t.warn("nothing of that in what etcd retains")
			}
			return nil
		}),
	}
	fs := cmd.Flags()
	fs.BoolVarP(&follow, "follow", "f", false, "go on until interrupted")
	fs.Int64Var(&from, "from-rev", 0, "begin with the revision `N`; 0 is the oldest that is retained")
	fs.StringVar(&job, "job", "", "only what is about the job `NAME`")
	fs.StringVar(&machine, "machine", "", "only what is about the machine `NAME`")
	return cmd
}

// followed turns the end of something that is followed until interrupted into success.
func followed(ctx context.Context, follow bool, err error) error {
	if follow && ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// concerns reports whether an event is about a job, by its full or its own name, and a machine. "" is any.
func concerns(e history.Event, job, machine string) bool {
	if machine != "" && e.Machine != machine {
		return false
	}
	_, own, _ := strings.Cut(e.Job, "/")
	return job == "" || e.Job == job || own == job
}

func (t *tool) printEvent(w io.Writer, e history.Event) error {
	r := row{{"rev", e.Rev}, {"at", e.At}, {"event", e.What}, {"machine", e.Machine}, {"job", e.Job}}
	if e.Claim != nil {
		r = append(r, item{"claim", *e.Claim})
	}
	r = append(r, item{"text", e.Text})
	return t.printLine(w, r, fmt.Sprintf("%d %s %s", e.Rev, display(e.At), e))
}

// printLine prints one of a stream of things: as an object for json, with an empty line after it for fields, else as a line.
func (t *tool) printLine(w io.Writer, r row, line string) error {
	var err error
	switch t.conf.WriteOut {
	case "json":
		_, err = fmt.Fprintf(w, "%s\n", r.json())
	case "fields":
		for _, i := range r {
			if _, err = fmt.Fprintf(w, "%q : %s\n", i.name, toJSON(i.value)); err != nil {
				return err
			}
		}
		_, err = fmt.Fprintln(w)
	default:
		_, err = fmt.Fprintln(w, line)
	}
	return err
}
