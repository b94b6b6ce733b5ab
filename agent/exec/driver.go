package exec

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/containerd/cgroups/v3"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/omegacell/omegacell/agent"
	"github.com/omegacell/omegacell/agent/exec/shim"
	"github.com/omegacell/omegacell/cellstate"
)

// Config configures a Driver. DataDir is required; a zero in any other field means the default its comment states.
type Config struct {
	DataDir      string        // absolute; of this driver alone
	Shim         []string      // argv that runs [RunShim]; default cellshim beside the running binary, else that one itself: /proc/self/exe shim
	CgroupRoot   string        // the group that all tasks' groups are in, of this driver alone; default "omegacell"
	MaxPIDs      int64         // processes and threads of one task; default 8192
	LogRetention time.Duration // logs of a forgotten task stay so long after the last line; default 24h
	LogMaxBytes  int64         // all logs of forgotten tasks together; default 1 GiB
	// Unconfined runs tasks without namespaces, cgroups and limits, in a session only: for hosts where the agent is not
	// root. Such tasks cannot be moved, see the whole host, and are not held to what they claimed.
	Unconfined bool
	Log        *zap.Logger      // default: none
	Now        func() time.Time // default time.Now
}

func (c Config) withDefaults() (Config, error) {
	if !filepath.IsAbs(c.DataDir) {
		return c, fmt.Errorf("exec driver: data directory %q is not an absolute path: %w", c.DataDir, cellstate.ErrInvalid)
	}
	if c.CgroupRoot == "" {
		c.CgroupRoot = "omegacell"
	}
	if c.MaxPIDs == 0 {
		c.MaxPIDs = 8192
	}
	if c.LogRetention == 0 {
		c.LogRetention = 24 * time.Hour
	}
	if c.LogMaxBytes == 0 {
		c.LogMaxBytes = 1 << 30
	}
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c, nil
}

// Driver runs tasks as processes of the host. It is an [agent.Driver].
type Driver struct {
	cfg    Config
	boot   string
	groups shim.Groups // the group that all others are in; none where unconfined
	events chan agent.TaskState
	done   chan struct{}
	wg     sync.WaitGroup

	mu    sync.Mutex
	tasks map[cellstate.ClaimID]*task
	logs  sync.RWMutex // write: log directories are removed
}

var (
	_ agent.Driver    = (*Driver)(nil)
	_ agent.LogKeeper = (*Driver)(nil)
	_ agent.LogIndex  = (*Driver)(nil)
)

// task is what the driver holds in memory of one task. All of it but busy can be read again from the disk.
type task struct {
	dir   shim.Dir
	group group
	log   string          // directory
	busy  bool            // being started or cleared away: nobody else touches it
	state agent.TaskState // guarded by Driver.mu
	shim  *os.File        // pidfd; nil once the task has ended
}

// New returns a driver, or one error that says what the host or the agent lacks to run confined tasks.
func New(cfg Config) (*Driver, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	d := &Driver{
		cfg: cfg, events: make(chan agent.TaskState, 64), done: make(chan struct{}),
		tasks: make(map[cellstate.ClaimID]*task),
	}
	if d.boot, err = bootID(); err != nil {
		return nil, fmt.Errorf("exec driver: %w", err)
	}
	for _, dir := range []string{"tasks", "logs"} {
		// Tasks of other users reach their own directories by full path, but cannot list others'.
		if err := os.MkdirAll(filepath.Join(cfg.DataDir, dir), 0o711); err != nil {
			return nil, fmt.Errorf("exec driver: %w", err)
		}
	}
	if len(cfg.Shim) == 0 {
		exe, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("exec driver: %w", err)
		}
		d.cfg.Shim = findShim(filepath.Dir(exe), cfg.DataDir, cfg.Log)
	}
	if cfg.Unconfined {
		cfg.Log.Warn("tasks run unconfined: no namespaces, no cgroups, no limits")
		return d, nil
	}
	if err := d.probe(); err != nil {
		_ = d.removeGroups() // they are in use where another driver of this host runs tasks
		return nil, fmt.Errorf("exec driver: %w", err)
	}
	d.groups = group(cfg.CgroupRoot).dirs()
	return d, nil
}

