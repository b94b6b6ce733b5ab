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
	osexec "os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/google/renameio/v2"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/omegacell/omegacell/agent"
	"github.com/omegacell/omegacell/agent/exec/shim"
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
	var st shim.State
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
	k := &task{dir: shim.Dir(filepath.Join(d.cfg.DataDir, "tasks", leaf(id))), log: d.logDir(id)}
	if !d.cfg.Unconfined {
		k.group = group(filepath.Join(d.cfg.CgroupRoot, leaf(id)))
	}
	return k
}

// specOf makes the shim's specification of a task and checks what can be checked before anything is made.
func (d *Driver) specOf(t agent.Task, k *task) (*shim.Spec, error) {
	s := &shim.Spec{
		ID: t.ID.String(), Restart: t.Restart, Argv: t.Spec.Command, Dir: t.Spec.Dir, StopGrace: t.Spec.StopGrace,
		LogDir: k.log, LogBytes: t.Spec.Logs.MaxBytes, LogFiles: int(t.Spec.Logs.Files),
		Cgroup: string(k.group), Unconfined: d.cfg.Unconfined, Shim: d.cfg.Shim,
	}
	bad := func(format string, args ...any) (*shim.Spec, error) {
		return nil, fmt.Errorf(format+": %w", append(args, cellstate.ErrInvalid)...)
	}
	if len(s.Argv) == 0 || s.Argv[0] == "" {
		return bad("no command")
	}
	if s.Dir == "" {
		s.Dir = k.dir.Work()
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
func environment(given map[string]string, as *shim.Account, dir string) []string {
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
func lookupUser(name string) (*shim.Account, error) {
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
	a := &shim.Account{Home: u.HomeDir}
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

// launch starts the task's shim, makes the task's directories and cgroup and waits until the task runs. On an error nothing
// is left.
func (d *Driver) launch(ctx context.Context, k *task, s *shim.Spec, l limits) (st shim.State, err error) {
	if err := os.Mkdir(string(k.dir), 0o711); err != nil {
		if errors.Is(err, fs.ErrExist) {
			err = fmt.Errorf("%w: something of it is left that was not recovered", err)
		}
		return shim.State{}, err
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
	c, err := d.startShim(k)
	if err != nil {
		return shim.State{}, err
	}
	defer c.hangUp()
	// The shim comes up while the rest is made. Until it is told to go on it does nothing, and ends if this process does.
	if err = d.prepare(k, s, l); err == nil {
		st, err = d.handshake(ctx, k, c)
	}
	if err != nil {
		_ = syscall.Kill(c.pid, syscall.SIGKILL)
		_, _ = syscall.Wait4(c.pid, nil, 0, nil)
		return shim.State{}, errors.Join(err, d.killRest(context.Background(), k))
	}
	return st, nil
}

// prepare makes what the shim finds when it goes on.
func (d *Driver) prepare(k *task, s *shim.Spec, l limits) error {
	if err := d.makeDirs(k, s); err != nil {
		return err
	}
	if !s.Unconfined {
		s.Groups = d.groups.Sub(filepath.Base(string(k.group)))
		s.Throttle = l.throttle(s.Groups)
	}
	if err := shim.WriteRecord(k.dir.Spec(), s); err != nil {
		return err
	}
	if s.Unconfined {
		return nil
	}
	return k.group.create(l)
}

func (d *Driver) makeDirs(k *task, s *shim.Spec) error {
	d.logs.RLock()
	defer d.logs.RUnlock()
	if err := os.MkdirAll(k.log, 0o711); err != nil {
		return err
	}
	// Made now, so that they are there, in whatever the task writes first, and are not swept.
	for _, name := range shim.Outputs() {
		f, err := os.OpenFile(filepath.Join(k.log, name), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
		if err != nil {
			return err
		}
		f.Close()
	}
	for _, dir := range []string{k.dir.Root(), k.dir.Work()} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	if s.User != nil {
		return os.Chown(k.dir.Work(), s.User.UID, s.User.GID)
	}
	return nil
}

// shimEnv keeps the shim small: it has next to nothing to do.
func shimEnv() []string {
	return []string{"GOMAXPROCS=1", "GOGC=10", "GODEBUG=containermaxprocs=0,updatemaxprocs=0", "PATH=" + defaultPath}
}

// RunShim is the hidden subcommand of the agent's binary that runs a task. It returns the exit code.
func RunShim(args []string) int { return shim.Run(args) }

// findShim returns the argv of the shim to use: cellshim beside the running binary if it is of the same make, for it starts in a
// fraction of the time and memory; else the running binary itself. What is used is a copy in the data directory, so that it
// stays what it is while the one beside the binary is replaced by a newer one.
func findShim(binaries, dataDir string, log *zap.Logger) []string {
	self := []string{"/proc/self/exe", "shim"}
	beside := filepath.Join(binaries, "cellshim")
	content, err := os.ReadFile(beside)
	if errors.Is(err, fs.ErrNotExist) {
		return self
	}
	small := filepath.Join(dataDir, "cellshim")
	var out []byte
	if err == nil {
		err = renameio.WriteFile(small, content, 0o755, renameio.WithTempDir(dataDir))
	}
	if err == nil {
		out, err = osexec.Command(small, shim.ProbeCommand, shim.Protocol).CombinedOutput()
	}
	if err != nil {
		log.Warn("cellshim is not used", zap.String("path", beside), zap.Error(err), zap.ByteString("output", out))
		return self
	}
	return []string{small}
}

// child is a shim that was started, and the pipes to and from it.
type child struct {
	pid      int
	to, from *os.File
}

func (c *child) hangUp() {
	c.to.Close()
	c.from.Close()
}

// startShim starts the shim, which waits.
func (d *Driver) startShim(k *task) (*child, error) {
	var theirs [3]*os.File // its descriptors 0, 1 and 2
	c := new(child)
	var errs [3]error
	theirs[0], c.to, errs[0] = os.Pipe()
	c.from, theirs[1], errs[1] = os.Pipe()
	theirs[2], errs[2] = os.OpenFile(k.dir.Log(), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	err := errors.Join(errs[:]...)
	if err == nil {
		err = shim.CloseOnExec()
	}
	if err == nil {
		// Out of the agent's own groups, so that stopping its service does not reach the shim.
		argv := append(append([]string(nil), d.cfg.Shim...), shim.TaskCommand, string(k.dir))
		c.pid, err = d.groups.Sub(shims).Spawn(argv, &syscall.ProcAttr{
			Dir: "/", Env: shimEnv(), Files: []uintptr{theirs[0].Fd(), theirs[1].Fd(), theirs[2].Fd()},
			Sys: &syscall.SysProcAttr{Setsid: true},
		})
	}
	for _, f := range theirs {
		f.Close() // of a nil file it does nothing
	}
	if err != nil {
		c.hangUp()
		return nil, fmt.Errorf("start the shim: %w", err)
	}
	return c, nil
}

// handshake records the shim, lets it go on, and takes its answer.
func (d *Driver) handshake(ctx context.Context, k *task, c *child) (shim.State, error) {
	who, err := shim.ProcessOf(c.pid)
	if err != nil {
		return shim.State{}, err
	}
	if k.shim, err = openPidfd(c.pid); err != nil {
		return shim.State{}, err
	}
	if err := shim.WriteRecord(k.dir.State(), shim.State{Boot: d.boot, Shim: who}); err != nil {
		return shim.State{}, err
	}
	if _, err := c.to.Write([]byte{'g'}); err != nil {
		return shim.State{}, fmt.Errorf("the shim has ended: %s", k.shimSaid())
	}
	cancelled := context.AfterFunc(ctx, func() { _ = c.from.SetReadDeadline(time.Unix(1, 0)) })
	defer cancelled()
	b, err := io.ReadAll(io.LimitReader(c.from, 1<<20))
	if err != nil {
		return shim.State{}, errors.Join(ctx.Err(), err)
	}
	var a shim.Answer
	if err := json.Unmarshal(bytes.TrimSpace(b), &a); err != nil {
		return shim.State{}, fmt.Errorf("the shim has ended: %s", k.shimSaid())
	}
	if a.Error != "" {
		return shim.State{}, errors.New(a.Error)
	}
	return a.State, nil
}

// shims is the name of the group of all shims.
const shims = "shims"

func (d *Driver) shims() group { return group(filepath.Join(d.cfg.CgroupRoot, shims)) }

// shimSaid returns the end of what the shim wrote on its standard error.
func (k *task) shimSaid() string {
	b, _ := os.ReadFile(k.dir.Log())
	return strings.TrimSpace(string(b[max(0, len(b)-2000):]))
}
