package integration

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/omegacell/omegacell/cellstate"
)

// TestDev is what a user does first: celld dev, the three commands that it prints, Ctrl-C. Nothing may be left then.
func TestDev(t *testing.T) {
	needRoot(t)
	c := &cell{t: t, tag: "main", dir: t.TempDir()}
	tmp := filepath.Join(c.dir, "tmp")
	if err := os.Mkdir(tmp, 0o755); err != nil {
		t.Fatal(err)
	}
	marks := []string{tmp + "/"}
	nothingLeft(t, func() []string { return marks })
	dev := start(t, command{
		name: "celld dev", path: binary(t, "celld"), args: []string{"dev", "--listen-client-url", "http://127.0.0.1:0"},
		env: []string{"TMPDIR=" + tmp}, dir: c.dir,
	})
	cgroups := fmt.Sprintf("omegacell-dev-%d-", dev.cmd.Process.Pid)
	marks = append(marks, cgroups)
	c.endpoint = dev.await(`etcd at (http://\S+), 3 machines`)[1]
	printed := dev.await(`try, in another terminal:\n  (.+)\n  (.+)\n  (.+)\n`)[1:]
	c.follow()

	for _, line := range printed[:2] {
		shell(t, c.dir, line)
	}
	c.ctl("wait", "hello") // its third command shows what there is at that moment
	followed := shell(t, c.dir, printed[2])
	wantLines(t, "the third command printed", followed, helloLines)

	c.untilPhase("batch", "hello", cellstate.JobSucceeded)
	wantLines(t, "cellctl logs of the finished job", c.ctl("logs", "hello"), helloLines)

	c.ctl("wait", "web", "--for", "healthy", "--timeout", patience.String())
	web := c.untilRunning("service", "web", 3)
	if m := machinesOf(web); len(m) != 3 {
		t.Errorf("the service is on %v, want a machine for each task", m)
	}
	for _, v := range web {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", v.Status.PID))
		if err != nil || !bytes.Contains(line, []byte("serves on")) {
			t.Errorf("process %d, reported for %s: %v %q", v.Status.PID, v.Claim.ID, err, line)
		}
	}
	for task := range 3 {
		eventually(t, fmt.Sprintf("cellctl logs shows task %d of web", task), func() bool {
			return strings.Contains(c.ctl("logs", fmt.Sprintf("web/%d", task)), fmt.Sprintf("task %d serves on dev-", task))
		})
	}
	if n := len(cgroupsOf(t, []string{cgroups})); n == 0 {
		t.Error("the tasks have no cgroups: what is left of them below tests nothing")
	}
	c.checkInvariants()

	if code := dev.signal(syscall.SIGINT); code != 0 {
		t.Errorf("exit code %d after SIGINT", code)
	}
	left, err := os.ReadDir(tmp)
	if err != nil || len(left) > 0 {
		t.Errorf("left in the temporary directory: %v %v", left, err)
	}
	for _, what := range [][]string{marked(t, marks), cgroupsOf(t, marks), mountsOf(t, marks)} {
		if len(what) > 0 {
			t.Errorf("left right after the end: %q", what)
		}
	}
}

// helloLines are what the ten tasks of the batch example print, five lines each.
var helloLines = func() (all []string) {
	for task := range 10 {
		for i := range 5 {
			all = append(all, fmt.Sprintf(`(?m)^%d\| task %d on dev-[123]: %d$`, task, task, i+1))
		}
	}
	return all
}()

func wantLines(t testing.TB, what, text string, lines []string) {
	t.Helper()
	for _, re := range lines {
		if !regexp.MustCompile(re).MatchString(text) {
			t.Fatalf("%s, without %s:\n%s", what, re, text)
		}
	}
}

// shell runs a line as a user would type it, which has to succeed, and returns what it prints.
func shell(t testing.TB, dir, line string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", line)
	cmd.Dir, cmd.WaitDelay = dir, time.Second
	var out, bad bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &bad
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v: %s", line, err, &bad)
	}
	return out.String()
}
