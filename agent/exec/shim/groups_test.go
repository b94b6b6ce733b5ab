package shim

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// testGroups makes a group of each of the host's hierarchies that needs no settings of its own.
func testGroups(t *testing.T) Groups {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: CGROUPS NEED ROOT")
	}
	g := make(Groups)
	for _, name := range []string{"cpu", "memory", "pids", "freezer", unified} {
		root := filepath.Join(cgroupsAt, name)
		if _, err := os.Stat(filepath.Join(root, "cgroup.procs")); err != nil {
			continue
		}
		g[name] = filepath.Join(root, fmt.Sprintf("omegacell-shimtest-%d", os.Getpid()))
	}
	if len(g) == 0 {
		g[unified] = filepath.Join(cgroupsAt, fmt.Sprintf("omegacell-shimtest-%d", os.Getpid()))
	}
	for _, dir := range g {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := os.Remove(dir); err != nil {
				t.Errorf("left (I11): %v", err)
			}
		})
	}
	return g
}

// cat starts a process in the groups that waits until the returned function is called, from the given goroutine's thread.
func cat(t *testing.T, g Groups) (pid int, end func()) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if pid, err = g.Spawn([]string{"/bin/cat"}, &syscall.ProcAttr{
		Dir: "/", Files: []uintptr{r.Fd(), 1, 2}, Sys: &syscall.SysProcAttr{},
	}); err != nil {
		t.Fatal(err)
	}
	return pid, func() {
		w.Close()
		if _, err := wait(pid); err != nil {
			t.Error(err)
		}
	}
}

// TestSpawn holds that a process is born in all its groups, and that whoever made it is in none of them afterwards, thread by
// thread: what a thread makes later would be born there too, and stopping the task would end it.
func TestSpawn(t *testing.T) {
	g := testGroups(t)
	before := groupsOfThreads(t)
	pid, end := cat(t, g)
	for name, dir := range g {
		b, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains("\n"+string(b), "\n"+strconv.Itoa(pid)+"\n") {
			t.Errorf("the process is not in the group of %s", name)
		}
	}
	end()
	if err := g.Kill(t.Context()); err != nil { // waits for the thread's end
		t.Fatal(err)
	}
	if after := groupsOfThreads(t); after != before {
		t.Errorf("threads are in\n%swas\n%s", after, before)
	}
}

// TestSpawnOnTheFirstThread calls Spawn from many goroutines at once, some on the process's first thread, which cannot end.
func TestSpawnOnTheFirstThread(t *testing.T) {
	g := testGroups(t)
	ends := make(chan func())
	const n = 32
	for range n {
		go func() {
			_, end := cat(t, g)
			ends <- end
		}()
	}
	for range n {
		(<-ends)()
	}
	if err := g.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile("/proc/self/cgroup") // of the first thread
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), "omegacell-shimtest") {
		t.Errorf("the first thread stayed in the groups:\n%s", b)
	}
}

// TestKillSparesItself: a thread of the shim that is still on its way out of the group is no reason to die.
func TestKillSparesItself(t *testing.T) {
	g := testGroups(t)
	pid, end := cat(t, g)
	leave, entered := make(chan bool), make(chan bool)
	go onThread(func() {
		if err := g.enter(); err != nil {
			t.Error(err)
		}
		close(entered)
		<-leave
	})
	<-entered
	killed := make(chan error)
	go func() { killed <- g.Kill(t.Context()) }()
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Error(err)
	}
	end()
	close(leave)
	if err := <-killed; err != nil {
		t.Error(err)
	}
}

// groupsOfThreads lists the groups that threads of this process are in, each once.
func groupsOfThreads(t *testing.T) string {
	all, err := filepath.Glob("/proc/self/task/*/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	var out string
	for _, path := range all {
		if b, err := os.ReadFile(path); err == nil && !seen[string(b)] { // else it has ended
			seen[string(b)] = true
			out += string(b)
		}
	}
	return out
}
