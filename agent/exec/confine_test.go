package exec

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/cgroups/v3"
	"golang.org/x/sys/unix"

	"github.com/omegacell/omegacell/agent/drivertest"
	"github.com/omegacell/omegacell/agent/exec/shim"
	"github.com/omegacell/omegacell/cellstate"
)

// TestTaskCanBeMoved checks from outside, in /proc, what a checkpoint needs of a task.
func TestTaskCanBeMoved(t *testing.T) {
	cfg := testConfig(t, false)
	d := open(t, cfg)
	// What the agent inherited from whoever started it, not marked close-on-exec.
	leak, err := unix.Open("/etc/passwd", unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(leak)
	a, hear := saying(t, sh(0, `(echo up >"$SAY"); sleep 100000`)) // a shell of its own writes, so that this one opens nothing
	a.Env["NAME"] = "value"
	s := start(t, d, a)
	hear("up") // until then its loader reads libraries
	proc := fmt.Sprintf("/proc/%d/", s.PID)
	read := func(name string) string {
		b, err := os.ReadFile(proc + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	link := func(dir, name string) string {
		l, err := os.Readlink(dir + name)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}

	for _, ns := range []struct {
		name string
		own  bool
	}{{"pid", true}, {"mnt", true}, {"ipc", true}, {"net", false}, {"user", false}} {
		if own := link(proc, "ns/"+ns.name) != link("/proc/self/", "ns/"+ns.name); own != ns.own {
			t.Errorf("own %s namespace: %v, want %v", ns.name, own, ns.own)
		}
	}
	if status := read("status"); !strings.Contains(status, fmt.Sprintf("NSpid:\t%d\t1\n", s.PID)) || !strings.Contains(status, "NSsid:\t"+strconv.Itoa(int(s.PID))+"\t1\n") {
		t.Errorf("it is not PID 1 and leader of a session in its namespace:\n%s", status)
	} else if !strings.Contains(status, "Umask:\t0022\n") {
		t.Errorf("umask is not 0022:\n%s", status)
	}

	log := d.logDir(a.ID)
	mounts := mountIDs(t, read("mountinfo"))
	for fd, want := range []string{"/dev/null", log + "/stdout", log + "/stderr"} {
		if got := link(proc, fmt.Sprintf("fd/%d", fd)); got != want {
			t.Errorf("descriptor %d is %s, want %s", fd, got, want)
		}
		info := read(fmt.Sprintf("fdinfo/%d", fd))
		if id := field(info, "mnt_id"); !slices.Contains(mounts, id) {
			t.Errorf("descriptor %d was opened on mount %s, outside the task's namespace", fd, id)
		}
		flags, err := strconv.ParseInt(field(info, "flags"), 8, 64)
		if err != nil || fd > 0 && flags&unix.O_APPEND == 0 {
			t.Errorf("descriptor %d is not opened to append: flags %o, %v", fd, flags, err)
		}
	}
	if fds, err := os.ReadDir(proc + "fd"); err != nil || len(fds) != 3 {
		t.Errorf("descriptors %v, %v; want only 0, 1 and 2", fds, err)
	}
	for _, fd := range shimFDs(t, d, a.ID) {
		if strings.Contains(fd, "passwd") {
			t.Errorf("the shim has inherited %s", fd)
		}
	}

	// Restoring needs each mount to be of a known kind: no mount of the host's that is not one of our binds, nothing shared.
	for line := range strings.Lines(read("mountinfo")) {
		if strings.Contains(line, "shared:") || strings.Contains(line, "master:") {
			t.Errorf("mount is not private: %s", line)
		}
		if strings.Contains(line, " - cgroup") && !strings.Contains(line, leaf(a.ID)) {
			t.Errorf("a cgroup that is not the task's own is mounted: %s", line)
		}
	}
	want := []string{
		"GODEBUG=multipathtcp=0", "HOME=" + cfg.DataDir + "/tasks/" + leaf(a.ID) + "/work", "NAME=value",
		"OMEGACELL_TASK=conform", "PATH=" + defaultPath, "SAY=" + a.Env["SAY"],
	}
	if got := strings.Split(strings.TrimSuffix(read("environ"), "\x00"), "\x00"); !slices.Equal(got, want) {
		t.Errorf("environment %q, want %q", got, want)
	}
	if got := link(proc, "cwd"); got != filepath.Join(cfg.DataDir, "tasks", leaf(a.ID), "work") {
		t.Errorf("working directory %s", got)
	}
}

func mountIDs(t *testing.T, mountinfo string) []string {
	var out []string
	for line := range strings.Lines(mountinfo) {
		out = append(out, strings.Fields(line)[0])
	}
	return out
}

// field returns a value of a file of "name:\tvalue" lines.
func field(text, name string) string {
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func shimFDs(t *testing.T, d *Driver, id cellstate.ClaimID) []string {
	var st shim.State
	if _, err := shim.ReadRecord(d.newTask(id).dir.State(), &st); err != nil {
		t.Fatal(err)
	}
	dir := fmt.Sprintf("/proc/%d/fd/", st.Shim.PID)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		l, _ := os.Readlink(dir + e.Name())
		out = append(out, e.Name()+" "+l)
	}
	return out
}

func TestLimitsAreSet(t *testing.T) {
	d := open(t, testConfig(t, false))
	a := drivertest.Task(0) // 500m, 256 MiB
	s := start(t, d, a)
	dirs := d.newTask(a.ID).group.dirs()
	if cgroups.Mode() == cgroups.Unified {
		for file, want := range map[string]string{"cpu.max": "50000 100000", "memory.max": "268435456", "pids.max": "8192", "memory.swap.max": "0"} {
			if b, err := os.ReadFile(filepath.Join(dirs["unified"], file)); err != nil || strings.TrimSpace(string(b)) != want {
				t.Errorf("%s is %q, %v; want %s", file, b, err, want)
			}
		}
	} else {
		for _, tt := range []struct {
			hierarchy, file string
			want            int64
		}{
			{"cpu", "cpu.cfs_quota_us", 50_000},
			{"cpu", "cpu.cfs_period_us", 100_000},
			{"cpu", "cpu.shares", 512},
			{"memory", "memory.limit_in_bytes", 256 << 20},
			{"pids", "pids.max", 8192},
		} {
			if got := readInt(t, dirs[tt.hierarchy], tt.file); got != tt.want {
				t.Errorf("%s is %d, want %d", tt.file, got, tt.want)
			}
		}
	}
	for name, dir := range dirs {
		if got := readInt(t, dir, "cgroup.procs"); got != int64(s.PID) {
			t.Errorf("%s holds process %d, want the task, %d, alone", name, got, s.PID)
		}
	}
}

func TestLimitArithmetic(t *testing.T) {
	for _, tt := range []struct {
		cpu            int64
		quota          int64
		shares, weight uint64
	}{
		{1, 1000, 2, 1}, // the kernel's least of each
		{10, 1000, 10, 1},
		{11, 1100, 11, 1},
		{1000, 100_000, 1024, 39},
		{256_000, 25_600_000, 262144, 10000},
		{256_001, 25_600_100, 262144, 10000}, // and its most
	} {
		l := limits{CPUMilli: tt.cpu}
		if l.quota() != tt.quota || l.shares() != tt.shares || l.weight() != tt.weight {
			t.Errorf("%dm: quota %d shares %d weight %d, want %d %d %d", tt.cpu, l.quota(), l.shares(), l.weight(), tt.quota, tt.shares, tt.weight)
		}
	}
}

func TestOutOfMemory(t *testing.T) {
	d := open(t, testConfig(t, false))
	exe := d.cfg.Shim[0]
	for i, tt := range []struct {
		name    string
		command []string
		want    cellstate.Outcome
		code    int32
	}{
		{"the task itself", []string{exe, "hog"}, cellstate.OutcomeOOM, 0},
		{"a child, whose end the shell passes on", []string{"sh", "-c", exe + " hog; exit $?"}, cellstate.OutcomeOOM, 137},
		{"a child, which the task gets over", []string{"sh", "-c", exe + " hog; exit 4"}, cellstate.OutcomeExited, 4},
	} {
		a := drivertest.Task(uint32(i))
		a.Spec.Command, a.Resources.MemBytes = tt.command, 64<<20
		start(t, d, a)
		if s := <-d.Events(); s.Outcome != tt.want || s.ExitCode != tt.code {
			t.Errorf("%s: %+v, want %s and exit code %d", tt.name, s, tt.want, tt.code)
		}
		if d.newTask(a.ID).group.dirs().OOMKills() == 0 {
			t.Errorf("%s: the kernel killed nothing: this tests nothing", tt.name)
		}
	}
	// SIGKILL alone is no proof of it.
	s := start(t, d, drivertest.Task(9))
	if err := syscall.Kill(int(s.PID), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if s := <-d.Events(); s.Outcome != cellstate.OutcomeSignaled {
		t.Errorf("after SIGKILL: %+v", s)
	}
}

// TestEndTakesTheWholeTree has a task leave processes behind, in sessions of their own and deaf to SIGTERM.
func TestEndTakesTheWholeTree(t *testing.T) {
	for _, unconfined := range []bool{false, true} {
		d := open(t, testConfig(t, unconfined))
		mark := fmt.Sprintf("%d", 1_000_000+testNumber.Add(1)*1000+int32(os.Getpid())%1000)
		a, said := saying(t, sh(0, `for i in 1 2 3; do (trap "" TERM HUP; setsid sh -c 'sleep `+mark+` & echo left >"$SAY"; wait' &); done; read x <"$GO"`))
		goOn := filepath.Join(t.TempDir(), "go")
		if err := unix.Mkfifo(goOn, 0o600); err != nil {
			t.Fatal(err)
		}
		a.Env["GO"] = goOn
		start(t, d, a)
		for range 3 {
			said("left")
		}
		if n := len(running(mark)); n < 3 {
			t.Fatalf("%d processes %s run, want at least 3: this tests nothing", n, mark)
		}
		if err := os.WriteFile(goOn, []byte("go\n"), 0); err != nil {
			t.Fatal(err)
		}
		if s := <-d.Events(); s.Outcome != cellstate.OutcomeExited {
			t.Errorf("unconfined=%v: %+v", unconfined, s)
		}
		if left := running(mark); len(left) != 0 {
			t.Errorf("unconfined=%v: processes %v run after the task's end was reported", unconfined, left)
		}
	}
}

// running lists the processes with the word in their command line, zombies not counted.
func running(word string) []string {
	var out []string
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && bytes.Contains(b, []byte(word)) && !bytes.Contains(b, []byte("shim")) {
			out = append(out, f)
		}
	}
	return out
}

func TestStartErrors(t *testing.T) {
	d := open(t, testConfig(t, false))
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/no/such/interpreter\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for i, tt := range []struct {
		name   string
		change func(*cellstate.TaskSpec, *cellstate.Resources)
		want   string
	}{
		{"no command", func(s *cellstate.TaskSpec, _ *cellstate.Resources) { s.Command = nil }, "no command"},
		{"not in PATH", func(s *cellstate.TaskSpec, _ *cellstate.Resources) { s.Command = []string{"nonesuch"} }, "command nonesuch not found in PATH=" + defaultPath},
		{"no file", func(s *cellstate.TaskSpec, _ *cellstate.Resources) { s.Command = []string{"/bin/nonesuch"} }, "command /bin/nonesuch not found"},
		{"a directory", func(s *cellstate.TaskSpec, _ *cellstate.Resources) { s.Command = []string{"/etc"} }, "command /etc not found"},
		{"not executable", func(s *cellstate.TaskSpec, _ *cellstate.Resources) { s.Command = []string{"/etc/passwd"} }, "command /etc/passwd is not executable"},
		{"no interpreter", func(s *cellstate.TaskSpec, _ *cellstate.Resources) { s.Command = []string{script} }, "the interpreter or loader that it names is not there"},
		{"user", func(s *cellstate.TaskSpec, _ *cellstate.Resources) { s.User = "nonesuch" }, "user: user: unknown user nonesuch"},
		{"directory", func(s *cellstate.TaskSpec, _ *cellstate.Resources) { s.Dir = "/none/such" }, "working directory: chdir /none/such: no such file"},
		{"relative directory", func(s *cellstate.TaskSpec, _ *cellstate.Resources) { s.Dir = "such" }, "is not an absolute path"},
		{"stop signal", func(s *cellstate.TaskSpec, _ *cellstate.Resources) { s.StopSignal = "TERM" }, `stop signal "TERM"`},
		{"memory", func(_ *cellstate.TaskSpec, r *cellstate.Resources) { r.MemBytes = 64 << 10 }, "the memory limit is too small to start sleep"},
	} {
		a := drivertest.Task(uint32(i))
		tt.change(&a.Spec, &a.Resources)
		if _, err := d.Start(context.Background(), a); err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), a.ID.String()) {
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.want)
		}
		if left := leftOf(d, a.ID); len(left) != 0 {
			t.Errorf("%s: left %q", tt.name, left)
		}
		if _, err := os.Stat(d.logDir(a.ID)); err == nil {
			t.Errorf("%s: an empty log directory is left", tt.name)
		}
	}
	// A start that is given up leaves nothing either.
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	a := drivertest.Task(100)
	if s, err := d.Start(ctx, a); err == nil {
		t.Errorf("Start with a cancelled context = %+v", s)
	}
	if left := leftOf(d, a.ID); len(left) != 0 {
		t.Errorf("cancelled: left %q", left)
	}
}

