package exec

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	osexec "os/exec"
	"syscall"
	"time"

	"github.com/omegacell/omegacell/agent/exec/shim"
	"github.com/omegacell/omegacell/cellstate"
)

// maxExecOutput is how much is kept of the output of a command run with Exec.
const maxExecOutput = 64 << 10

// Exec runs a command in a running task's namespaces and cgroup, as its user, in its directory and environment, and returns
// its exit code and the first 64 KiB of its output. An error means that it did not run to its end: when the timeout is
// over, it is killed.
func (d *Driver) Exec(ctx context.Context, id cellstate.ClaimID, argv []string, timeout time.Duration) (int, []byte, error) {
	fail := func(err error) (int, []byte, error) {
		return -1, nil, fmt.Errorf("run %q in task %s: %w", argv, id, err)
	}
	d.mu.Lock()
	k := d.tasks[id]
	running := k != nil && !k.busy && k.state.Phase != cellstate.PhaseEnded
	d.mu.Unlock()
	if !running || len(argv) == 0 {
		return fail(fmt.Errorf("no command, or the task does not run: %w", cellstate.ErrInvalid))
	}
	var st shim.State
	if _, err := shim.ReadRecord(k.dir.State(), &st); err != nil {
		return fail(err)
	}
	ask, err := json.Marshal(shim.Entry{Argv: argv, Timeout: timeout, Task: st.Task, Groups: k.group.dirs()})
	if err != nil {
		return fail(err)
	}
	said, say, err := os.Pipe()
	if err != nil {
		return fail(err)
	}
	defer said.Close()
	defer say.Close()
	var out limited
	c := osexec.CommandContext(ctx, d.cfg.Shim[0], append(append([]string(nil), d.cfg.Shim[1:]...), shim.EnterCommand, string(k.dir))...)
	c.Args[0] = d.cfg.Shim[0]
	c.Stdin, c.Stdout, c.Stderr, c.ExtraFiles = bytes.NewReader(ask), &out, &out, []*os.File{say}
	c.Env, c.Dir, c.WaitDelay = shimEnv(), "/", time.Second
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	if err := errors.Join(shim.CloseOnExec(), c.Start()); err != nil {
		return fail(err)
	}
	say.Close()
	waited := c.Wait()
	var res shim.Entered
	if err := json.NewDecoder(said).Decode(&res); err != nil {
		return fail(errors.Join(ctx.Err(), fmt.Errorf("its helper ended: %w", errors.Join(waited, err))))
	}
	if res.Error != "" {
		return res.ExitCode, out.kept, fmt.Errorf("run %q in task %s: %s", argv, id, res.Error)
	}
	return res.ExitCode, out.kept, nil
}

// limited keeps the beginning of what is written to it.
type limited struct{ kept []byte }

func (l *limited) Write(p []byte) (int, error) {
	l.kept = append(l.kept, p[:min(len(p), maxExecOutput-len(l.kept))]...)
	return len(p), nil
}
