package shim

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Groups are the directories of one cgroup by hierarchy: those of version 1 by their controllers' names, that of version 2 as
// "unified". None means that there is no cgroup.
type Groups map[string]string

// unified is the name of the version 2 hierarchy.
const unified = "unified"

// Sub returns the groups of that name in these.
func (g Groups) Sub(name string) Groups {
	sub := make(Groups, len(g))
	for h, dir := range g {
		sub[h] = filepath.Join(dir, name)
	}
	return sub
}

// Spawn starts a process that is in the groups from its first instruction.
//
// Moving a process that is there already would take milliseconds: the kernel holds up every fork and exit of the host
// meanwhile and waits for all processors to notice. A new process can be born in a group of version 2 (CLONE_INTO_CGROUP,
// clone(2)); in those of version 1 it is born where the thread is that makes it, and a thread may move itself at no such cost.
//
// It returns the process's PID, which the caller has to wait for, and begins with a process less than os.StartProcess does,
// which first finds out what the kernel can do.
func (g Groups) Spawn(argv []string, attr *syscall.ProcAttr) (pid int, err error) {
	start := func() { pid, err = syscall.ForkExec(argv[0], argv, attr) }
	if len(g) == 0 {
		start()
		return pid, err
	}
	done, err := g.bear(attr.Sys)
	if err != nil {
		return 0, err
	}
	defer done()
	onThread(func() {
		if err = g.enter(); err == nil {
			start()
		}
	})
	return pid, err
}

// bear makes processes started with attr be born in the group of version 2, if there is one, until done is called.
func (g Groups) bear(attr *syscall.SysProcAttr) (done func(), err error) {
	dir, ok := g[unified]
	if !ok {
		return func() {}, nil
	}
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("join cgroup: open %s: %w", dir, err)
	}
	attr.UseCgroupFD, attr.CgroupFD = true, fd
	return func() { unix.Close(fd) }, nil
}

// enter moves the calling thread into the groups of version 1.
func (g Groups) enter() error {
	for name, dir := range g {
		if name == unified {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, "tasks"), []byte("0"), 0); err != nil {
			return fmt.Errorf("join cgroup: %w", err)
		}
	}
	return nil
}

// onThread calls f on a thread that ends afterwards, with whatever f did to it. The runtime makes no threads from that one.
func onThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if unix.Gettid() == os.Getpid() {
			// The process's first thread cannot end. While it is held here, f gets another one.
			onThread(f)
			runtime.UnlockOSThread()
			return
		}
		f() // not unlocked: the thread ends with the goroutine
	}()
	<-done
}

// Kill ends every process in the groups but this one, and returns when none is left, or when ctx ends: a process that waits
// in the kernel for a disk that does not answer cannot be killed. This process is in the groups only while a thread of it
// is, which is about to end: see Spawn.
func (g Groups) Kill(ctx context.Context) error {
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		pids, err := g.pids()
		if err != nil || len(pids) == 0 {
			return err
		}
		if dir, ok := g[unified]; ok { // what it does not reach is killed one by one
			_ = os.WriteFile(filepath.Join(dir, "cgroup.kill"), []byte("1"), 0)
		}
		for _, pid := range pids {
			if pid != os.Getpid() {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		if dir, ok := g["freezer"]; ok { // a frozen process of version 1 dies only when it is thawed
			_ = os.WriteFile(filepath.Join(dir, "freezer.state"), []byte("THAWED"), 0)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("kill cgroup: processes %v are left: %w", pids, ctx.Err())
		case <-time.After(wait):
		}
	}
}

// pids lists the processes of the groups and the groups in them, in any hierarchy.
func (g Groups) pids() ([]int, error) {
	var out []int
	for _, dir := range g {
		err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) || err == nil && d.Name() != "cgroup.procs" {
				return nil
			}
			if err != nil {
				return err
			}
			b, err := os.ReadFile(p)
			if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENODEV) {
				return err
			}
			for _, f := range strings.Fields(string(b)) {
				if pid, err := strconv.Atoi(f); err == nil && pid > 0 {
					out = append(out, pid)
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// OOMKills counts the processes that the kernel ended at the groups' memory limit.
func (g Groups) OOMKills() uint64 {
	file := filepath.Join(g[unified], "memory.events")
	if dir, ok := g["memory"]; ok {
		file = filepath.Join(dir, "memory.oom_control")
	}
	f, err := os.Open(file)
	if err != nil {
		return 0
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if v, ok := strings.CutPrefix(s.Text(), "oom_kill "); ok {
			n, _ := strconv.ParseUint(v, 10, 64)
			return n
		}
	}
	return 0
}
