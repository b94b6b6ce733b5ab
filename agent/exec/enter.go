package exec

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	osexec "os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omegacell/omegacell/cellstate"
)

// maxExecOutput is how much is kept of the output of a command run with Exec.
const maxExecOutput = 64 << 10

// entry is what the driver asks its helper to run beside a task; entered is what came of it.
type (
	entry struct {
		Argv    []string
		Timeout time.Duration
		Task    process
	}
	entered struct {
		ExitCode int
		Error    string
	}
)

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
	var st state
	if _, err := readRecord(k.dir.state(), &st); err != nil {
		return fail(err)
	}
	ask, err := json.Marshal(entry{Argv: argv, Timeout: timeout, Task: st.Task})
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
	c := osexec.CommandContext(ctx, d.cfg.Shim[0], append(append([]string(nil), d.cfg.Shim[1:]...), shimEnter, string(k.dir))...)
	c.Args[0] = d.cfg.Shim[0]
	c.Stdin, c.Stdout, c.Stderr, c.ExtraFiles = bytes.NewReader(ask), &out, &out, []*os.File{say}
	c.Env, c.Dir, c.WaitDelay = shimEnv(), "/", time.Second
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	if err := errors.Join(closeOnExec(), c.Start()); err != nil {
		return fail(err)
	}
	say.Close()
	waited := c.Wait()
	var res entered
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

// enterTask is the helper: it runs the command asked for on standard input and says on descriptor 3 what came of it.
func enterTask(dir taskDir) int {
	say := os.NewFile(3, "answer")
	var e entry
	err := json.NewDecoder(os.Stdin).Decode(&e)
	var res entered
	if err == nil {
		res.ExitCode, err = e.run(dir)
	}
	if err != nil {
		res = entered{ExitCode: -1, Error: err.Error()}
	}
	if err := json.NewEncoder(say).Encode(res); err != nil {
		return 1
	}
	return 0
}

func (e *entry) run(dir taskDir) (int, error) {
	cancelled, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	// Only this thread enters the namespaces; it must not do anything else afterwards.
	runtime.LockOSThread()
	var s spec
	if found, err := readRecord(dir.spec(), &s); err != nil || !found {
		return -1, fmt.Errorf("no task specification in %s: %w", dir, err)
	}
	if !s.Unconfined {
		if err := e.enter(&s); err != nil {
			return -1, err
		}
	}
	path, err := find(&s, e.Argv[0])
	if err != nil {
		return -1, err
	}
	attr := &syscall.SysProcAttr{Setsid: true}
	if s.User != nil {
		attr.Credential = &syscall.Credential{Uid: uint32(s.User.UID), Gid: uint32(s.User.GID)}
		for _, g := range s.User.Groups {
			attr.Credential.Groups = append(attr.Credential.Groups, uint32(g))
		}
	}
	p, err := os.StartProcess(path, e.Argv, &os.ProcAttr{
		Dir: s.Dir, Env: s.Env, Files: []*os.File{nil, os.Stdout, os.Stderr}, Sys: attr,
	})
	if err != nil {
		return -1, err
	}
	ctx, cancel := context.WithTimeoutCause(cancelled, e.Timeout, fmt.Errorf("killed after %s", e.Timeout))
	defer cancel()
	running := context.AfterFunc(ctx, func() { _ = syscall.Kill(-p.Pid, syscall.SIGKILL) })
	ps, err := p.Wait()
	if !running() {
		return -1, context.Cause(ctx)
	}
	_ = syscall.Kill(-p.Pid, syscall.SIGKILL) // what it left behind
	if err != nil {
		return -1, err
	}
	if ws := ps.Sys().(syscall.WaitStatus); ws.Signaled() {
		return 128 + int(ws.Signal()), nil
	}
	return ps.ExitCode(), nil
}

// enter puts the process into the task's cgroup and the thread into its namespaces.
func (e *entry) enter(s *spec) error {
	task, err := unix.PidfdOpen(e.Task.PID, 0)
	if err != nil {
		return fmt.Errorf("the task has ended: %w", err)
	}
	defer unix.Close(task)
	if now, err := processOf(e.Task.PID); err != nil || now != e.Task {
		return errors.New("the task has ended")
	}
	if err := group(s.Cgroup).add(os.Getpid()); err != nil {
		return err
	}
	// A thread that shares its root and directory with others may not change them: setns(2).
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Setns(task, unix.CLONE_NEWPID|unix.CLONE_NEWNS|unix.CLONE_NEWIPC); err != nil {
		return fmt.Errorf("enter the task's namespaces: %w", err)
	}
	return nil
}

// find looks a command up in the task's PATH.
func find(s *spec, name string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, d := range filepath.SplitList(lookup(s.Env, "PATH")) {
		path := filepath.Join(d, name)
		if st, err := os.Stat(path); err == nil && !st.IsDir() && unix.Access(path, unix.X_OK) == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("command %s not found in PATH=%s", name, lookup(s.Env, "PATH"))
}
