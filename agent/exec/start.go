package exec

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/omegacell/omegacell/agent"
	"github.com/omegacell/omegacell/cellstate"
)

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Start starts one incarnation of a task and returns once its command has been executed. What is left of an earlier
// incarnation that has ended is cleared away first. The end of a short task may be among the Events before Start returns.
func (d *Driver) Start(ctx context.Context, t agent.Task) (agent.TaskState, error) {
	fail := func(err error) (agent.TaskState, error) {
		return agent.TaskState{}, fmt.Errorf("start task %s: %w", t.ID, err)
	}
	k := d.newTask(t.ID)
	s, err := d.specOf(t, k)
	if err != nil {
		return fail(err)
	}
	k.busy = true
	d.mu.Lock()
	old := d.tasks[t.ID]
	if old != nil && (old.busy || old.state.Phase != cellstate.PhaseEnded) {
		d.mu.Unlock()
		return fail(fmt.Errorf("it runs already: %w", cellstate.ErrInvalid))
	}
	d.tasks[t.ID] = k
	d.mu.Unlock()

	if old != nil {
		err = old.clear(ctx)
	}
	var st state
	if err == nil {
		st, err = d.launch(ctx, k, s, limits{t.Resources.CPUMilli, t.Resources.MemBytes, d.cfg.MaxPIDs})
	}

	d.mu.Lock()
	defer d.mu.Unlock()
	k.busy = false
	if err != nil {
		delete(d.tasks, t.ID)
		return fail(err)
	}
	k.state = agent.TaskState{
		ID: t.ID, Restart: t.Restart, Phase: cellstate.PhaseRunning, PID: int32(st.Task.PID), StartedAt: st.StartedAt,
	}
	d.watch(k)
	return k.state, nil
}

func (d *Driver) newTask(id cellstate.ClaimID) *task {
	k := &task{dir: taskDir(filepath.Join(d.cfg.DataDir, "tasks", leaf(id))), log: d.logDir(id)}
	if !d.cfg.Unconfined {
		k.group = group(filepath.Join(d.cfg.CgroupRoot, leaf(id)))
	}
	return k
}

// specOf makes the shim's specification of a task and checks what can be checked before anything is made.
func (d *Driver) specOf(t agent.Task, k *task) (*spec, error) {
	s := &spec{
		ID: t.ID.String(), Restart: t.Restart, Argv: t.Spec.Command, Dir: t.Spec.Dir, StopGrace: t.Spec.StopGrace,
		LogDir: k.log, LogBytes: t.Spec.Logs.MaxBytes, LogFiles: int(t.Spec.Logs.Files),
		Cgroup: string(k.group), Unconfined: d.cfg.Unconfined, Shim: d.cfg.Shim,
	}
	bad := func(format string, args ...any) (*spec, error) {
		return nil, fmt.Errorf(format+": %w", append(args, cellstate.ErrInvalid)...)
	}
	if len(s.Argv) == 0 || s.Argv[0] == "" {
		return bad("no command")
	}
	if s.Dir == "" {
		s.Dir = k.dir.work()
	} else if !filepath.IsAbs(s.Dir) {
		return bad("working directory %q is not an absolute path", s.Dir)
	}
	if s.StopGrace == 0 {
		s.StopGrace = 10 * time.Second
	}
	if s.LogBytes == 0 {
		s.LogBytes, s.LogFiles = 10<<20, 2
	}
	name := t.Spec.StopSignal
	if name == "" {
		name = "SIGTERM"
	}
	if s.StopSignal = int(unix.SignalNum(name)); s.StopSignal == 0 {
		return bad("stop signal %q is not a name such as SIGTERM", name)
	}
	if t.Spec.User != "" {
		a, err := lookupUser(t.Spec.User)
		if err != nil {
			return bad("user: %v", err)
		}
		s.User = a
	}
	for name := range t.Env {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.Contains(t.Env[name], "\x00") {
			return bad("environment variable %q", name)
		}
	}
	s.Env = environment(t.Env, s.User, s.Dir)
	return s, nil
}

// environment returns what a task is given: what the agent says, and what programs cannot do without.
func environment(given map[string]string, as *account, dir string) []string {
	home := dir
	if as != nil && as.Home != "" {
		home = as.Home
	}
	all := map[string]string{"PATH": defaultPath, "HOME": home}
	for name, v := range given {
		all[name] = v
	}
	// A checkpoint knows no MPTCP, with which Go programs listen by default since Go 1.24.
	if v := all["GODEBUG"]; v == "" {
		all["GODEBUG"] = "multipathtcp=0"
	} else if !strings.Contains(v, "multipathtcp=") {
		all["GODEBUG"] = v + ",multipathtcp=0"
	}
	env := make([]string, 0, len(all))
	for name, v := range all {
		env = append(env, name+"="+v)
	}
	slices.Sort(env)
	return env
}

// lookupUser finds an account by name or number.
func lookupUser(name string) (*account, error) {
	u, err := user.Lookup(name)
	if err != nil {
		var byID error
		if u, byID = user.LookupId(name); byID != nil {
			return nil, err
		}
	}
	ids, err := u.GroupIds()
	if err != nil {
		return nil, err
	}
	a := &account{Home: u.HomeDir}
	var errs [2]error
	a.UID, errs[0] = strconv.Atoi(u.Uid)
	a.GID, errs[1] = strconv.Atoi(u.Gid)
	for _, id := range ids {
		if g, err := strconv.Atoi(id); err == nil {
			a.Groups = append(a.Groups, g)
		}
	}
	return a, errors.Join(errs[:]...)
}

