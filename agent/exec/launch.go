package exec

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omegacell/omegacell/cellstate"
)

// ready is what the task's first process writes on its error pipe right before it becomes the task. If the pipe ends
// there, it has.
const ready = 'R'

// start makes the task's first process, in its namespaces and cgroup, and returns when it has become the task. On an error
// nothing of it is left running.
func (s *shim) start() error {
	found, err := readRecord(s.dir.spec(), &s.spec)
	if err != nil || !found {
		return fmt.Errorf("no task specification in %s: %w", s.dir, err)
	}
	if _, err := readRecord(s.dir.state(), &s.state); err != nil {
		return err
	}
	goRead, goWrite, err := os.Pipe()
	if err != nil {
		return err
	}
	defer goWrite.Close()
	errRead, errWrite, err := os.Pipe()
	if err != nil {
		return err
	}
	defer errRead.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()

	attr := &syscall.SysProcAttr{Setsid: true}
	if s.spec.Unconfined {
		// What the task leaves behind becomes this process's child, to be found and killed.
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("become a subreaper: %w", err)
		}
	} else {
		attr.Cloneflags = syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWIPC
	}
	argv := append(append([]string(nil), s.spec.Shim...), shimInit, string(s.dir))
	s.init, err = os.StartProcess(argv[0], argv, &os.ProcAttr{
		Dir: "/", Env: os.Environ(), Files: []*os.File{goRead, null, errWrite}, Sys: attr,
	})
	goRead.Close()
	errWrite.Close()
	if err != nil {
		return fmt.Errorf("start the task's namespaces: %w", err)
	}
	if err := s.release(goWrite, errRead); err != nil {
		_ = s.init.Kill()
		_, _ = s.init.Wait()
		if !s.spec.Unconfined && group(s.spec.Cgroup).oomKills() > 0 {
			return fmt.Errorf("the memory limit is too small to start %s", s.spec.Argv[0])
		}
		return err
	}
	go func() {
		ps, err := s.init.Wait()
		if err != nil {
			panic(fmt.Sprintf("exec: wait for our own child %d: %v", s.state.Task.PID, err))
		}
		s.ended <- ps
	}()
	return nil
}

// release lets the process, which waits, go on inside the task's cgroup, once it is recorded.
func (s *shim) release(goWrite, errRead *os.File) (err error) {
	if s.state.Task, err = processOf(s.init.Pid); err != nil {
		return err
	}
	if !s.spec.Unconfined {
		if err := group(s.spec.Cgroup).add(s.init.Pid); err != nil {
			return err
		}
	}
	s.state.StartedAt = cellstate.InstantOf(time.Now())
	if err := writeRecord(s.dir.state(), s.state); err != nil {
		return err
	}
	if _, err := goWrite.Write([]byte{'g'}); err != nil {
		return fmt.Errorf("the task's first process ended too early: %w", err)
	}
	said, err := io.ReadAll(io.LimitReader(errRead, 64<<10))
	if err != nil {
		return err
	}
	before, after, isReady := bytes.Cut(said, []byte{ready, '\n'})
	if isReady && len(before)+len(after) == 0 {
		return nil
	}
	msg := strings.TrimSpace(string(before) + string(after))
	if msg == "" {
		msg = "the task's first process ended without a word"
	}
	return errors.New(msg)
}

// endsByDefault reports whether the process takes the default action for the signal, and that is to end.
func endsByDefault(pid int, sig syscall.Signal) bool {
	switch sig {
	case syscall.SIGCHLD, syscall.SIGCONT, syscall.SIGURG, syscall.SIGWINCH,
		syscall.SIGSTOP, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU:
		return false // signal(7)
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return false // it has ended
	}
	for line := range strings.Lines(string(b)) {
		name, mask, _ := strings.Cut(line, ":")
		switch name {
		case "SigBlk", "SigIgn", "SigCgt":
			// A blocked signal is waited for, with sigwait or a signalfd.
			m, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
			if err != nil || m&(1<<(uint(sig)-1)) != 0 {
				return false
			}
		}
	}
	return true
}

// killOrphans ends all that the task left behind and that became this process's children, until there is none.
func killOrphans() {
	for {
		children, _ := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", os.Getpid()))
		for _, f := range strings.Fields(string(children)) {
			if pid, err := strconv.Atoi(f); err == nil {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		if _, err := syscall.Wait4(-1, nil, 0, nil); err != nil && !errors.Is(err, syscall.EINTR) {
			return
		}
	}
}