func TestManyStartsAtOnce(t *testing.T) {
	d := open(t, testConfig(t, false))
	const n = 50
	var wg sync.WaitGroup
	for i := range uint32(n) {
		wg.Go(func() {
			a := sh(i, fmt.Sprintf("echo task %d; exit %d", i, i))
			if _, err := d.Start(context.Background(), a); err != nil {
				t.Error(err)
			}
		})
	}
	seen := make(map[uint32]bool)
	for range n {
		s := <-d.Events()
		if s.Outcome != cellstate.OutcomeExited || uint32(s.ExitCode) != s.ID.Task || seen[s.ID.Task] {
			t.Errorf("%+v", s)
		}
		seen[s.ID.Task] = true
	}
	wg.Wait()
	for i := range uint32(n) {
		a := drivertest.Task(i)
		if got := output(t, d, a.ID, "stdout"); got != fmt.Sprintf("task %d\n", i) {
			t.Errorf("task %d wrote %q", i, got)
		}
		if err := d.Forget(context.Background(), a.ID); err != nil {
			t.Error(err)
		}
		if left := leftOf(d, a.ID); len(left) != 0 {
			t.Errorf("left %q", left)
		}
	}
}

func TestUser(t *testing.T) {
	cfg := testConfig(t, false)
	if err := os.Chmod(filepath.Dir(cfg.DataDir), 0o755); err != nil { // else nobody could reach it
		t.Fatal(err)
	}
	d := open(t, cfg)
	a := sh(0, `id -u; id -g; echo "$HOME"; echo in the work directory >file && cat file; ls -ld / >/dev/null; echo error >&2`)
	a.Spec.User, a.Env["HOME"] = "nobody", "/nowhere"
	start(t, d, a)
	if s := <-d.Events(); s.ExitCode != 0 {
		t.Errorf("%+v: %s", s, output(t, d, a.ID, "stderr"))
	}
	if got := output(t, d, a.ID, "stdout"); got != "65534\n65534\n/nowhere\nin the work directory\n" {
		t.Errorf("stdout %q", got)
	}
	if got := output(t, d, a.ID, "stderr"); got != "error\n" {
		t.Errorf("stderr %q", got)
	}
}

