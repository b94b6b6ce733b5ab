package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/google/renameio/v2"
)

const (
	beginMark = "<!-- what follows is written by make bench -->"
	endMark   = "<!-- end of what make bench writes -->"
)

// writeReadme replaces what stands between the markers.
func writeReadme(path string, s summary, steps []step) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok1 := bytes.Cut(old, []byte(beginMark))
	_, after, ok2 := bytes.Cut(rest, []byte(endMark))
	if !ok1 || !ok2 {
		return errors.New(path + " has not both markers")
	}
	var b bytes.Buffer
	b.Write(before)
	b.WriteString(beginMark + "\n\n")
	writeTables(&b, s, steps)
	b.WriteString(endMark)
	b.Write(after)
	return renameio.WriteFile(path, b.Bytes(), 0o644)
}

func writeTables(b *bytes.Buffer, s summary, steps []step) {
	b.WriteString("## Targets\n\n| measure | target | figure | met | of | date |\n|---|---|---|---|---|---|\n")
	for _, t := range targets() {
		v, of, ok := t.figure(s)
		if !ok {
			fmt.Fprintf(b, "| %s | %s | not measured | | `%s` `%s` | |\n", t.measure, t.want(), t.bench, t.unit)
			continue
		}
		met := "yes"
		if !t.met(v) {
			met = "**no**"
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | `%s` `%s` | %s |\n", t.measure, t.want(), number(v)+space(t.in), met, t.bench, t.unit, of.where["date"])
	}
	b.WriteString("\n## Growth\n\nFrom 1,000 to 100,000 machines, both axes logarithmic:\n\n![CPU time of planning, of applying a change to the mirror, and of rebuilding it, against machines](figures/growth.svg)\n\n")
	for i, st := range steps {
		rows := s.of(st.name)
		if len(rows) == 0 {
			continue
		}
		if i == 0 || steps[i-1].title != st.title || len(s.of(steps[i-1].name)) == 0 {
			fmt.Fprintf(b, "## %s%s\n\n", strings.ToUpper(st.title[:1]), st.title[1:])
		}
		w := rows[0].where
		fmt.Fprintf(b, "`%s`\n\nMeasured on %s at commit %s: %s, %s cores, %s, kernel %s, %s, %s, etcd %s; load average before: %s.\n\n", st.line(), w["date"],
			w["commit"], w["processor"], w["cores"], w["memory"], w["kernel"], w["filesystem"], w["go"], w["etcd"], w["load"])
		b.WriteString("| what | figures (median; least to most) |\n|---|---|\n")
		writeRows(b, rows)
		b.WriteByte('\n')
	}
}

// of returns the figures of one step.
func (s summary) of(step string) summary {
	var out summary
	for _, f := range s {
		if f.step == step {
			out = append(out, f)
		}
	}
	return out
}

// writeRows writes a row for each benchmark.
func writeRows(b *bytes.Buffer, rows summary) {
	for i, f := range rows {
		if i == 0 || rows[i-1].bench != f.bench {
			if i > 0 {
				b.WriteString(" |\n")
			}
			fmt.Fprintf(b, "| %s | ", f.bench)
		} else {
			b.WriteString(", ")
		}
		b.WriteString(f.String())
		if f.runs > 1 && f.low != f.high {
			fmt.Fprintf(b, " (%s–%s)", number(f.low), number(f.high))
		}
	}
	b.WriteString(" |\n")
}