// launch makes the task's directories and cgroup, starts its shim and waits until the task runs. On an error nothing is left.
func (d *Driver) launch(ctx context.Context, k *task, s *spec, l limits) (st state, err error) {
	if err := os.Mkdir(string(k.dir), 0o711); err != nil {
		if errors.Is(err, fs.ErrExist) {
			err = fmt.Errorf("%w: something of it is left that was not recovered", err)
		}
		return state{}, err
	}
	defer func() {
		if err != nil {
			if k.shim != nil {
				k.shim.Close()
				k.shim = nil
			}
			// Not ctx: that may be what ended it, and the cgroup must go all the same.
			if e := k.clear(context.Background()); e != nil {
				d.cfg.Log.Error("clear away a task that did not start", zap.String("claim", s.ID), zap.Error(e))
			}
			d.dropEmptyLogs(k.log)
		}
	}()
	if err := d.makeDirs(k, s); err != nil {
		return state{}, err
	}
	if err := writeRecord(k.dir.spec(), s); err != nil {
		return state{}, err
	}
	if !s.Unconfined {
		if err := k.group.create(l); err != nil {
			return state{}, err
		}
	}
	return d.startShim(ctx, k)
}

func (d *Driver) makeDirs(k *task, s *spec) error {
	d.logs.RLock()
	defer d.logs.RUnlock()
	if err := os.MkdirAll(k.log, 0o711); err != nil {
		return err
	}
	// Made now, so that they are there, in whatever the task writes first, and are not swept.
	for _, name := range outputs() {
		f, err := os.OpenFile(filepath.Join(k.log, name), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
		if err != nil {
			return err
		}
		f.Close()
	}
	for _, dir := range []string{k.dir.root(), k.dir.work()} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	if s.User != nil {
		return os.Chown(k.dir.work(), s.User.UID, s.User.GID)
	}
	return nil
}

// shimEnv keeps the shim small: it has next to nothing to do.
func shimEnv() []string {
	return []string{"GOMAXPROCS=1", "GOGC=10", "PATH=" + defaultPath}
}

// startShim starts the shim, records it, lets it go on, and takes its answer.
func (d *Driver) startShim(ctx context.Context, k *task) (state, error) {
	var files [5]*os.File // to and from the shim: each pipe's two ends, and its log
	defer func() {
		for _, f := range files {
			if f != nil {
				f.Close()
			}
		}
	}()
	var errs [3]error
	files[0], files[1], errs[0] = os.Pipe()
	files[2], files[3], errs[1] = os.Pipe()
	files[4], errs[2] = os.OpenFile(k.dir.shimLog(), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err := errors.Join(errs[:]...); err != nil {
		return state{}, err
	}
	if err := closeOnExec(); err != nil {
		return state{}, err
	}
	argv := append(append([]string(nil), d.cfg.Shim...), shimTask, string(k.dir))
	p, err := os.StartProcess(argv[0], argv, &os.ProcAttr{
		Dir: "/", Env: shimEnv(), Files: []*os.File{files[0], files[3], files[4]}, Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return state{}, fmt.Errorf("start the shim: %w", err)
	}
	files[0].Close()
	files[3].Close()
	st, err := d.handshake(ctx, k, p, files[1], files[2])
	if err != nil {
		_ = p.Kill()
		_, _ = p.Wait()
		return state{}, errors.Join(err, d.killRest(context.Background(), k))
	}
	return st, p.Release()
}

func (d *Driver) handshake(ctx context.Context, k *task, p *os.Process, to, from *os.File) (state, error) {
	who, err := processOf(p.Pid)
	if err != nil {
		return state{}, err
	}
	if k.shim, err = openPidfd(p.Pid); err != nil {
		return state{}, err
	}
	if !d.cfg.Unconfined {
		// Out of the agent's own groups, so that stopping its service does not reach the shim.
		if err := d.shims().add(p.Pid); err != nil {
			return state{}, err
		}
	}
	if err := writeRecord(k.dir.state(), state{Boot: d.boot, Shim: who}); err != nil {
		return state{}, err
	}
	if _, err := to.Write([]byte{'g'}); err != nil {
		return state{}, fmt.Errorf("the shim has ended: %s", k.shimSaid())
	}
	cancelled := context.AfterFunc(ctx, func() { _ = from.SetReadDeadline(time.Unix(1, 0)) })
	defer cancelled()
	b, err := io.ReadAll(io.LimitReader(from, 1<<20))
	if err != nil {
		return state{}, errors.Join(ctx.Err(), err)
	}
	var a answer
	if err := json.Unmarshal(bytes.TrimSpace(b), &a); err != nil {
		return state{}, fmt.Errorf("the shim has ended: %s", k.shimSaid())
	}
	if a.Error != "" {
		return state{}, errors.New(a.Error)
	}
	return a.State, nil
}

// closeOnExec keeps what this process inherited from whoever started it from what it starts itself. The descriptors that
// are meant for a child are passed on one by one.
func closeOnExec() error {
	if err := unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("close_range (Linux 5.11): %w", err)
	}
	return nil
}

// shims is the group of all shims.
func (d *Driver) shims() group { return group(filepath.Join(d.cfg.CgroupRoot, "shims")) }

// shimSaid returns the end of what the shim wrote on its standard error.
func (k *task) shimSaid() string {
	b, _ := os.ReadFile(k.dir.shimLog())
	return strings.TrimSpace(string(b[max(0, len(b)-2000):]))
}
