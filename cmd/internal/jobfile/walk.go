package jobfile

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// form reads the nodes of one document. It keeps the first error and does nothing more after it; since it walks in the
// file's order, that is the first one in the file. The library's own strict decoding would do, but that it takes 1.5 for 1,
// reports unknown fields in map order, and knows no field's range.
type form struct {
	doc document
	err error
}

func (f *form) fail(n ast.Node, format string, args ...any) {
	f.failAt(f.doc.lineOf(n), format, args...)
}

// failAt is fail at a line of the file.
func (f *form) failAt(line int, format string, args ...any) {
	if f.err == nil {
		f.err = f.doc.errorf(line-f.doc.above, format, args...)
	}
}

// readers are the fields of one mapping: each reads its field's value.
type readers map[string]func(ast.Node)

// fields reads the mapping n, field by field in the file's order.
func (f *form) fields(n ast.Node, what string, known readers) {
	f.entries(n, what, func(key string, k, v ast.Node) {
		read, ok := known[key]
		if !ok {
			f.fail(k, "unknown field %q in %s; it has %s", key, what, strings.Join(sortedKeys(known), ", "))
			return
		}
		read(v)
	})
}

// entries calls each with every key of the mapping n and its value.
func (f *form) entries(n ast.Node, what string, each func(key string, k, v ast.Node)) {
	if f.err != nil {
		return
	}
	m, ok := n.(*ast.MappingNode)
	if !ok {
		f.fail(n, "%s: want fields, not %s", what, describe(n))
		return
	}
	for _, e := range m.Values {
		if f.err != nil {
			return
		}
		key, ok := text(e.Key)
		if !ok {
			f.fail(e.Key, "%s: want a word as a key, not %s", what, describe(e.Key))
			return
		}
		each(key, e.Key, e.Value)
	}
}

// items calls each with every item of the list n.
func (f *form) items(n ast.Node, what string, each func(ast.Node)) {
	if f.err != nil {
		return
	}
	s, ok := n.(*ast.SequenceNode)
	if !ok {
		f.fail(n, "%s: want a list, not %s", what, describe(n))
		return
	}
	for _, v := range s.Values {
		if f.err != nil {
			return
		}
		each(v)
	}
}

// text reads a text. A number or truth value is one too, as it is spelt: an environment variable may be 8080.
func (f *form) text(what string, to *string) func(ast.Node) {
	return func(n ast.Node) {
		s, ok := text(n)
		switch {
		case !ok:
			f.fail(n, "%s: want text, not %s", what, describe(n))
		case strings.ContainsRune(s, 0):
			f.fail(n, "%s: a text cannot hold a NUL byte", what)
		default:
			*to = s
		}
	}
}

// word reads a text that is not empty.
func (f *form) word(what string, to *string) func(ast.Node) {
	read := f.text(what, to)
	return func(n ast.Node) {
		if read(n); f.err == nil && *to == "" {
			f.fail(n, "%s: want a word, not %s", what, describe(n))
		}
	}
}

// checked reads a text that check accepts. The error is shown without its kind, which every error here has.
func (f *form) checked(what string, to *string, check func(string) error) func(ast.Node) {
	read := f.text(what, to)
	return func(n ast.Node) {
		if read(n); f.err == nil {
			if err := check(*to); err != nil {
				f.fail(n, "%s: %s", what, message(err))
			}
		}
	}
}

// words reads a list of texts.
func (f *form) words(what string, to *[]string) func(ast.Node) {
	return func(n ast.Node) {
		f.items(n, what, func(v ast.Node) {
			var s string
			if f.text(what, &s)(v); f.err == nil {
				*to = append(*to, s)
			}
		})
	}
}

// count reads a whole number from least to most.
func (f *form) count(what string, least, most int64, to func(int64)) func(ast.Node) {
	return func(n ast.Node) {
		v, ok := whole(n)
		if !ok || v < least || v > most {
			f.fail(n, "%s: want a whole number from %d to %d, not %s", what, least, most, describe(n))
			return
		}
		to(v)
	}
}

// uint reads a whole number from least that an uint32 holds.
func (f *form) uint(what string, least int64, to *uint32) func(ast.Node) {
	return f.count(what, least, math.MaxUint32, func(v int64) { *to = uint32(v) })
}

// duration reads a time above zero in whole milliseconds, which is how the cell keeps it.
func (f *form) duration(what string, to *time.Duration) func(ast.Node) {
	return func(n ast.Node) {
		s, ok := text(n)
		d, err := time.ParseDuration(s)
		if !ok || err != nil || d <= 0 || d%time.Millisecond != 0 {
			f.fail(n, "%s: want a time above zero such as 500ms, 10s or 1h30m, not %s", what, describe(n))
			return
		}
		*to = d
	}
}

// amount reads a quantity of a resource.
func (f *form) amount(what string, unit units, to *int64) func(ast.Node) {
	return func(n ast.Node) {
		s, ok := text(n)
		if !ok {
			f.fail(n, "%s: want an amount such as %s, not %s", what, unit.example, describe(n))
			return
		}
		v, err := unit.parse(s)
		if err != nil {
			f.fail(n, "%s: %s", what, err)
			return
		}
		*to = v
	}
}

// text returns a scalar as it is spelt.
func text(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	}
	return "", false
}

// whole returns a whole number written in decimal.
func whole(n ast.Node) (int64, bool) {
	if _, ok := n.(*ast.IntegerNode); !ok {
		return 0, false
	}
	v, err := strconv.ParseInt(n.GetToken().Value, 10, 64)
	return v, err == nil
}

// describe says what a node is, in an error.
func describe(n ast.Node) string {
	switch n := n.(type) {
	case nil, *ast.NullNode:
		return "nothing"
	case *ast.LiteralNode:
		if n.Value.Value == "" {
			return "an empty text (> and | mean themselves only in quotes)"
		}
	case *ast.MappingNode:
		return "fields"
	case *ast.SequenceNode:
		return "a list"
	}
	s, ok := text(n)
	if !ok {
		return strings.ToLower(n.Type().YAMLName())
	}
	if len(s) > 40 {
		s = strings.ToValidUTF8(s[:40], "") + "…"
	}
	switch n.(type) {
	case *ast.StringNode, *ast.LiteralNode:
		return strconv.Quote(s)
	}
	return s
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
