package integration

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// nothingLeft holds, after everything else of the test has ended, that no process, cgroup or mount with one of the marks is
// left on the host (I11). What is left it clears away, so that one failure is one.
//
// A process has a mark where its command line or environment does: shims are told their directory, tasks their cell.
func nothingLeft(t testing.TB, marks func() []string) {
	t.Helper()
	t.Cleanup(func() {
		m := marks()
		var left []string
		if comesWithin(5*time.Second, func() bool { // the kernel takes its time with zombies
			removeEmptyRoots(t, m)
			left = slices.Concat(marked(t, m), cgroupsOf(t, m), mountsOf(t, m))
			return len(left) == 0
		}) {
			return
		}
		t.Errorf("left on the host:\n  %s", strings.Join(left, "\n  "))
		clearAway(t, m)
	})
}

func hasMark(s string, marks []string) bool {
	return slices.ContainsFunc(marks, func(m string) bool { return strings.Contains(s, m) })
}

// marked lists the processes that have a mark, as "process PID command".
func marked(t testing.TB, marks []string) []string {
	t.Helper()
	var out []string
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dirs {
		if d == fmt.Sprintf("/proc/%d", os.Getpid()) {
			continue
		}
		line, _ := os.ReadFile(d + "/cmdline") // of a process that has just ended there is nothing to read
		env, _ := os.ReadFile(d + "/environ")
		if hasMark(string(line)+string(env), marks) {
			out = append(out, "process "+filepath.Base(d)+" "+string(bytes.ReplaceAll(line, []byte{0}, []byte{' '})))
		}
	}
	return out
}

// cgroupsOf lists the cgroups whose paths have a mark, inner ones first.
func cgroupsOf(t testing.TB, marks []string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir("/sys/fs/cgroup", func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && hasMark(p, marks) {
			out = append(out, "cgroup "+p)
		}
		return nil // others' groups come and go
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(out)
	return out
}

// removeEmptyRoots removes the two cgroups that an agent keeps for its successor, its own and that of its shims, unless there is
// anything in them.
func removeEmptyRoots(t testing.TB, marks []string) {
	t.Helper()
	for _, c := range cgroupsOf(t, marks) {
		p := strings.TrimPrefix(c, "cgroup ")
		root := strings.TrimSuffix(p, "/shims")
		if hasMark(filepath.Base(root), marks) {
			_ = os.Remove(p) // the kernel refuses where there is
		}
	}
}

func mountsOf(t testing.TB, marks []string) []string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 4 && hasMark(f[4], marks) {
			out = append(out, "mount "+f[4])
		}
	}
	slices.Reverse(out)
	return out
}

func clearAway(t testing.TB, marks []string) {
	t.Helper()
	for _, p := range marked(t, marks) {
		if pid, err := strconv.Atoi(strings.Fields(p)[1]); err == nil {
			_ = syscall.Kill(pid, syscall.SIGKILL) // best effort: reported already
		}
	}
	for _, m := range mountsOf(t, marks) {
		_ = syscall.Unmount(strings.TrimPrefix(m, "mount "), syscall.MNT_DETACH)
	}
	comesWithin(5*time.Second, func() bool {
		left := cgroupsOf(t, marks)
		for _, c := range left {
			_ = os.Remove(strings.TrimPrefix(c, "cgroup "))
		}
		return len(left) == 0
	})
}
