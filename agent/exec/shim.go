package exec

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omegacell/omegacell/cellstate"
)

// The shim's subcommands, the first of its arguments.
const (
	shimTask  = "task"  // DIR: run the task of DIR; one for each task
	shimInit  = "init"  // DIR: become the task of DIR, inside its namespaces
	shimEnter = "enter" // DIR: run a command beside the task of DIR
	shimProbe = "probe" // end at once: namespaces can be made
)

// RunShim is the hidden subcommand of the agent's binary that runs a task. It returns the exit code.
func RunShim(args []string) int {
	err := closeOnExec()
	switch {
	case err != nil:
	case len(args) == 1 && args[0] == shimProbe:
	case len(args) == 2 && args[0] == shimTask:
		err = runTask(taskDir(args[1]))
	case len(args) == 2 && args[0] == shimInit:
		err = becomeTask(taskDir(args[1]))
	case len(args) == 2 && args[0] == shimEnter:
		return enterTask(taskDir(args[1]))
	default:
		err = errors.New("started by hand; it is for the agent alone")
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "shim: %v\n", err)
		return 1
	}
	return 0
}

// answer is what the shim tells the driver on its standard output, once, when the task runs or could not be started.
type answer struct {
	State state
	Error string
}

// shim is one task's keeper.
type shim struct {
	dir      taskDir
	spec     spec
	state    state
	init     *os.Process
	ended    chan *os.ProcessState
	stopping bool
	overdue  bool // its grace ran out
	byUs     bool // ended in the place of a stop signal that the kernel keeps from PID 1
}

// runTask waits for one byte on standard input, which says that the driver has recorded this process: without it, when the
// agent died, nothing is started.
func runTask(dir taskDir) error {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	// The shim stays when its terminal ends, and a caught signal, unlike an ignored one, is not passed on to the task.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGPIPE,
		syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU)
	if n, _ := os.Stdin.Read(make([]byte, 1)); n != 1 {
		return nil
	}
	s := &shim{dir: dir, ended: make(chan *os.ProcessState, 1)}
	if err := s.start(); err != nil {
		r := result{Outcome: cellstate.OutcomeFailed, Message: err.Error(), EndedAt: cellstate.InstantOf(time.Now())}
		return errors.Join(writeRecord(dir.result(), r), json.NewEncoder(os.Stdout).Encode(answer{Error: err.Error()}))
	}
	_ = json.NewEncoder(os.Stdout).Encode(answer{State: s.state}) // an agent that died meanwhile finds it on disk
	if err := detach(); err != nil {
		return err
	}
	output := &rotation{dir: s.spec.LogDir, limit: s.spec.LogBytes, keep: s.spec.LogFiles}
	go output.run()
	debug.FreeOSMemory()
	return s.keep(stop, output)
}

// detach closes the pipes to the driver.
func detach() error {
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(null)
	return errors.Join(unix.Dup3(null, 0, 0), unix.Dup3(null, 1, 0))
}

// keep waits for the task's end, or for being told to bring it about.
func (s *shim) keep(stop <-chan os.Signal, output *rotation) error {
	var grace <-chan time.Time
	for {
		select {
		case <-stop:
			if s.stopping {
				continue
			}
			s.stopping, s.state.Stopping = true, true
			if err := writeRecord(s.dir.state(), s.state); err != nil {
				fmt.Fprintf(os.Stderr, "shim: %v\n", err)
			}
			s.stop()
			grace = time.After(s.spec.StopGrace)
		case <-grace:
			s.overdue = true
			s.kill()
		case ps := <-s.ended:
			output.mu.Lock() // for good: no file is left half rotated
			return s.finish(ps)
		}
	}
}

// stop sends the stop signal. The kernel keeps it from PID 1 where that neither handles, blocks nor ignores it; any other
// process would end by it, so the task does.
func (s *shim) stop() {
	sig := syscall.Signal(s.spec.StopSignal)
	s.byUs = !s.spec.Unconfined && endsByDefault(s.state.Task.PID, sig)
	_ = s.init.Signal(sig) // it may have ended
	if s.byUs {
		s.kill()
	}
}

// kill ends the task and all that it started.
func (s *shim) kill() {
	_ = s.init.Signal(syscall.SIGKILL)
	if s.spec.Unconfined {
		_ = syscall.Kill(-s.state.Task.PID, syscall.SIGKILL)
	}
}

// finish records the end, after nothing of the task is left.
func (s *shim) finish(ps *os.ProcessState) error {
	var err error
	r := s.judge(ps.Sys().(syscall.WaitStatus))
	if s.spec.Unconfined {
		killOrphans()
	} else {
		// The end of a PID namespace's init ends all in it; there may be a health check that has just joined.
		err = group(s.spec.Cgroup).kill(context.Background())
	}
	r.EndedAt = cellstate.InstantOf(time.Now())
	return errors.Join(err, writeRecord(s.dir.result(), r))
}

// judge says how the task ended.
func (s *shim) judge(ws syscall.WaitStatus) result {
	var r result
	if ws.Signaled() {
		r.Outcome, r.Signal = cellstate.OutcomeSignaled, int32(ws.Signal())
		r.Message = "ended by " + unix.SignalName(ws.Signal())
	} else {
		r.Outcome, r.ExitCode = cellstate.OutcomeExited, int32(ws.ExitStatus())
	}
	// A shell passes a child's SIGKILL on as 128+9.
	bySIGKILL := r.Signal == int32(syscall.SIGKILL) || r.ExitCode == 128+int32(syscall.SIGKILL)
	switch {
	case s.stopping:
		r.Outcome, r.Message = cellstate.OutcomeStopped, ""
		if s.byUs && ws.Signaled() {
			r.Signal = int32(s.spec.StopSignal)
		} else if s.overdue && ws.Signaled() {
			r.Message = "killed " + s.spec.StopGrace.String() + " after the stop signal"
		}
	case bySIGKILL && !s.spec.Unconfined && group(s.spec.Cgroup).oomKills() > 0:
		r.Outcome, r.Message = cellstate.OutcomeOOM, "ended by the kernel at its memory limit"
	}
	return r
}
