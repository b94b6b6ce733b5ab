package cliconf

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Exit codes of every binary. A binary may have further ones; see [WithCode].
const (
	ExitOK      = 0
	ExitFailure = 1
	ExitUsage   = 2 // a bad flag, argument, variable, configuration file, key or value
)

// codedError is an error that says with which code the process exits.
type codedError struct {
	code int
	err  error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

// Usagef makes an error of usage: [Run] returns ExitUsage for it.
func Usagef(format string, args ...any) error {
	return WithCode(ExitUsage, fmt.Errorf(format, args...))
}

// WithCode makes [Run] return code for err.
func WithCode(code int, err error) error { return &codedError{code, err} }

// Run executes root with args and returns the exit code. An error becomes one line on stderr, "name: message". Whatever
// fails before a command's own function runs is of usage, unless it has a code.
func Run(ctx context.Context, root *cobra.Command, args []string, stdout, stderr io.Writer) int {
	began := false
	prepare(root, &began)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return ExitOK
	}
	code, hint := ExitFailure, ""
	if !began {
		code = ExitUsage
	}
	var coded *codedError
	if errors.As(err, &coded) {
		code = coded.code
	}
	if code == ExitUsage {
		hint = " (see " + cmd.CommandPath() + " --help)"
	}
	// Where stderr cannot be written to, the code is all that is left to tell it.
	_, _ = fmt.Fprintf(stderr, "%s: %s%s\n", root.Name(), oneLine(err), hint)
	return code
}

// prepare silences cobra's own reports and notes when a command's function begins.
func prepare(cmd *cobra.Command, began *bool) {
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		if errors.Is(err, pflag.ErrHelp) {
			return err
		}
		return WithCode(ExitUsage, err)
	})
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			*began = true
			return run(cmd, args)
		}
	}
	for _, c := range cmd.Commands() {
		prepare(c, began)
	}
}

// oneLine folds a message that a library spread over several lines.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