// probe does once all that starting a confined task needs the host's permission for.
func (d *Driver) probe() error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("confined tasks need the agent to be root, not user %d", os.Geteuid())
	}
	if cgroups.Mode() == cgroups.Unavailable {
		return fmt.Errorf("confined tasks need cgroups mounted at %s", cgroupMount)
	}
	g := group(filepath.Join(d.cfg.CgroupRoot, fmt.Sprintf("probe-%d", os.Getpid())))
	if err := g.create(limits{CPUMilli: 1000, MemBytes: 64 << 20, PIDs: 64}); err != nil {
		return fmt.Errorf("confined tasks need writable cgroups: %w", err)
	}
	if err := errors.Join(g.remove(), d.shims().create(limits{})); err != nil {
		return err
	}
	argv := append(append([]string(nil), d.cfg.Shim...), shim.ProbeCommand, shim.Protocol)
	p, err := os.StartProcess(argv[0], argv, &os.ProcAttr{
		Dir: "/", Env: shimEnv(), Files: []*os.File{nil, nil, nil},
		Sys: &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWIPC},
	})
	if err != nil {
		return fmt.Errorf("confined tasks need to make PID, mount and IPC namespaces (CAP_SYS_ADMIN), by %q: %w", argv, err)
	}
	if ps, err := p.Wait(); err != nil || !ps.Success() {
		return fmt.Errorf("the shim %q does not work: %v %v", argv, ps, err)
	}
	return nil
}

// Name returns "exec".
func (d *Driver) Name() string { return "exec" }

// Events carries every end of a task that Recover did not return as ended.
func (d *Driver) Events() <-chan agent.TaskState { return d.events }

// Close ends the driver's goroutines. Tasks go on. Where there are none, the driver's cgroups go too.
func (d *Driver) Close() error {
	d.mu.Lock()
	select {
	case <-d.done:
		d.mu.Unlock()
		return nil
	default:
	}
	close(d.done)
	for _, t := range d.tasks {
		if !t.busy && t.shim != nil {
			t.shim.Close()
		}
	}
	idle := len(d.tasks) == 0
	d.mu.Unlock()
	d.wg.Wait()
	if idle && !d.cfg.Unconfined {
		_ = d.removeGroups() // another driver of the same root may have tasks in them
	}
	return nil
}

// Stop tells the task's shim to stop it, which it does even if this process ends now.
func (d *Driver) Stop(_ context.Context, id cellstate.ClaimID) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.tasks[id]
	if t == nil || t.busy || t.shim == nil || t.state.Phase == cellstate.PhaseEnded {
		return nil
	}
	err := withFD(t.shim, func(fd int) error { return unix.PidfdSendSignal(fd, unix.SIGTERM, nil, 0) })
	if err != nil && !errors.Is(err, unix.ESRCH) { // ESRCH: it has ended; the event is on its way
		return fmt.Errorf("stop task %s: %w", id, err)
	}
	t.state.Phase = cellstate.PhaseStopping
	return nil
}

// Forget clears away what is left of a task that has ended. One that the driver does not know is no error.
func (d *Driver) Forget(ctx context.Context, id cellstate.ClaimID) error {
	d.mu.Lock()
	t := d.tasks[id]
	if t == nil {
		d.mu.Unlock()
		return nil
	}
	if t.busy || t.state.Phase != cellstate.PhaseEnded {
		d.mu.Unlock()
		return fmt.Errorf("forget task %s: it has not ended: %w", id, cellstate.ErrInvalid)
	}
	t.busy = true
	d.mu.Unlock()

	err := t.clear(ctx)

	d.mu.Lock()
	defer d.mu.Unlock()
	t.busy = false
	if err != nil {
		return fmt.Errorf("forget task %s: %w", id, err)
	}
	delete(d.tasks, id)
	return nil
}

// clear removes the task's cgroup and directory (I11). It can be repeated.
func (t *task) clear(ctx context.Context) error {
	if t.group != "" {
		if err := t.group.dirs().Kill(ctx); err != nil {
			return err
		}
		if err := t.group.remove(); err != nil {
			return err
		}
	}
	// The specification goes last: while it is there, a restarted driver knows what to clear.
	entries, err := os.ReadDir(string(t.dir))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if p := filepath.Join(string(t.dir), e.Name()); p != t.dir.Spec() {
			if err := os.RemoveAll(p); err != nil {
				return err
			}
		}
	}
	return os.RemoveAll(string(t.dir))
}

// withFD calls f with the file's descriptor, which stays open meanwhile.
func withFD(file *os.File, f func(fd int) error) error {
	rc, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := rc.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return err
	}
	return inner
}
