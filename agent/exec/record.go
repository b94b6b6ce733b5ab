package exec

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/google/renameio/v2"

	"github.com/omegacell/omegacell/cellstate"
)

// taskDir is the directory of one task. What is in it is all that survives an agent.
type taskDir string

func (d taskDir) spec() string   { return filepath.Join(string(d), "spec.json") }
func (d taskDir) state() string  { return filepath.Join(string(d), "state.json") }
func (d taskDir) result() string { return filepath.Join(string(d), "result.json") }
func (d taskDir) work() string   { return filepath.Join(string(d), "work") }
func (d taskDir) root() string   { return filepath.Join(string(d), "root") }
func (d taskDir) shimLog() string {
	return filepath.Join(string(d), "shim.log")
}

// spec is what the shim needs to run a task. Paths are absolute.
type spec struct {
	ID         string // cellstate.ClaimID
	Restart    uint32
	Argv       []string
	Env        []string // sorted
	Dir        string
	User       *account      // nil: as the agent
	StopSignal int           // number
	StopGrace  time.Duration // from the stop signal to SIGKILL
	LogDir     string
	LogBytes   int64 // of one output file before it is rotated
	LogFiles   int   // older files kept
	Cgroup     string
	Unconfined bool
	Shim       []string // argv that runs this binary's shim
}

// account is whom a task runs as.
type account struct {
	UID, GID int
	Groups   []int
	Home     string
}

// state says which processes stand for the task.
type state struct {
	Boot      string // the host's boot ID: PIDs of an earlier boot mean nothing
	Shim      process
	Task      process // zero until the shim has made it
	StartedAt cellstate.Instant
	Stopping  bool
}

// result is how the task ended. Where it is there, it is final (I5).
type result struct {
	Outcome  cellstate.Outcome
	ExitCode int32
	Signal   int32
	Message  string
	EndedAt  cellstate.Instant
}

// process names one process for as long as the host is up: PIDs come back, but not with the same start time.
type process struct {
	PID   int
	Start uint64 // clock ticks after boot, field 22 of /proc/PID/stat (proc(5))
}

// processOf returns the identity of a process that is there.
func processOf(pid int) (process, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return process{}, err
	}
	// The command, field 2, is in parentheses and may contain anything; what follows its last one is numbers.
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(f) < 20 {
		return process{}, fmt.Errorf("/proc/%d/stat has only %d fields", pid, len(f)+2)
	}
	start, err := strconv.ParseUint(string(f[19]), 10, 64)
	return process{PID: pid, Start: start}, err
}

func bootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b)), err
}

// leaf is the claim's name as one path element, for its task directory and cgroup.
func leaf(id cellstate.ClaimID) string {
	s := strings.ReplaceAll(id.String(), "/", "~")
	if len(s) <= 200 { // of the 255 bytes that a name may have
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return s[:160] + "~" + hex.EncodeToString(sum[:16])
}

// writeRecord replaces a file at once and for good: after it returns, a crash of the host leaves it as it is.
func writeRecord(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("exec: cannot encode %T: %v", v, err))
	}
	if err := renameio.WriteFile(path, b, 0o600, renameio.WithTempDir(filepath.Dir(path))); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// readRecord reports whether the file is there. One that was cut short counts as an error.
func readRecord(path string, v any) (bool, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return false, fmt.Errorf("%s: %w", path, err)
	}
	return true, nil
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) { // EINVAL: a file system without it
		return err
	}
	return nil
}
