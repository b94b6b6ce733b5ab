package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/omegacell/omegacell/cellstate"
)

// item is one named value. Names are those of the JSON form: "cpu_free"; headings and labels are made of them.
type item struct {
	name  string
	value any
}

// row is one thing shown.
type row []item

// section is a list of things with the same items.
type section struct {
	name string
	rows []row
}

// document is what a verb prints: what is said of one thing, and lists.
type document struct {
	rev      int64
	head     row
	sections []section
}

// print writes d in the format that --write-out asks for.
func (t *tool) print(w io.Writer, d document) error {
	var b bytes.Buffer
	switch t.conf.WriteOut {
	case "json":
		b.Write(d.json())
		b.WriteByte('\n')
	case "fields":
		d.fields(&b)
	case "table":
		d.tables(&b)
	default:
		d.simple(&b)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// simple aligns columns with blanks.
func (d *document) simple(b *bytes.Buffer) {
	width := 0
	for _, i := range d.head {
		if display(i.value) != "-" {
			width = max(width, len(i.name)+1)
		}
	}
	for _, i := range d.head {
		if s := display(i.value); s != "-" {
			fmt.Fprintf(b, "%-*s  %s\n", width, label(i.name)+":", s)
		}
	}
	for _, s := range d.sections {
		if len(d.head) > 0 {
			if len(s.rows) == 0 {
				continue
			}
			fmt.Fprintf(b, "\n%s\n", label(s.name))
		}
		w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
		for n, r := range s.rows {
			if n == 0 {
				fmt.Fprintln(w, strings.Join(headings(r), "\t"))
			}
			fmt.Fprintln(w, strings.Join(cells(r), "\t"))
		}
		_ = w.Flush() // into memory
	}
	trimRight(b)
}

// trimRight takes away the blanks before line ends that alignment leaves.
func trimRight(b *bytes.Buffer) {
	lines := strings.Split(b.String(), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	b.Reset()
	b.WriteString(strings.Join(lines, "\n"))
}

// tables draws lines around the columns.
func (d *document) tables(b *bytes.Buffer) {
	if len(d.head) > 0 {
		var lines [][]string
		for _, i := range d.head {
			lines = append(lines, []string{label(i.name), display(i.value)})
		}
		drawTable(b, nil, lines)
	}
	for _, s := range d.sections {
		if len(s.rows) == 0 {
			continue
		}
		var lines [][]string
		for _, r := range s.rows {
			lines = append(lines, cells(r))
		}
		drawTable(b, headings(s.rows[0]), lines)
	}
}

func drawTable(b *bytes.Buffer, heading []string, lines [][]string) {
	var width []int
	for _, l := range append([][]string{heading}, lines...) {
		for i, c := range l {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	rule := "+"
	for _, n := range width {
		rule += strings.Repeat("-", n+2) + "+"
	}
	line := func(cells []string) {
		b.WriteByte('|')
		for i, c := range cells {
			fmt.Fprintf(b, " %s%s |", c, strings.Repeat(" ", width[i]-utf8.RuneCountInString(c)))
		}
		b.WriteByte('\n')
	}
	fmt.Fprintln(b, rule)
	if heading != nil {
		line(heading)
		fmt.Fprintln(b, rule)
	}
	for _, l := range lines {
		line(l)
	}
	fmt.Fprintln(b, rule)
}

// fields writes `"name" : value`, one a line, as etcdctl does, with an empty line after each thing.
func (d *document) fields(b *bytes.Buffer) {
	fmt.Fprintf(b, "%q : %d\n", "revision", d.rev)
	writeFields(b, d.head)
	for _, s := range d.sections {
		for _, r := range s.rows {
			b.WriteByte('\n')
			writeFields(b, r)
		}
	}
}

func writeFields(b *bytes.Buffer, r row) {
	for _, i := range r {
		fmt.Fprintf(b, "%q : %s\n", i.name, toJSON(i.value))
	}
}

// json is one object on one line. Its members come in the order in which they are shown.
func (d *document) json() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"revision":%d`, d.rev)
	for _, i := range d.head {
		fmt.Fprintf(&b, ",%q:%s", i.name, toJSON(i.value))
	}
	for _, s := range d.sections {
		fmt.Fprintf(&b, ",%q:[", s.name)
		for n, r := range s.rows {
			if n > 0 {
				b.WriteByte(',')
			}
			b.Write(r.json())
		}
		b.WriteByte(']')
	}
	b.WriteByte('}')
	return b.Bytes()
}

func (r row) json() []byte {
	var b bytes.Buffer
	for n, i := range r {
		sep := byte(',')
		if n == 0 {
			sep = '{'
		}
		b.WriteByte(sep)
		fmt.Fprintf(&b, "%q:%s", i.name, toJSON(i.value))
	}
	b.WriteByte('}')
	return b.Bytes()
}

// toJSON writes what has a text as text, amounts as objects, and instants that are not set as null.
func toJSON(v any) []byte {
	switch x := v.(type) {
	case cellstate.Instant:
		if x == 0 {
			return []byte("null")
		}
		v = x.String()
	case cellstate.Resources:
		v = amounts(x)
	case json.RawMessage:
		return x
	case fmt.Stringer:
		v = x.String()
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("cellctl: %T cannot be written as JSON: %v", v, err)) // the verbs choose the types
	}
	return b
}

// amounts gives resources the names of the stored form, and leaves out what is zero.
func amounts(r cellstate.Resources) map[string]int64 {
	m := make(map[string]int64)
	for _, a := range []struct {
		name string
		n    int64
	}{
		{"cpu_milli", r.CPUMilli}, {"mem_bytes", r.MemBytes}, {"disk_bytes", r.DiskBytes}, {"net_bits_per_second", r.NetBitsPerSecond}, {"gpu_milli", r.GPUMilli},
	} {
		if a.n != 0 {
			m[a.name] = a.n
		}
	}
	for _, e := range r.Extended {
		m[e.Name] = e.Amount
	}
	return m
}

// display is a value in a cell of a table; "-" where there is none.
func display(v any) string {
	var s string
	switch x := v.(type) {
	case nil:
	case bool:
		s = "no"
		if x {
			s = "yes"
		}
	case []string:
		s = strings.Join(x, ",")
	case time.Duration:
		s = x.Round(time.Millisecond).String()
	default:
		s = fmt.Sprint(x)
	}
	if s == "" {
		return "-"
	}
	return strings.ReplaceAll(s, "\n", " ")
}

func cells(r row) []string {
	out := make([]string, len(r))
	for n, i := range r {
		out[n] = display(i.value)
	}
	return out
}

func headings(r row) []string {
	out := make([]string, len(r))
	for n, i := range r {
		out[n] = strings.ToUpper(label(i.name))
	}
	return out
}

func label(name string) string { return strings.ReplaceAll(name, "_", "-") }
