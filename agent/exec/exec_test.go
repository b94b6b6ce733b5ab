package exec

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/omegacell/omegacell/agent"
	"github.com/omegacell/omegacell/agent/drivertest"
	"github.com/omegacell/omegacell/cellstate"
)

// TestMain makes the test binary its own shim, memory hog and agent.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "shim":
			syscall.Exit(RunShim(os.Args[2:])) // os.Exit sleeps for a second under the race detector
		case "hog":
			hog()
		case "agent":
			runAgent()
		}
	}
	os.Exit(m.Run())
}

// hog takes memory until it is killed.
func hog() {
	var all [][]byte
	for {
		all = append(all, bytes.Repeat([]byte{1}, 1<<20))
		if len(all) > 4096 {
			fmt.Println("nobody stopped me")
			os.Exit(3)
		}
	}
}

// orders are what runAgent is told.
type orders struct {
	DataDir, CgroupRoot string
	Shim                []string
	Unconfined          bool
	Tasks               []agent.Task
}

// runAgent is an agent that starts the tasks it is told of on standard input and waits to be killed.
func runAgent() {
	var ask orders
	must := func(err error) {
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	must(json.NewDecoder(os.Stdin).Decode(&ask))
	d, err := New(Config{DataDir: ask.DataDir, CgroupRoot: ask.CgroupRoot, Shim: ask.Shim, Unconfined: ask.Unconfined})
	must(err)
	for _, t := range ask.Tasks {
		_, err := d.Start(context.Background(), t)
		must(err)
	}
	fmt.Println("started")
	select {}
}

func needRoot(t testing.TB) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: THE EXEC DRIVER'S REAL TESTS NEED ROOT (namespaces and cgroups)")
	}
}

var testNumber atomic.Int32 // of this process, so that no two tests share cgroups

// testConfig is the configuration of a fresh host.
func testConfig(t testing.TB, unconfined bool) Config {
	if !unconfined {
		needRoot(t)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Config{
		DataDir: t.TempDir(), Shim: []string{exe, "shim"}, Unconfined: unconfined,
		CgroupRoot: fmt.Sprintf("omegacell-test-%d-%d", os.Getpid(), testNumber.Add(1)),
	}
}

// open returns a driver that purges all that the test makes, and checks that this leaves nothing.
func open(t testing.TB, cfg Config) *Driver {
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Purge(context.Background()); err != nil {
			t.Error(err)
		}
		for _, dir := range group(cfg.CgroupRoot).dirs() {
			t.Errorf("left after Purge (I11): %s", dir)
		}
		if left, _ := os.ReadDir(cfg.DataDir); len(left) > 0 {
			t.Errorf("left in the data directory after Purge (I11): %v", left)
		}
	})
	return d
}

// leftOf lists what is left on the host of a task, but for its logs.
func leftOf(d *Driver, id cellstate.ClaimID) []string {
	k := d.newTask(id)
	var out []string
	if _, err := os.Stat(string(k.dir)); !errors.Is(err, fs.ErrNotExist) {
		out = append(out, string(k.dir))
	}
	if k.group != "" {
		for _, dir := range k.group.dirs() {
			out = append(out, dir)
		}
	}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, string(k.dir)) {
			out = append(out, line)
		}
	}
	comms, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, c := range comms {
		if b, _ := os.ReadFile(c); bytes.Contains(b, []byte(k.dir)) {
			out = append(out, c+" "+string(b))
		}
	}
	return out
}

func TestConformance(t *testing.T) {
	for _, unconfined := range []bool{false, true} {
		t.Run(fmt.Sprintf("unconfined=%v", unconfined), func(t *testing.T) {
			drivertest.Run(t, func(t *testing.T) drivertest.Subject {
				cfg := testConfig(t, unconfined)
				d := open(t, cfg) // purges at the end
				return drivertest.Subject{
					Open: func() agent.Driver {
						d, err := New(cfg)
						if err != nil {
							t.Fatal(err)
						}
						return d
					},
					Kill: func(s agent.TaskState) {
						if err := syscall.Kill(int(s.PID), syscall.SIGKILL); err != nil {
							t.Fatal(err)
						}
					},
					Stubborn: func(a agent.Task) (agent.Task, func()) {
						a, wait := saying(t, a)
						a.Spec.Command = []string{"sh", "-c", `trap "" TERM; echo ready >"$SAY"; while :; do sleep 1000; done`}
						return a, func() { wait("ready") }
					},
					Left: func(id cellstate.ClaimID) []string { return leftOf(d, id) },
				}
			})
		})
	}
}

// saying gives a task a FIFO, "$SAY", and returns a function that waits until the task writes that line to it.
func saying(t testing.TB, a agent.Task) (agent.Task, func(line string)) {
	path := filepath.Join(t.TempDir(), "say")
	if err := unix.Mkfifo(path, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0) // both ends, so that it never ends
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	lines := bufio.NewScanner(f)
	a.Env["SAY"] = path
	return a, func(want string) {
		t.Helper()
		for lines.Scan() {
			if lines.Text() == want {
				return
			}
			t.Logf("the task says %q", lines.Text())
		}
		t.Fatalf("the task never said %q: %v", want, lines.Err())
	}
}

// sh returns a task that runs a shell script.
func sh(n uint32, script string) agent.Task {
	a := drivertest.Task(n)
	a.Spec.Command = []string{"sh", "-c", script}
	return a
}

func start(t testing.TB, d *Driver, a agent.Task) agent.TaskState {
	t.Helper()
	s, err := d.Start(context.Background(), a)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// output returns all that is kept of a task's output.
func output(t testing.TB, d *Driver, id cellstate.ClaimID, stream string) string {
	t.Helper()
	files, err := d.LogFiles(id, stream)
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	return string(all)
}

func readInt(t *testing.T, path ...string) int64 {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
