package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/etcdstore"
	"github.com/omegacell/omegacell/cellstate/mirror"
)

// cell is the cell of one test: its processes, and the test's own view of it.
type cell struct {
	t        testing.TB
	tag      string // its name, also in the environment of its tasks, and in the names of its cgroups and directories
	dir      string
	endpoint string // of etcd's clients
	peer     string
	client   *clientv3.Client
	mirror   *mirror.Mirror // the test's own
}

// newCell makes a cell without processes. At the end of the test nothing of it may be left on the host.
func newCell(t testing.TB) *cell {
	t.Helper()
	needRoot(t)
	c := &cell{t: t, tag: fmt.Sprintf("it-%d-%s", os.Getpid(), strings.ToLower(strings.TrimPrefix(t.Name(), "Test")))}
	c.dir = filepath.Join(t.TempDir(), c.tag)
	if err := os.Mkdir(c.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	c.endpoint, c.peer = "http://"+freeAddr(t), "http://"+freeAddr(t)
	nothingLeft(t, func() []string { return []string{c.tag} })
	return c
}

// startMember starts etcd and the test's own view of it.
func (c *cell) startMember() *process {
	c.t.Helper()
	p := start(c.t, command{name: "celld", path: binary(c.t, "celld"), args: []string{
		"--data-dir", filepath.Join(c.dir, "etcd"), "--listen-client-urls", c.endpoint, "--listen-peer-urls", c.peer,
		"--metrics-listen", "127.0.0.1:0",
	}}).ready()
	c.follow()
	return p
}

// follow connects the test's client and mirror.
func (c *cell) follow() {
	c.t.Helper()
	c.client = dial(c.t, c.endpoint)
	c.mirror = startMirror(c.t, openStore(c.t, c.client, c.tag))
}

// connection gives the flags by which a process finds the cell.
func (c *cell) connection() []string { return []string{"--endpoints", c.endpoint, "--cell", c.tag} }

// startAgent starts a machine's agent, which takes its tasks with it when it is stopped. Flags come after the harness's own.
func (c *cell) startAgent(machine string, flags ...string) *process {
	c.t.Helper()
	return start(c.t, c.agent(machine, flags...)).ready()
}

func (c *cell) agent(machine string, flags ...string) command {
	c.t.Helper()
	args := append(c.connection(), "--machine", machine, "--data-dir", filepath.Join(c.dir, machine), "--cgroup", c.tag+"-"+machine,
		"--capacity", "cpu=4,memory=1Gi,disk=1Gi", "--stop-tasks", "--metrics-listen", "127.0.0.1:0")
	return command{name: "cellagent " + machine, path: binary(c.t, "cellagent"), args: append(args, flags...)}
}

// startScheduler starts batchsched or servicesched.
func (c *cell) startScheduler(name string, flags ...string) *process {
	c.t.Helper()
	args := append(c.connection(), "--metrics-listen", "127.0.0.1:0")
	return start(c.t, command{name: name, path: binary(c.t, name), args: append(args, flags...)}).ready()
}

// ctl runs cellctl, which has to succeed, and returns what it prints.
func (c *cell) ctl(args ...string) string {
	c.t.Helper()
	stdout, stderr, code := c.tryCtl(args...)
	if code != 0 {
		c.t.Fatalf("cellctl %s: exit code %d: %s\n%s", strings.Join(args, " "), code, stderr, c.sketch())
	}
	return stdout
}

func (c *cell) tryCtl(args ...string) (stdout, stderr string, code int) {
	c.t.Helper()
	path := binary(c.t, "cellctl")
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, append(c.connection(), args...)...)
	var out, bad bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &bad
	err := cmd.Run()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		c.t.Fatalf("cellctl: %v", err)
	}
	return out.String(), bad.String(), cmd.ProcessState.ExitCode()
}