func TestStopSignalIsHandled(t *testing.T) {
	d := open(t, testConfig(t, false))
	a, said := saying(t, sh(0, `trap "echo bye; exit 5" USR1; echo ready >"$SAY"; while :; do sleep 0.01; done`))
	a.Spec.StopSignal = "SIGUSR1"
	start(t, d, a)
	said("ready")
	if err := d.Stop(context.Background(), a.ID); err != nil {
		t.Fatal(err)
	}
	if s := <-d.Events(); s.Outcome != cellstate.OutcomeStopped || s.ExitCode != 5 || s.Signal != 0 || output(t, d, a.ID, "stdout") != "bye\n" {
		t.Errorf("%+v, want it to have ended by its handler", s)
	}
	// sleep does not handle it: PID 1 or not, it ends by it.
	b := drivertest.Task(1)
	start(t, d, b)
	if err := d.Stop(context.Background(), b.ID); err != nil {
		t.Fatal(err)
	}
	if s := <-d.Events(); s.Outcome != cellstate.OutcomeStopped || s.Signal != int32(unix.SIGTERM) || s.EndedAt.Sub(s.StartedAt) >= b.Spec.StopGrace {
		t.Errorf("%+v, want it to have ended by SIGTERM", s)
	}
}

func TestExec(t *testing.T) {
	for _, unconfined := range []bool{false, true} {
		d := open(t, testConfig(t, unconfined))
		a := drivertest.Task(0)
		a.Env["COLOUR"] = "red"
		start(t, d, a)
		ctx := context.Background()
		script := `echo "$COLOUR $(tr '\0' ' ' </proc/1/cmdline)"; pwd; echo "in $(grep -c '/` + leaf(a.ID) + `$' /proc/self/cgroup) groups"; exit 3`
		code, out, err := d.Exec(ctx, a.ID, []string{"sh", "-c", script}, time.Minute)
		if code != 3 || err != nil || !strings.HasPrefix(string(out), "red ") || !strings.Contains(string(out), "/work\n") {
			t.Errorf("Exec = %d, %q, %v", code, out, err)
		}
		groups := fmt.Sprintf("in %d groups\n", len(d.newTask(a.ID).group.dirs()))
		if !unconfined && (!strings.HasPrefix(string(out), "red sleep 100000 \n") || !strings.HasSuffix(string(out), groups)) {
			t.Errorf("it ran outside the task's namespaces or cgroups, want %q: %s", groups, out)
		}
		if _, _, err := d.Exec(ctx, a.ID, []string{"nonesuch"}, time.Minute); err == nil || !strings.Contains(err.Error(), "nonesuch not found in PATH") {
			t.Errorf("unknown command: %v", err)
		}
		if _, _, err := d.Exec(ctx, a.ID, []string{"sleep", "1000000"}, time.Millisecond); err == nil || !strings.Contains(err.Error(), "killed after 1ms") {
			t.Errorf("timeout: %v", err)
		}
		if code, out, err = d.Exec(ctx, a.ID, []string{"sh", "-c", "head -c 200000 /dev/zero; kill -9 $$"}, time.Minute); code != 137 || len(out) != maxExecOutput || err != nil {
			t.Errorf("Exec = %d, %d bytes, %v, want 137 and the first %d", code, len(out), err, maxExecOutput)
		}
		if err := d.Stop(ctx, a.ID); err != nil {
			t.Fatal(err)
		}
		<-d.Events()
		if _, _, err := d.Exec(ctx, a.ID, []string{"true"}, time.Minute); err == nil {
			t.Error("Exec in a task that has ended succeeded")
		}
	}
}

func TestNewSaysWhatIsMissing(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"relative directory", Config{DataDir: "data"}, `data directory "data" is not an absolute path`},
		{"no shim", Config{DataDir: t.TempDir(), Shim: []string{"/no/such/shim"}, CgroupRoot: "omegacell-test-new"}, "/no/such/shim"},
		{"a shim that fails", Config{DataDir: t.TempDir(), Shim: []string{"/bin/false"}, CgroupRoot: "omegacell-test-new"}, "does not work"},
	} {
		if tt.name != "relative directory" {
			needRoot(t)
		}
		d, err := New(tt.cfg)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
		if err == nil {
			d.Close()
		}
		for name, dir := range group("omegacell-test-new").dirs() {
			t.Errorf("%s: left %s %s", tt.name, name, dir)
		}
	}
}
