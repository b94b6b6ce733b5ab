package jobfile

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/omegacell/omegacell/cellstate"
)

// Limits of a job file. They are far above what jobs need, and keep a hostile file from costing more than it is worth.
const (
	MaxFileBytes    = 1 << 20   // of all documents together
	MaxCommandBytes = 128 << 10 // of command and env together, with one byte after each word, as for execve(2)
	MaxDepth        = 32        // of nesting
	MaxKeys         = 20000     // keys in one document; the parser's time grows with their square
)

// Error says what is wrong with a job file, and where. It wraps [cellstate.ErrInvalid].
type Error struct {
	File string
	Line int // from 1
	Msg  string
}

func (e *Error) Error() string { return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Msg) }
func (e *Error) Unwrap() error { return cellstate.ErrInvalid }

// Parse reads the jobs in b, one of each YAML document, in their order. name is the file's, for errors. Rev, Run, Version and
// SubmittedAt are left zero. The error is an [*Error], the first in the file.
func Parse(name string, b []byte) ([]*cellstate.Job, error) {
	b = bytes.TrimPrefix(b, []byte("\ufeff"))
	if len(b) > MaxFileBytes {
		return nil, &Error{name, 1, fmt.Sprintf("the file has %d bytes, more than the limit of %d", len(b), MaxFileBytes)}
	}
	docs, err := split(name, strings.ReplaceAll(string(b), "\r\n", "\n"))
	if err != nil {
		return nil, err
	}
	var jobs []*cellstate.Job
	first := make(map[cellstate.Key]int) // line
	for _, d := range docs {
		body, err := d.parse()
		if err != nil {
			return nil, err
		}
		if body == nil {
			continue
		}
		f := form{doc: d}
		j := f.job(body)
		if f.err != nil {
			return nil, f.err
		}
		line := d.lineOf(body)
		if at, again := first[j.Key()]; again {
			return nil, &Error{name, line, fmt.Sprintf("%s is in this file already, at line %d", j.Key(), at)}
		}
		first[j.Key()] = line
		jobs = append(jobs, j)
	}
	if len(jobs) == 0 {
		return nil, &Error{name, 1, "there is no job in it"}
	}
	return jobs, nil
}

// document is one YAML document of a file.
type document struct {
	file  string
	above int // lines of the file before it
	text  string
}

// split cuts a file at its "---" and "..." lines, which are markers wherever they stand (YAML 1.2.2, §9.1.2). The parser
// could do it, but loses the document after one that holds only a comment.
func split(file, text string) ([]document, error) {
	var docs []document
	var cur strings.Builder
	above, line := 0, 0
	for l := range strings.Lines(text) {
		line++
		if !utf8.ValidString(l) {
			return nil, &Error{file, line, "the line is not UTF-8"}
		}
		rest, marker := strings.CutPrefix(l, "---")
		if !marker {
			rest, marker = strings.CutPrefix(l, "...")
		}
		if !marker || strings.TrimLeft(rest, " \t\n") == rest && rest != "" {
			cur.WriteString(l)
			continue
		}
		if rest = strings.TrimSpace(rest); rest != "" && rest[0] != '#' {
			return nil, &Error{file, line, "a document begins on the line after its ---"}
		}
		docs = append(docs, document{file, above, cur.String()})
		cur.Reset()
		above = line
	}
	return append(docs, document{file, above, cur.String()}), nil
}

func (d document) errorf(line int, format string, args ...any) *Error {
	return &Error{d.file, d.above + max(line, 1), oneLine(fmt.Sprintf(format, args...))}
}

// lineOf is the line of the file that n begins on.
func (d document) lineOf(n ast.Node) int {
	t := n.GetToken()
	if m, ok := n.(*ast.MappingNode); ok && len(m.Values) > 0 { // its own token is the first colon
		t = m.Values[0].Key.GetToken()
	}
	if t == nil || t.Position == nil {
		return d.above + 1
	}
	return d.above + max(t.Position.Line, 1)
}

// parse returns the document's content, nil where it is empty.
func (d document) parse() (ast.Node, error) {
	tokens := lexer.Tokenize(d.text)
	if err := d.checkTokens(tokens); err != nil {
		return nil, err
	}
	f, err := parser.Parse(tokens, 0)
	if err != nil {
		var located interface {
			GetToken() *token.Token
			GetMessage() string
		}
		if errors.As(err, &located) && located.GetToken() != nil {
			msg := located.GetMessage()
			if key, ok := strings.CutPrefix(msg, "mapping key "); ok { // it goes on with a position inside the document
				key, _, _ = strings.Cut(key, " already defined")
				msg = "the key " + key + " is given twice"
			}
			return nil, d.errorf(located.GetToken().Position.Line, "%s", msg)
		}
		return nil, d.errorf(1, "%s", err)
	}
	for _, doc := range f.Docs {
		if doc.Body != nil && doc.Body.Type() != ast.CommentType {
			return doc.Body, nil
		}
	}
	return nil, nil
}

// checkTokens refuses what the form does not have, and what the parser would follow too deep, before it sees it.
func (d document) checkTokens(tokens token.Tokens) *Error {
	flow, dashes, dashLine, keys := 0, 0, 0, 0
	for _, t := range tokens {
		line := t.Position.Line
		refuse := ""
		switch t.Type {
		case token.AnchorType, token.AliasType:
			refuse = "anchors and aliases are not part of the form; a word that begins with & or * has to be in quotes"
		case token.MergeKeyType:
			refuse = "merge keys are not part of the form"
		case token.TagType:
			refuse = "tags are not part of the form; a word that begins with ! has to be in quotes"
		case token.DirectiveType:
			refuse = "directives are not part of the form; a word that begins with % has to be in quotes"
		case token.MappingKeyType:
			refuse = "a key is written without ?; a word that begins with ? has to be in quotes"
		case token.MappingStartType, token.SequenceStartType:
			flow++
		case token.MappingEndType, token.SequenceEndType:
			flow--
		case token.SequenceEntryType:
			if line != dashLine {
				dashes, dashLine = 0, line
			}
			dashes++
		case token.MappingValueType:
			keys++
		}
		if refuse != "" {
			return d.errorf(line, "%s", refuse)
		}
		if flow > MaxDepth || dashes > MaxDepth || t.Position.IndentNum > 1000 {
			return d.errorf(line, "nested deeper than the limit of %d", MaxDepth)
		}
		if keys > MaxKeys {
			return d.errorf(line, "more keys in one document than the limit of %d", MaxKeys)
		}
	}
	return nil
}

// oneLine folds a message of several lines, with a bound that keeps it readable.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(strings.ReplaceAll(s, "\t", `\t`)), " ")
	if len(s) > 400 {
		s = strings.ToValidUTF8(s[:400], "") + "…"
	}
	return s
}
