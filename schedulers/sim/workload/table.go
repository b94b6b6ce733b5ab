package workload

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/omegacell/omegacell/cellstate"
)

// Row is one line of a CSV file with a heading. Its methods keep the first error, which names the place.
type Row struct {
	file   string
	line   int
	column map[string]int
	fields []string
	err    *error
}

// Fail refuses the file because of a column of this row.
func (r Row) Fail(column, why string) {
	if *r.err == nil {
		*r.err = fmt.Errorf("%s:%d: %s: %s: %w", r.file, r.line, column, why, cellstate.ErrInvalid)
	}
}

// Text returns what stands in a column.
func (r Row) Text(column string) string { return strings.TrimSpace(r.fields[r.column[column]]) }

// Name returns what must be a name for cell state.
func (r Row) Name(column string) string {
	s := r.Text(column)
	if err := cellstate.CheckName(s); err != nil {
		r.Fail(column, err.Error())
	}
	return s
}

// Number returns a whole number.
func (r Row) Number(column string) int64 {
	n, err := strconv.ParseInt(r.Text(column), 10, 40)
	if err != nil || n < 0 {
		r.Fail(column, fmt.Sprintf("%q is not a number from 0 to 2^39", r.Text(column)))
	}
	return max(n, 0)
}

// ReadTable calls f for every line after the heading, which must have the columns; others are passed over.
func ReadTable(file string, columns []string, f func(Row)) error {
	in, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("%w: %w", err, cellstate.ErrInvalid)
	}
	defer in.Close()
	c := csv.NewReader(in)
	c.ReuseRecord = true
	heading, err := c.Read()
	if err != nil {
		return fmt.Errorf("%s:1: no heading: %v: %w", file, err, cellstate.ErrInvalid)
	}
	at := make(map[string]int)
	for i, h := range heading {
		at[strings.TrimSpace(h)] = i
	}
	for _, name := range columns {
		if _, ok := at[name]; !ok {
			return fmt.Errorf("%s:1: no column %s: %w", file, name, cellstate.ErrInvalid)
		}
	}
	var bad error
	for line := 2; ; line++ {
		fields, err := c.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s:%d: %v: %w", file, line, err, cellstate.ErrInvalid)
		}
		if line > maxLines {
			return fmt.Errorf("%s: more than %d lines: %w", file, maxLines, cellstate.ErrInvalid)
		}
		f(Row{file: file, line: line, column: at, fields: fields, err: &bad})
		if bad != nil {
			return bad
		}
	}
}
