package exec

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omegacell/omegacell/agent/drivertest"
	"github.com/omegacell/omegacell/cellstate"
)

// TestOutputIsRotated has a running task write round after round, each once the round before has been rotated.
func TestOutputIsRotated(t *testing.T) {
	d := open(t, testConfig(t, false))
	goOn := filepath.Join(t.TempDir(), "go")
	if err := unix.Mkfifo(goOn, 0o600); err != nil {
		t.Fatal(err)
	}
	// 1001 bytes: one more than the limit.
	a := sh(0, `n=0; exec 3<>"$GO"; while read x <&3; do n=$((n+1)); printf "%01001d" $n; done`)
	a.Env["GO"] = goOn
	a.Spec.Logs = cellstate.LogPolicy{MaxBytes: 1000, Files: 2}
	s := start(t, d, a)
	dir := d.logDir(a.ID)
	before, err := os.Stat(fmt.Sprintf("/proc/%d/fd/1", s.PID))
	if err != nil {
		t.Fatal(err)
	}
	ino, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ino)
	if _, err := unix.InotifyAddWatch(ino, dir, unix.IN_MODIFY|unix.IN_CREATE|unix.IN_MOVED_TO); err != nil {
		t.Fatal(err)
	}
	holds := func(name, tail string) bool {
		b, err := os.ReadFile(filepath.Join(dir, name))
		return err == nil && strings.HasSuffix(string(b), tail)
	}
	events := make([]byte, 4096)
	for n := 1; n <= 3; n++ {
		if err := os.WriteFile(goOn, []byte("go\n"), 0); err != nil {
			t.Fatal(err)
		}
		for size := int64(1); size != 0 || !holds("stdout.1", fmt.Sprintf("0%d", n)); {
			if _, err := unix.Read(ino, events); err != nil {
				t.Fatal(err)
			}
			st, err := os.Stat(filepath.Join(dir, "stdout"))
			if err != nil {
				t.Fatal(err)
			}
			size = st.Size()
		}
	}
	if after, err := os.Stat(filepath.Join(dir, "stdout")); err != nil || !os.SameFile(before, after) {
		t.Errorf("the task's output is another file now (%v): it cannot be moved", err)
	}
	files, err := d.LogFiles(a.ID, "stdout")
	want := []string{dir + "/stdout.2", dir + "/stdout.1", dir + "/stdout"}
	if err != nil || !slices.Equal(files, want) {
		t.Errorf("LogFiles = %q, %v, want %q", files, err, want)
	}
	if !holds("stdout.2", "02") || !holds("stdout.1", "03") {
		t.Error("the older files do not hold rounds 2 and 3")
	}
}

func TestLogFilesOfNobody(t *testing.T) {
	d := open(t, testConfig(t, true))
	if _, err := d.LogFiles(drivertest.Task(0).ID, "stdout"); err == nil || !strings.Contains(err.Error(), "has no logs on this machine") {
		t.Errorf("unknown task: %v", err)
	}
	if _, err := d.LogFiles(drivertest.Task(0).ID, "../x"); err == nil || !strings.Contains(err.Error(), "neither stdout nor stderr") {
		t.Errorf("unknown stream: %v", err)
	}
}

// The index has what is on the disk, whoever was forgotten, and nothing that is no task's.
func TestLogged(t *testing.T) {
	cfg := testConfig(t, true)
	d := open(t, cfg)
	a := cellstate.ClaimID{Scheduler: "batch", Job: "a", Run: 0xff, Task: 10, Attempt: 2}
	b := cellstate.ClaimID{Scheduler: "batch", Job: "a", Run: 0xff, Task: 9}
	for _, dir := range []string{d.logDir(a), d.logDir(b), filepath.Join(cfg.DataDir, "logs", "batch", "a@ff", "notes")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := d.Logged(); err != nil || !slices.Equal(got, []cellstate.ClaimID{b, a}) {
		t.Errorf("Logged = %v, %v", got, err)
	}
}

func TestExpired(t *testing.T) {
	at := func(minute int) time.Time { return time.Unix(int64(60*minute), 0) }
	logs := []kept{{"c", 30, at(3)}, {"a", 10, at(1)}, {"b", 20, at(2)}}
	for _, tt := range []struct {
		name   string
		oldest time.Time
		limit  int64
		want   []string
	}{
		{"within both limits", at(1), 60, nil},
		{"older by a second", at(1).Add(time.Second), 60, []string{"a"}},
		{"a byte too much", at(0), 59, []string{"a"}},
		{"after the oldest is gone, enough", at(0), 50, []string{"a"}},
		{"after the oldest is gone, a byte too much", at(0), 49, []string{"a", "b"}},
		{"both, counted once", at(1).Add(time.Second), 50, []string{"a"}},
		{"no room at all", at(0), 0, []string{"a", "b", "c"}},
	} {
		if got := expired(slices.Clone(logs), tt.oldest, tt.limit); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestSweepSparesTasksThatAreKnown(t *testing.T) {
	cfg := testConfig(t, true)
	cfg.LogRetention = time.Hour
	d := open(t, cfg)
	for n := range uint32(2) {
		start(t, d, sh(n, "echo hello"))
		<-d.Events()
	}
	known, forgotten := drivertest.Task(0).ID, drivertest.Task(1).ID
	if err := d.Forget(context.Background(), forgotten); err != nil {
		t.Fatal(err)
	}
	if err := d.Sweep(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if got := output(t, d, forgotten, "stdout"); got != "hello\n" {
		t.Errorf("within the retention period: %q", got)
	}
	if err := d.Sweep(time.Now().Add(2 * time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := d.LogFiles(forgotten, "stdout"); err == nil {
		t.Error("the logs of a forgotten task outlive the retention period")
	}
	if got := output(t, d, known, "stdout"); got != "hello\n" {
		t.Errorf("of a task that is known: %q", got)
	}
	if err := d.Forget(context.Background(), known); err != nil {
		t.Fatal(err)
	}
	if err := d.Sweep(time.Now().Add(2 * time.Hour)); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(filepath.Join(cfg.DataDir, "logs")); len(left) != 0 {
		t.Errorf("empty directories are left: %v", left)
	}
}

// TestRecoverSweeps: logs past their retention go without anybody asking, once it is known which tasks are still there.
func TestRecoverSweeps(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	for name, age := range map[string]time.Duration{"old": 25 * time.Hour, "new": 23 * time.Hour} {
		log := filepath.Join(dir, "logs", "s", name+"@1", "0.0", "stdout")
		if err := os.MkdirAll(filepath.Dir(log), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(log, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(log, now.Add(-age), now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	d, err := New(Config{DataDir: dir, Unconfined: true, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil { // waits for the sweep under way
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "logs", "s", "*"))
	if err != nil || len(left) != 1 || filepath.Base(left[0]) != "new@1" {
		t.Errorf("logs left: %v, %v; want those of 23h ago only", left, err)
	}
}
