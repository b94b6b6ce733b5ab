package shim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Entry is what the driver asks its helper to run beside a task; Entered is what came of it.
type (
	Entry struct {
		Argv    []string
		Timeout time.Duration
		Task    Process
		Groups  Groups
	}
	Entered struct {
		ExitCode int
		Error    string
	}
)

// enterTask is the helper: it runs the command asked for on standard input and says on descriptor 3 what came of it.
func enterTask(dir Dir) int {
	say := os.NewFile(3, "answer")
	var e Entry
	err := json.NewDecoder(os.Stdin).Decode(&e)
	var res Entered
	if err == nil {
		res.ExitCode, err = e.run(dir)
	}
	if err != nil {
		res = Entered{ExitCode: -1, Error: err.Error()}
	}
	if err := json.NewEncoder(say).Encode(res); err != nil {
		return 1
	}
	return 0
}

func (e *Entry) run(dir Dir) (int, error) {
	cancelled, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	// Only this thread enters the namespaces; it must not do anything else afterwards.
	runtime.LockOSThread()
	var s Spec
	if found, err := ReadRecord(dir.Spec(), &s); err != nil || !found {
		return -1, fmt.Errorf("no task specification in %s: %w", dir, err)
	}
	attr := &syscall.SysProcAttr{Setsid: true}
	if !s.Unconfined {
		leave, err := e.Groups.bear(attr)
		if err != nil {
			return -1, err
		}
		defer leave()
		if err := e.enter(); err != nil {
			return -1, err
		}
	}
	path, err := find(&s, e.Argv[0])
	if err != nil {
		return -1, err
	}
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

// enter puts the thread into the task's namespaces and into its groups, as far as a thread can be.
func (e *Entry) enter() error {
	task, err := unix.PidfdOpen(e.Task.PID, 0)
	if err != nil {
		return fmt.Errorf("the task has ended: %w", err)
	}
	defer unix.Close(task)
	if now, err := ProcessOf(e.Task.PID); err != nil || now != e.Task {
		return errors.New("the task has ended")
	}
	if err := e.Groups.enter(); err != nil {
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
func find(s *Spec, name string) (string, error) {
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
