package exec

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/omegacell/omegacell/agent/exec/shim"
	"github.com/omegacell/omegacell/cellstate"
)

// logDir is where a task's output is, for all its incarnations on this machine.
func (d *Driver) logDir(id cellstate.ClaimID) string {
	return filepath.Join(d.cfg.DataDir, "logs", id.Scheduler, id.Job+"@"+strconv.FormatUint(uint64(id.Run), 16),
		fmt.Sprintf("%d.%d", id.Task, id.Attempt))
}

// LogFiles returns the files that hold a task's output, oldest first; stream is "stdout" or "stderr". Before each rotation
// the last of them is copied to what becomes the one before it, and cut to nothing.
func (d *Driver) LogFiles(id cellstate.ClaimID, stream string) ([]string, error) {
	if !slices.Contains(shim.Outputs(), stream) {
		return nil, fmt.Errorf("output %q of task %s is neither stdout nor stderr: %w", stream, id, cellstate.ErrInvalid)
	}
	entries, err := os.ReadDir(d.logDir(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("task %s has no logs on this machine: %w", id, err)
	}
	if err != nil {
		return nil, err
	}
	byAge := make(map[int]string)
	for _, e := range entries {
		if e.Name() == stream {
			byAge[0] = e.Name()
		} else if v, ok := strings.CutPrefix(e.Name(), stream+"."); ok {
			if n, err := strconv.Atoi(v); err == nil && n > 0 {
				byAge[n] = e.Name()
			}
		}
	}
	ages := make([]int, 0, len(byAge))
	for n := range byAge {
		ages = append(ages, n)
	}
	slices.Sort(ages)
	slices.Reverse(ages)
	out := make([]string, 0, len(ages))
	for _, n := range ages {
		out = append(out, filepath.Join(d.logDir(id), byAge[n]))
	}
	return out, nil
}

// Logged returns the tasks that there are logs of on this machine, also those that were forgotten, by ID.
func (d *Driver) Logged() ([]cellstate.ClaimID, error) {
	root := filepath.Join(d.cfg.DataDir, "logs")
	dirs, err := filepath.Glob(filepath.Join(root, "*", "*", "*"))
	if err != nil {
		return nil, err
	}
	var out []cellstate.ClaimID
	for _, dir := range dirs {
		// logDir spells a claim as its String does. What somebody else put there is no task's.
		if rel, err := filepath.Rel(root, dir); err == nil {
			if id, err := cellstate.ParseClaimID(rel); err == nil {
				out = append(out, id)
			}
		}
	}
	slices.SortFunc(out, cellstate.ClaimID.Compare)
	return out, nil
}

// kept is the log directory of one forgotten task.
type kept struct {
	dir   string
	bytes int64
	last  time.Time // of the last line
}

// sweepEvery is how often logs past their retention are looked for.
const sweepEvery = 10 * time.Minute

// keepSweeping sweeps until the driver is closed. It begins only when the tasks that are still there are known.
func (d *Driver) keepSweeping() {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if err := d.Sweep(d.cfg.Now()); err != nil {
			d.cfg.Log.Warn("old logs stay", zap.Error(err))
		}
		select {
		case <-tick.C:
		case <-d.done:
			return
		}
	}
}

// Sweep removes the logs of forgotten tasks that are older than the retention period, and then the oldest until the rest is
// within the limit in bytes.
func (d *Driver) Sweep(now time.Time) error {
	d.logs.Lock()
	defer d.logs.Unlock()
	logs, err := d.keptLogs()
	if err != nil {
		return fmt.Errorf("sweep logs: %w", err)
	}
	for _, dir := range expired(logs, now.Add(-d.cfg.LogRetention), d.cfg.LogMaxBytes) {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("sweep logs: %w", err)
		}
		d.dropEmptyParents(dir)
	}
	return nil
}

// expired chooses the logs that have to go: those that ended before oldest, and then the oldest of the rest until what is
// left is at most limit bytes.
func expired(logs []kept, oldest time.Time, limit int64) []string {
	slices.SortFunc(logs, func(a, b kept) int { return cmp.Or(a.last.Compare(b.last), strings.Compare(a.dir, b.dir)) })
	var total int64
	for _, l := range logs {
		total += l.bytes
	}
	var out []string
	for _, l := range logs {
		if !l.last.Before(oldest) && total <= limit {
			break
		}
		out = append(out, l.dir)
		total -= l.bytes
	}
	return out
}

// keptLogs lists the logs of tasks that the driver no longer knows.
func (d *Driver) keptLogs() ([]kept, error) {
	dirs, err := filepath.Glob(filepath.Join(d.cfg.DataDir, "logs", "*", "*", "*"))
	if err != nil {
		return nil, err
	}
	known := make(map[string]bool)
	d.mu.Lock()
	for _, k := range d.tasks {
		known[k.log] = true
	}
	d.mu.Unlock()
	var out []kept
	for _, dir := range dirs {
		if known[dir] {
			continue
		}
		k := kept{dir: dir}
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if st, err := e.Info(); err == nil {
				k.bytes += st.Size()
				if st.ModTime().After(k.last) {
					k.last = st.ModTime()
				}
			}
		}
		out = append(out, k)
	}
	return out, nil
}

// dropEmptyLogs removes the log directory of a task that never ran.
func (d *Driver) dropEmptyLogs(dir string) {
	d.logs.Lock()
	defer d.logs.Unlock()
	for _, name := range shim.Outputs() {
		path := filepath.Join(dir, name)
		if st, err := os.Stat(path); err == nil && st.Size() == 0 {
			_ = os.Remove(path)
		}
	}
	if os.Remove(dir) == nil {
		d.dropEmptyParents(dir)
	}
}

// dropEmptyParents removes the directories of the job and the scheduler where nothing else is in them.
func (d *Driver) dropEmptyParents(dir string) {
	_ = os.Remove(filepath.Dir(dir))
	_ = os.Remove(filepath.Dir(filepath.Dir(dir)))
}
