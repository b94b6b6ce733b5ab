package shim

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
	TaskCommand  = "task"  // DIR: run the task of DIR; one for each task
	initCommand  = "init"  // DIR: become the task of DIR, inside its namespaces
	EnterCommand = "enter" // DIR: run a command beside the task of DIR
	ProbeCommand = "probe" // PROTOCOL: end at once, without an error if the shim speaks that
)

// Protocol names what driver and shim say to each other, in arguments, pipes and records. It changes with any of that.
const Protocol = "2"

// Run is the shim: it does what its arguments say and returns the exit code.
func Run(args []string) int {
	err := CloseOnExec()
	switch {
	case err != nil:
	case len(args) == 2 && args[0] == ProbeCommand && args[1] == Protocol:
	case len(args) == 2 && args[0] == TaskCommand:
		err = runTask(Dir(args[1]))
	case len(args) == 2 && args[0] == initCommand:
		err = becomeTask(Dir(args[1]))
	case len(args) == 2 && args[0] == EnterCommand:
		return enterTask(Dir(args[1]))
	default:
		err = errors.New("started by hand, or by another version of the agent; it is for the agent alone")
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "shim: %v\n", err)
		return 1
	}
	return 0
}

// Answer is what the shim tells the driver on its standard output, once, when the task runs or could not be started.
type Answer struct {
	State State
	Error string
}

// shim is one task's keeper.
type shim struct {
	dir      Dir
	spec     Spec
	state    State
	stop     chan os.Signal
	task     int // pidfd of its first process
	ended    chan syscall.WaitStatus
	stopping bool
	overdue  bool // its grace ran out
	byUs     bool // ended in the place of a stop signal that the kernel keeps from PID 1
}

// runTask waits for one byte on standard input, which says that the driver has recorded this process: without it, when the
// agent died, nothing is started.
func runTask(dir Dir) error {
	if n, _ := os.Stdin.Read(make([]byte, 1)); n != 1 {
		return nil
	}
	s := &shim{dir: dir, stop: make(chan os.Signal, 1), ended: make(chan syscall.WaitStatus, 1)}
	if err := s.start(); err != nil {
		r := Result{Outcome: cellstate.OutcomeFailed, Message: err.Error(), EndedAt: cellstate.InstantOf(time.Now())}
		return errors.Join(KeepRecord(dir.Result(), r), json.NewEncoder(os.Stdout).Encode(Answer{Error: err.Error()}))
	}
	_ = json.NewEncoder(os.Stdout).Encode(Answer{State: s.state}) // an agent that died meanwhile finds it on disk
	if err := detach(); err != nil {
		return err
	}
	output := &rotation{dir: s.spec.LogDir, limit: s.spec.LogBytes, keep: s.spec.LogFiles}
	go output.run()
	debug.FreeOSMemory()
	return s.keep(output)
}

// catch has SIGTERM tell the shim to stop the task. It stays when its terminal ends, and a caught signal, unlike an ignored
// one, is not passed on to the task.
func (s *shim) catch() {
	signal.Notify(s.stop, syscall.SIGTERM)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGPIPE,
		syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU)
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
func (s *shim) keep(output *rotation) error {
	var grace <-chan time.Time
	for {
		select {
		case <-s.stop:
			if s.stopping {
				continue
			}
			s.stopping, s.state.Stopping = true, true
			if err := KeepRecord(s.dir.State(), s.state); err != nil {
				fmt.Fprintf(os.Stderr, "shim: %v\n", err)
			}
			s.end()
			grace = time.After(s.spec.StopGrace)
		case <-grace:
			s.overdue = true
			s.kill()
		case ws := <-s.ended:
			output.mu.Lock() // for good: no file is left half rotated
			return s.finish(ws)
		}
	}
}

// end sends the stop signal. The kernel keeps it from PID 1 where that neither handles, blocks nor ignores it; any other
// process would end by it, so the task does.
func (s *shim) end() {
	sig := syscall.Signal(s.spec.StopSignal)
	s.byUs = !s.spec.Unconfined && endsByDefault(s.state.Task.PID, sig)
	s.signal(sig)
	if s.byUs {
		s.kill()
	}
}

// signal signals the task's first process, which may have ended.
func (s *shim) signal(sig syscall.Signal) { _ = unix.PidfdSendSignal(s.task, sig, nil, 0) }

// kill ends the task and all that it started.
func (s *shim) kill() {
	s.signal(syscall.SIGKILL)
	if s.spec.Unconfined {
		_ = syscall.Kill(-s.state.Task.PID, syscall.SIGKILL)
	}
}

// finish records the end, after nothing of the task is left.
func (s *shim) finish(ws syscall.WaitStatus) error {
	var err error
	r := s.judge(ws)
	if s.spec.Unconfined {
		killOrphans()
	} else {
		// The end of a PID namespace's init ends all in it; there may be a health check that has just joined.
		err = s.spec.Groups.Kill(context.Background())
	}
	r.EndedAt = cellstate.InstantOf(time.Now())
	// The result goes last, so that it is never there without what it is about.
	return errors.Join(err, settle(s.dir.Spec()), settle(s.dir.State()), KeepRecord(s.dir.Result(), r))
}

// judge says how the task ended.
func (s *shim) judge(ws syscall.WaitStatus) Result {
	var r Result
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
	case bySIGKILL && !s.spec.Unconfined && s.spec.Groups.OOMKills() > 0:
		r.Outcome, r.Message = cellstate.OutcomeOOM, "ended by the kernel at its memory limit"
	}
	return r
}

// CloseOnExec keeps what this process inherited from whoever started it from what it starts itself. The descriptors that
// are meant for a child are passed on one by one.
func CloseOnExec() error {
	if err := unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("close_range (Linux 5.11): %w", err)
	}
	return nil
}
