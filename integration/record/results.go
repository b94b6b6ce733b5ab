package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/google/renameio/v2"
	"golang.org/x/perf/benchfmt"
)

// result is one line of a benchmark, with the step that it is of and where and when it was measured.
type result struct{ *benchfmt.Result }

func (r result) step() string { return r.GetConfig("step") }

// note adds a setting that is written with the result.
func (r result) note(key, value string) {
	r.SetConfig(key, value)
	i, _ := r.ConfigIndex(key)
	r.Config[i].File = true
}

func parseResults(from io.Reader, name string) ([]result, error) {
	var all []result
	reader := benchfmt.NewReader(from, name)
	for reader.Scan() {
		switch r := reader.Result().(type) {
		case *benchfmt.Result:
			all = append(all, result{r.Clone()})
		case *benchfmt.SyntaxError:
			return nil, r
		}
	}
	return all, reader.Err()
}

// readResults reads what was recorded before; a file that is not there holds nothing.
func readResults(path string) ([]result, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseResults(bytes.NewReader(b), path)
}

func writeResults(path string, all []result) error {
	var b bytes.Buffer
	w := benchfmt.NewWriter(&b)
	for _, r := range all {
		if err := w.Write(r.Result); err != nil {
			return err
		}
	}
	return renameio.WriteFile(path, b.Bytes(), 0o644)
}

// key names one figure: the step, the benchmark, and the unit as it was reported.
type key struct{ step, bench, unit string }

// figure is the median of all runs of one benchmark.
type figure struct {
	key
	median, low, high float64
	runs              int
	where             map[string]string // configuration of the last run
}

// summary is all figures, in the order in which they were recorded.
type summary []*figure

func summarize(all []result) summary {
	values := make(map[key][]float64)
	var sum summary
	at := make(map[key]*figure)
	for _, r := range all {
		where := make(map[string]string)
		for _, c := range r.Config {
			where[c.Key] = string(c.Value)
		}
		for _, v := range r.Values {
			value, unit := v.Value, v.Unit
			if v.OrigUnit != "" {
				value, unit = v.OrigValue, v.OrigUnit
			}
			// A name ends with the number of processors, where that is not 1.
			k := key{r.step(), strings.TrimSuffix(r.Name.String(), "-"+where["cores"]), unit}
			if at[k] == nil {
				at[k] = &figure{key: k}
				sum = append(sum, at[k])
			}
			at[k].where = where
			values[k] = append(values[k], value)
		}
	}
	for _, f := range sum {
		v := values[f.key]
		slices.Sort(v)
		f.median, f.low, f.high, f.runs = (v[(len(v)-1)/2]+v[len(v)/2])/2, v[0], v[len(v)-1], len(v)
	}
	return sum
}

// find returns the figure of a benchmark, whichever step it is of; nil where there is none.
func (s summary) find(bench, unit string) *figure {
	for _, f := range s {
		if f.bench == bench && f.unit == unit {
			return f
		}
	}
	return nil
}

// String gives a value and its unit, short.
func (f *figure) String() string { return format(f.median, f.unit) }

// format writes three figures. Long times in nanoseconds become longer units.
func format(v float64, unit string) string {
	if len(unit) > 3 && unit[:3] == "ns/" {
		for _, u := range []struct {
			of   float64
			name string
		}{{1e9, "s"}, {1e6, "ms"}, {1e3, "µs"}} {
			if v >= u.of {
				return number(v/u.of) + " " + u.name + unit[2:]
			}
		}
	}
	return number(v) + " " + unit
}

func number(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}
