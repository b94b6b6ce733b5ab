package shim

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// becomeTask runs inside the task's namespaces, as PID 1 there: it waits until it is recorded, makes the task's view of
// the host, opens its output, and replaces itself by the task. It returns only an error.
func becomeTask(dir Dir) error {
	runtime.LockOSThread()
	if n, _ := os.Stdin.Read(make([]byte, 1)); n != 1 {
		return errors.New("the shim has ended")
	}
	var s Spec
	if found, err := ReadRecord(dir.Spec(), &s); err != nil || !found {
		return fmt.Errorf("no task specification in %s: %w", dir, err)
	}
	// Errors go to the shim through what is now descriptor 2; the pipe ends when the task takes over.
	shim, err := unix.FcntlInt(2, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return err
	}
	os.Stderr = os.NewFile(uintptr(shim), "shim")
	throttle := func() error { return nil }
	if !s.Unconfined {
		if throttle, err = s.Throttle.open(); err != nil {
			return err
		}
		if err := makeRoot(dir.Root(), s.Groups); err != nil {
			return err
		}
	}
	// Inside the new root: a file opened outside it could not be found again by a checkpoint.
	if err := openOutput(&s); err != nil {
		return err
	}
	if err := throttle(); err != nil {
		return err
	}
	unix.Umask(0o022)
	if err := becomeUser(s.User); err != nil {
		return err
	}
	if err := os.Chdir(s.Dir); err != nil {
		return fmt.Errorf("working directory: %w", err)
	}
	return execTask(&s, shim)
}

// open opens the file, which is out of sight in the task's root, and returns what writes it.
func (s Setting) open() (write func() error, err error) {
	if s.File == "" {
		return func() error { return nil }, nil
	}
	f, err := os.OpenFile(s.File, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	return func() error {
		_, err := f.WriteString(s.Value)
		return errors.Join(err, f.Close())
	}, nil
}

// openOutput makes descriptors 0, 1 and 2 the task's. They are made for its user, who may not be able to open them.
func openOutput(s *Spec) error {
	open := func(fd int, path string, flags int) error {
		f, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o640)
		if err != nil {
			return fmt.Errorf("open %s: %w", path, err)
		}
		if s.User != nil && flags&unix.O_CREAT != 0 {
			if err := unix.Fchown(f, s.User.UID, s.User.GID); err != nil {
				return fmt.Errorf("chown %s: %w", path, err)
			}
		}
		return unix.Dup3(f, fd, 0) // f is above 2, and closes when the task takes over
	}
	const output = unix.O_WRONLY | unix.O_APPEND | unix.O_CREAT
	return errors.Join(
		open(0, os.DevNull, unix.O_RDONLY),
		open(1, filepath.Join(s.LogDir, "stdout"), output),
		open(2, filepath.Join(s.LogDir, "stderr"), output),
	)
}

func becomeUser(a *Account) error {
	if a == nil {
		return nil
	}
	if err := errors.Join(syscall.Setgroups(a.Groups), syscall.Setgid(a.GID), syscall.Setuid(a.UID)); err != nil {
		return fmt.Errorf("become user %d, group %d: %w", a.UID, a.GID, err)
	}
	return nil
}

// execTask replaces the process by the task's command, which it looks up as a shell would.
func execTask(s *Spec, shim int) error {
	name := s.Argv[0]
	candidates := []string{name}
	if !strings.Contains(name, "/") {
		candidates = nil
		for _, d := range filepath.SplitList(lookup(s.Env, "PATH")) {
			if d != "" {
				candidates = append(candidates, filepath.Join(d, name))
			}
		}
	}
	var denied error
	for _, path := range candidates {
		st, err := os.Stat(path)
		if err != nil || st.IsDir() {
			continue
		}
		if err := unix.Access(path, unix.X_OK); err != nil {
			denied = fmt.Errorf("command %s is not executable: %w", path, err)
			continue
		}
		if _, err := unix.Write(shim, []byte{ready, '\n'}); err != nil {
			return err
		}
		err = syscall.Exec(path, s.Argv, s.Env)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("command %s: the interpreter or loader that it names is not there: %w", path, err)
		}
		return fmt.Errorf("command %s: %w", path, err)
	}
	if denied != nil {
		return denied
	}
	if len(candidates) == 1 && candidates[0] == name {
		return fmt.Errorf("command %s not found", name)
	}
	return fmt.Errorf("command %s not found in PATH=%s", name, lookup(s.Env, "PATH"))
}

// lookup returns a variable's value in an environment, "" where it has none.
func lookup(env []string, name string) string {
	for _, kv := range env {
		if k, v, _ := strings.Cut(kv, "="); k == name {
			return v
		}
	}
	return ""
}
