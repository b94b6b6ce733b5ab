package exec

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/omegacell/omegacell/agent"
	"github.com/omegacell/omegacell/agent/drivertest"
	"github.com/omegacell/omegacell/agent/exec/shim"
	"github.com/omegacell/omegacell/cellstate"
)

// TestAgentIsKilled has an agent start tasks and be killed with SIGKILL, along with its session's terminal signals. One task
// ends while there is no agent.
func TestAgentIsKilled(t *testing.T) {
	for _, unconfined := range []bool{false, true} {
		cfg := testConfig(t, unconfined)
		goOn := filepath.Join(t.TempDir(), "go")
		if err := unix.Mkfifo(goOn, 0o600); err != nil {
			t.Fatal(err)
		}
		ends := sh(1, `read x <"$GO"; exit 42`)
		ends.Env["GO"] = goOn
		ends.Restart = 3
		ended, said := saying(t, sh(2, `trap 'echo stopped >"$SAY"; exit 6' TERM; echo ready >"$SAY"; while :; do sleep 0.01; done`))
		killAgent(t, cfg, drivertest.Task(0), ends, ended)
		said("ready")

		// Nobody is there to see this end. The shim's is waited for, so that it cannot be an event of the next driver.
		probe, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		var st shim.State
		if _, err := shim.ReadRecord(probe.newTask(ends.ID).dir.State(), &st); err != nil {
			t.Fatal(err)
		}
		keeper, err := probe.open(st.Shim)
		if err != nil || keeper == nil {
			t.Fatalf("the shim did not outlive its agent: %v", err)
		}
		if err := os.WriteFile(goOn, []byte("go\n"), 0); err != nil {
			t.Fatal(err)
		}
		if err := waitEnd(keeper); err != nil {
			t.Fatal(err)
		}
		keeper.Close()

		d := open(t, cfg)
		states, err := d.Recover(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		byTask := make(map[uint32]agent.TaskState)
		for _, s := range states {
			byTask[s.ID.Task] = s
		}
		if s := byTask[0]; s.Phase != cellstate.PhaseRunning || s.PID == 0 || s.StartedAt == 0 {
			t.Errorf("recovered %+v, want it running", s)
		}
		if s := byTask[1]; s.Phase != cellstate.PhaseEnded || s.Outcome != cellstate.OutcomeExited || s.ExitCode != 42 || s.Restart != 3 {
			t.Errorf("recovered %+v, want exit code 42 of restart 3", s)
		}
		if err := d.Stop(context.Background(), ended.ID); err != nil {
			t.Fatal(err)
		}
		said("stopped")
		if s := <-d.Events(); s.ID != ended.ID || s.Outcome != cellstate.OutcomeStopped || s.ExitCode != 6 {
			t.Errorf("event %+v, want the adopted task stopped with exit code 6", s)
		}
		if len(states) != 3 {
			t.Errorf("recovered %+v, want 3 tasks", states)
		}
	}
}

// killAgent runs an agent process until it has started the tasks, and then kills it.
func killAgent(t *testing.T, cfg Config, tasks ...agent.Task) {
	ask, err := json.Marshal(orders{cfg.DataDir, cfg.CgroupRoot, cfg.Shim, cfg.Unconfined, tasks})
	if err != nil {
		t.Fatal(err)
	}
	c := osexec.Command(cfg.Shim[0], "agent")
	c.Stdin, c.Stderr = bytes.NewReader(ask), os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "started" {
		t.Fatalf("the agent says %q", lines.Text())
	}
	// The whole process group: what a terminal's end would reach.
	if err := syscall.Kill(-c.Process.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err == nil {
		t.Fatal("the agent was not killed")
	}
}

// TestStopOutlivesTheAgent closes the driver right after Stop: the shim alone has to kill the task when its grace is over.
func TestStopOutlivesTheAgent(t *testing.T) {
	cfg := testConfig(t, false)
	d := open(t, cfg)
	a, said := saying(t, sh(0, `trap "" TERM; echo ready >"$SAY"; while :; do sleep 1000; done`))
	a.Spec.StopGrace = 10e6
	start(t, d, a)
	said("ready")
	keeper, err := openPidfdOf(t, d, a.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer keeper.Close()
	if err := d.Stop(context.Background(), a.ID); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := waitEnd(keeper); err != nil {
		t.Fatal(err)
	}
	var r shim.Result
	if found, err := shim.ReadRecord(d.newTask(a.ID).dir.Result(), &r); !found || err != nil || r.Outcome != cellstate.OutcomeStopped || r.Signal != 9 {
		t.Errorf("result %+v, %v, want killed", r, err)
	}
}

func openPidfdOf(t *testing.T, d *Driver, id cellstate.ClaimID) (*os.File, error) {
	var st shim.State
	if _, err := shim.ReadRecord(d.newTask(id).dir.State(), &st); err != nil {
		t.Fatal(err)
	}
	return d.open(st.Shim)
}

// TestShimIsKilled: the task must not run on unseen, or a second one could run beside it (I3).
func TestShimIsKilled(t *testing.T) {
	for _, unconfined := range []bool{false, true} {
		for _, seen := range []bool{true, false} {
			cfg := testConfig(t, unconfined)
			d := open(t, cfg)
			a := drivertest.Task(0)
			s := start(t, d, a)
			task, err := openPidfd(int(s.PID))
			if err != nil {
				t.Fatal(err)
			}
			keeper, err := openPidfdOf(t, d, a.ID)
			if err != nil {
				t.Fatal(err)
			}
			if !seen {
				if err := d.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if err := withFD(keeper, func(fd int) error { return unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) }); err != nil {
				t.Fatal(err)
			}
			if err := waitEnd(keeper); err != nil {
				t.Fatal(err)
			}
			var got agent.TaskState
			if seen {
				got = <-d.Events()
			} else {
				again := open(t, cfg)
				states, err := again.Recover(context.Background())
				if err != nil || len(states) != 1 {
					t.Fatalf("Recover = %+v, %v", states, err)
				}
				got = states[0]
				// A lost task stays lost, however often it is recovered (I5).
				third := open(t, cfg)
				if states, err = third.Recover(context.Background()); err != nil || len(states) != 1 || states[0] != got {
					t.Errorf("second Recover = %+v, %v, want %+v", states, err, got)
				}
			}
			if got.Phase != cellstate.PhaseEnded || got.Outcome != cellstate.OutcomeLost || got.ID != a.ID || got.StartedAt != s.StartedAt {
				t.Errorf("unconfined=%v seen=%v: %+v, want lost", unconfined, seen, got)
			}
			gone := false
			_ = withFD(task, func(fd int) error { gone = hasEnded(fd); return nil })
			if !gone {
				t.Errorf("unconfined=%v seen=%v: reported lost while it ran", unconfined, seen)
			}
			task.Close()
			keeper.Close()
		}
	}
}

// TestRecoverBelievesNoPID changes the records so that each names a process that lives, but is another one.
func TestRecoverBelievesNoPID(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*shim.State)
	}{
		{"another start time", func(s *shim.State) { s.Shim.Start++ }},
		{"another boot", func(s *shim.State) { s.Boot = "another" }},
	} {
		cfg := testConfig(t, false)
		d := open(t, cfg)
		a := drivertest.Task(0)
		start(t, d, a)
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		keeper, err := openPidfdOf(t, d, a.ID)
		if err != nil {
			t.Fatal(err)
		}
		defer keeper.Close()
		path := d.newTask(a.ID).dir.State()
		var st shim.State
		if _, err := shim.ReadRecord(path, &st); err != nil {
			t.Fatal(err)
		}
		tt.change(&st)
		if err := shim.WriteRecord(path, st); err != nil {
			t.Fatal(err)
		}
		again := open(t, cfg)
		states, err := again.Recover(context.Background())
		if err != nil || len(states) != 1 || states[0].Outcome != cellstate.OutcomeLost {
			t.Errorf("%s: Recover = %+v, %v, want lost", tt.name, states, err)
			continue
		}
		// The shim lives after all, sees the task's end and writes to the directory that is about to be removed.
		if err := waitEnd(keeper); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRecoverClearsWhatNeverStarted leaves what an agent leaves that is killed inside Start.
func TestRecoverClearsWhatNeverStarted(t *testing.T) {
	cfg := testConfig(t, false)
	d := open(t, cfg)
	a, b := drivertest.Task(0), drivertest.Task(1)
	for _, id := range []cellstate.ClaimID{a.ID, b.ID} {
		if err := os.MkdirAll(string(d.newTask(id).dir)+"/work", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	k := d.newTask(b.ID)
	s, err := d.specOf(b, k)
	if err != nil {
		t.Fatal(err)
	}
	if err := shim.WriteRecord(k.dir.Spec(), s); err != nil {
		t.Fatal(err)
	}
	if err := k.group.create(limits{}); err != nil {
		t.Fatal(err)
	}
	states, err := d.Recover(context.Background())
	if err != nil || len(states) != 0 {
		t.Errorf("Recover = %+v, %v, want nothing", states, err)
	}
	for _, id := range []cellstate.ClaimID{a.ID, b.ID} {
		if left := leftOf(d, id); len(left) != 0 {
			t.Errorf("left %q", left)
		}
	}
}

// TestRecoverAfterTheHostCrashed leaves records cut short, as a crash of the host may: all of the task is cleared away, also what
// is in its group, and the rest is recovered.
func TestRecoverAfterTheHostCrashed(t *testing.T) {
	for _, torn := range []func(shim.Dir) string{shim.Dir.Spec, shim.Dir.State} {
		cfg := testConfig(t, false)
		d := open(t, cfg)
		a, b := drivertest.Task(0), drivertest.Task(1)
		start(t, d, a)
		start(t, d, b)
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		keeper, err := openPidfdOf(t, d, a.ID)
		if err != nil {
			t.Fatal(err)
		}
		defer keeper.Close()
		// A shim that lived on would write to what is being removed.
		if err := withFD(keeper, func(fd int) error { return unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) }); err != nil {
			t.Fatal(err)
		}
		if err := waitEnd(keeper); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(torn(d.newTask(a.ID).dir), 0); err != nil {
			t.Fatal(err)
		}
		again := open(t, cfg)
		states, err := again.Recover(t.Context())
		if err != nil || len(states) != 1 || states[0].ID != b.ID || states[0].Phase != cellstate.PhaseRunning {
			t.Errorf("Recover = %+v, %v, want the other task running", states, err)
		}
		if left := leftOf(d, a.ID); len(left) != 0 {
			t.Errorf("left %q", left)
		}
	}
}

// TestShimNeedsItsAgent: a shim whose agent died before it was recorded starts nothing.
func TestShimNeedsItsAgent(t *testing.T) {
	cfg := testConfig(t, false)
	d := open(t, cfg)
	a := drivertest.Task(0)
	k := d.newTask(a.ID)
	if err := os.MkdirAll(string(k.dir), 0o755); err != nil {
		t.Fatal(err)
	}
	s, err := d.specOf(a, k)
	if err != nil {
		t.Fatal(err)
	}
	if err := shim.WriteRecord(k.dir.Spec(), s); err != nil {
		t.Fatal(err)
	}
	c := osexec.Command(cfg.Shim[0], "shim", shim.TaskCommand, string(k.dir))
	c.Stdin = strings.NewReader("")
	if out, err := c.CombinedOutput(); err != nil || len(out) != 0 {
		t.Errorf("shim: %s, %v", out, err)
	}
	if _, err := os.Stat(k.dir.State()); err == nil {
		t.Error("the shim started the task")
	}
}

// TestCloseLeavesNoGroups holds that a driver without tasks leaves no cgroup when it ends, and one with a task leaves the task its own.
func TestCloseLeavesNoGroups(t *testing.T) {
	cfg := testConfig(t, false)
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if len(group(cfg.CgroupRoot).dirs()) == 0 {
		t.Fatal("a driver that runs has no cgroup: this no longer tests anything")
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	for _, dir := range group(cfg.CgroupRoot).dirs() {
		t.Errorf("left after Close without a task: %s", dir)
	}

	if d, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	a := drivertest.Task(0)
	start(t, d, a)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if len(d.newTask(a.ID).group.dirs()) == 0 || len(d.shims().dirs()) == 0 {
		t.Error("Close took a running task's cgroup")
	}
	d = open(t, cfg)
	if _, err := d.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
}
