package shim

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
	found, err := ReadRecord(s.dir.Spec(), &s.spec)
	if err != nil || !found {
		return fmt.Errorf("no task specification in %s: %w", s.dir, err)
	}
	if _, err := ReadRecord(s.dir.State(), &s.state); err != nil {
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

	attr := &syscall.SysProcAttr{Setsid: true, PidFD: &s.task}
	if s.spec.Unconfined {
		// What the task leaves behind becomes this process's child, to be found and killed.
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("become a subreaper: %w", err)
		}
	} else {
		attr.Cloneflags = syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWIPC
	}
	argv := append(append([]string(nil), s.spec.Shim...), initCommand, string(s.dir))
	pid, err := s.spec.Groups.Spawn(argv, &syscall.ProcAttr{
		Dir: "/", Env: os.Environ(), Files: []uintptr{goRead.Fd(), null.Fd(), errWrite.Fd()}, Sys: attr,
	})
	goRead.Close()
	errWrite.Close()
	if errors.Is(err, syscall.E2BIG) { // not the arguments, which are short: there is no room for them
		return s.tooSmall()
	}
	if err != nil {
		return fmt.Errorf("start the task's namespaces: %w", err)
	}
	s.catch() // while that one comes up
	if err := s.release(pid, goWrite, errRead); err != nil {
		_ = syscall.Kill(pid, syscall.SIGKILL)
		_, _ = wait(pid)
		if !s.spec.Unconfined && s.spec.Groups.OOMKills() > 0 {
			return s.tooSmall()
		}
		return err
	}
	go func() {
		ws, err := wait(pid)
		if err != nil {
			panic(fmt.Sprintf("shim: wait for our own child %d: %v", pid, err))
		}
		s.ended <- ws
	}()
	return nil
}

// wait waits for a child's end. Until it is over, the PID is that child's.
func wait(pid int) (ws syscall.WaitStatus, err error) {
	for {
		if _, err = syscall.Wait4(pid, &ws, 0, nil); !errors.Is(err, syscall.EINTR) {
			return ws, err
		}
	}
}

func (s *shim) tooSmall() error {
	return fmt.Errorf("the memory limit is too small to start %s", s.spec.Argv[0])
}

// release lets the process, which waits, go on, once it is recorded.
func (s *shim) release(pid int, goWrite, errRead *os.File) (err error) {
	if s.state.Task, err = ProcessOf(pid); err != nil {
		return err
	}
	s.state.StartedAt = cellstate.InstantOf(time.Now())
	if err := WriteRecord(s.dir.State(), s.state); err != nil {
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