// ctlJSON runs cellctl -w json and decodes what it prints.
func (c *cell) ctlJSON(into any, args ...string) {
	c.t.Helper()
	out := c.ctl(append(args, "-w", "json")...)
	if err := json.Unmarshal([]byte(out), into); err != nil {
		c.t.Fatalf("cellctl %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// run submits jobs.
func (c *cell) run(yaml string, flags ...string) {
	c.t.Helper()
	c.ctl(append([]string{"run", write(c.t, c.dir, "job.yaml", yaml)}, flags...)...)
}

// checkInvariants has cellctl audit the whole history.
func (c *cell) checkInvariants() {
	c.t.Helper()
	if out, stderr, code := c.tryCtl("check", "invariants"); code != 0 {
		c.t.Errorf("cellctl check invariants: exit code %d: %s\n%s", code, stderr, out)
	}
}

// until waits for a snapshot of the cell that is ok.
func (c *cell) until(what string, ok func(cellstate.Snapshot) bool) cellstate.Snapshot {
	c.t.Helper()
	s := await(c.t.Context(), c.mirror, ok)
	if s == nil {
		c.t.Fatalf("never came: %s\n%s", what, c.sketch())
	}
	return s
}

// await returns the first snapshot that is ok, or nil where none comes.
func await(ctx context.Context, m cellstate.Mirror, ok func(cellstate.Snapshot) bool) cellstate.Snapshot {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	changed := make(chan struct{}, 1)
	stop := m.Observe(func(cellstate.Snapshot, []cellstate.Change) {
		select {
		case changed <- struct{}{}:
		default: // one that is not taken yet is enough
		}
	})
	defer stop()
	for {
		if s := m.Snapshot(); s.Rev() > 0 && ok(s) {
			return s
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// untilPhase waits until a job's status says so.
func (c *cell) untilPhase(scheduler, job string, want cellstate.JobPhase) cellstate.Snapshot {
	c.t.Helper()
	return c.until(fmt.Sprintf("job %s/%s %s", scheduler, job, want), func(s cellstate.Snapshot) bool {
		_, st, ok := s.Job(scheduler, job)
		return ok && st != nil && st.Phase == want
	})
}

// untilRunning waits until n tasks of a job run, and returns them.
func (c *cell) untilRunning(scheduler, job string, n int) []cellstate.ClaimView {
	c.t.Helper()
	var tasks []cellstate.ClaimView
	c.until(fmt.Sprintf("%d tasks of %s/%s run", n, scheduler, job), func(s cellstate.Snapshot) bool {
		tasks = runningTasks(s, scheduler, job)
		return len(tasks) == n
	})
	return tasks
}

func runningTasks(s cellstate.Snapshot, scheduler, job string) []cellstate.ClaimView {
	var out []cellstate.ClaimView
	for v := range s.Claims(scheduler, job) {
		if !v.Claim.Ended && v.Status != nil && v.Status.Phase == cellstate.PhaseRunning {
			out = append(out, v)
		}
	}
	return out
}

// sketch shows the jobs and claims of the cell, for failures.
func (c *cell) sketch() string {
	if c.mirror == nil {
		return ""
	}
	s := c.mirror.Snapshot()
	var b strings.Builder
	fmt.Fprintf(&b, "cell at revision %d\n", s.Rev())
	for i := range s.Len() {
		if m := s.At(i); m != nil {
			fmt.Fprintf(&b, "  machine %s session %t lost %s cordoned %t\n", m.Name(), m.Session != nil, m.LostAt, m.Ledger.Cordoned)
		}
	}
	for j, st := range s.Jobs("") {
		fmt.Fprintf(&b, "  job %s/%s version %d", j.Scheduler, j.Name, j.Version)
		if st != nil {
			fmt.Fprintf(&b, " %s done %v %s tasks %+v", st.Phase, st.Done, st.Message, st.Tasks)
			if st.Explanation != nil {
				fmt.Fprintf(&b, " waits: %+v", *st.Explanation)
			}
		}
		b.WriteByte('\n')
		for v := range s.Claims(j.Scheduler, j.Name) {
			fmt.Fprintf(&b, "    %s on %s version %d ended %t evict %+v", v.Claim.ID, v.Claim.Machine, v.Claim.JobVersion, v.Claim.Ended, v.Claim.Evict)
			if v.Status != nil {
				fmt.Fprintf(&b, " %s pid %d %s", v.Status.Phase, v.Status.PID, v.Status.Message)
			}
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// dial returns a plain etcd client.
func dial(t testing.TB, endpoint string) *clientv3.Client {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{
		Endpoints: []string{endpoint}, DialTimeout: patience, Logger: zap.NewNop(), MaxCallSendMsgSize: 32 << 20,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() }) // nothing is under way any more
	return client
}

func openStore(t testing.TB, client *clientv3.Client, cell string) cellstate.Store {
	t.Helper()
	s, err := etcdstore.New(etcdstore.Config{Client: client, Cell: cell})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// startMirror runs a mirror until the test ends.
func startMirror(t testing.TB, s cellstate.Store) *mirror.Mirror {
	t.Helper()
	m, stop := runMirror(t, s)
	t.Cleanup(stop)
	return m
}

// runMirror runs a mirror until it is stopped. It indexes the claims of these schedulers; of all, where none is named.
func runMirror(t testing.TB, s cellstate.Store, schedulers ...string) (m *mirror.Mirror, stop func()) {
	t.Helper()
	m, err := mirror.New(mirror.Config{Store: s, Now: now, Schedulers: schedulers})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background()) // not the test's, which is over before its clean-up
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = m.Run(ctx) // it returns ctx's error
	}()
	return m, func() {
		cancel()
		<-ended
	}
}

func now() cellstate.Instant { return cellstate.InstantOf(time.Now()) }
