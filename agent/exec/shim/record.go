package shim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/google/renameio/v2"

	"github.com/omegacell/omegacell/cellstate"
)

// Dir is the directory of one task. What is in it is all that survives an agent.
type Dir string

func (d Dir) Spec() string   { return filepath.Join(string(d), "spec.json") }
func (d Dir) State() string  { return filepath.Join(string(d), "state.json") }
func (d Dir) Result() string { return filepath.Join(string(d), "result.json") }
func (d Dir) Work() string   { return filepath.Join(string(d), "work") }
func (d Dir) Root() string   { return filepath.Join(string(d), "root") }
func (d Dir) Log() string {
	return filepath.Join(string(d), "shim.log")
}

// Spec is what the shim needs to run a task. Paths are absolute.
type Spec struct {
	ID         string // cellstate.ClaimID
	Restart    uint32
	Argv       []string
	Env        []string // sorted
	Dir        string
	User       *Account      // nil: as the agent
	StopSignal int           // number
	StopGrace  time.Duration // from the stop signal to SIGKILL
	LogDir     string
	LogBytes   int64  // of one output file before it is rotated
	LogFiles   int    // older files kept
	Cgroup     string // its path below the hierarchies' roots
	Groups     Groups
	Throttle   Setting // made when all is ready for the task
	Unconfined bool
	Shim       []string // argv that runs the same shim as this one
}

// Setting is a value to write to a file of a cgroup. The zero Setting is none.
type Setting struct{ File, Value string }

// Account is whom a task runs as.
type Account struct {
	UID, GID int
	Groups   []int
	Home     string
}

// State says which processes stand for the task.
type State struct {
	Boot      string // the host's boot ID: PIDs of an earlier boot mean nothing
	Shim      Process
	Task      Process // zero until the shim has made it
	StartedAt cellstate.Instant
	Stopping  bool
}

// Result is how the task ended. Where it is there, it is final (I5).
type Result struct {
	Outcome  cellstate.Outcome
	ExitCode int32
	Signal   int32
	Message  string
	EndedAt  cellstate.Instant
}

// Process names one process for as long as the host is up: PIDs come back, but not with the same start time.
type Process struct {
	PID   int
	Start uint64 // clock ticks after boot, field 22 of /proc/PID/stat (proc(5))
}

// ProcessOf returns the identity of a process that is there.
func ProcessOf(pid int) (Process, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Process{}, err
	}
	// The command, field 2, is in parentheses and may contain anything; what follows its last one is numbers.
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(f) < 20 {
		return Process{}, fmt.Errorf("/proc/%d/stat has only %d fields", pid, len(f)+2)
	}
	start, err := strconv.ParseUint(string(f[19]), 10, 64)
	return Process{PID: pid, Start: start}, err
}

// WriteRecord replaces a file at once: whoever reads it, sees the old one or the new one, whatever process ends when. A crash
// of the host may undo it, or leave the file cut short: see [Torn]. What it is about, a process, is gone then too.
//
// One process at a time writes a record.
func WriteRecord(path string, v any) error {
	next := path + ".new"
	if err := os.WriteFile(next, encode(v), 0o600); err != nil {
		return err
	}
	return os.Rename(next, path)
}

// KeepRecord replaces a file at once and for good: after it returns, a crash of the host leaves it as it is.
func KeepRecord(path string, v any) error {
	b := encode(v)
	if err := renameio.WriteFile(path, b, 0o600, renameio.WithTempDir(filepath.Dir(path))); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("shim: cannot encode %T: %v", v, err))
	}
	return b
}

// settle makes a record that is there survive a crash of the host.
func settle(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Torn reports whether ReadRecord failed because of what a crash of the host leaves of a file that was being written.
func Torn(err error) bool {
	var cut *json.SyntaxError
	return errors.As(err, &cut)
}

// ReadRecord reports whether the file is there. One that was cut short counts as an error.
func ReadRecord(path string, v any) (bool, error) {
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
