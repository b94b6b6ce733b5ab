// Cellctl is the operator's and the submitter's tool of a cell: it submits jobs, looks at everything, explains, and acts on
// machines. Data goes to standard output, everything else to standard error.
//
// It talks to etcd and, for logs, to the agents. It decides nothing that a scheduler decides.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/omegacell/omegacell/cmd/internal/cliconf"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run executes one command line and returns the exit code; see exitHelp.
func run(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return cliconf.Run(ctx, newTool(stderr).root(), args, stdout, stderr)
}
