package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cmd/internal/cliconf"
	"github.com/omegacell/omegacell/cmd/internal/submit"
)

// Exit codes beyond cliconf's.
const (
	exitNotFound    = 3
	exitRefused     = 4
	exitUnavailable = 5
	exitWait        = 6
	exitViolated    = 7
)

const exitHelp = `Cellctl exits with

  0  done
  1  failure: something went wrong that is none of the following, such as a value that cannot be read
  2  usage: a bad flag, argument, environment variable, configuration or job file
  3  not found: no such job, machine, tenant, key, or revision that is still retained
  4  refused: no quota, an unknown scheduler, a job being stopped, a race lost too often
  5  unavailable: no etcd answered, or not in time
  6  wait: the time ran out, or the job failed or ended while waiting for it to run
  7  violated: check invariants found a breach

Standard error then holds one line that says what, beginning with "cellctl: ".`

// exitCodesTopic is a help topic: it does nothing but be read.
func exitCodesTopic() *cobra.Command {
	return &cobra.Command{Use: "exit-codes", Short: "What the exit codes mean", Long: exitHelp}
}

var errViolated = errors.New("invariants violated")

// waitError is why a wait ended without what was waited for.
type waitError struct{ text string }

func (e *waitError) Error() string { return e.text }

func waitf(format string, args ...any) error { return &waitError{fmt.Sprintf(format, args...)} }

// coded gives an error its exit code. One that has a code already, or none of these, stays as it is.
func coded(err error) error {
	var waited *waitError
	if errors.As(err, &waited) {
		return cliconf.WithCode(exitWait, err)
	}
	for _, k := range []struct {
		kind error
		code int
	}{
		{errViolated, exitViolated}, {submit.ErrNotFound, exitNotFound}, {submit.ErrRefused, exitRefused},
		{cellstate.ErrCompacted, exitNotFound}, {cellstate.ErrUnavailable, exitUnavailable}, {cellstate.ErrUnknown, exitUnavailable},
		{context.DeadlineExceeded, exitUnavailable}, {cellstate.ErrInvalid, cliconf.ExitUsage},
	} {
		if errors.Is(err, k.kind) {
			return cliconf.WithCode(k.code, err)
		}
	}
	return err
}
