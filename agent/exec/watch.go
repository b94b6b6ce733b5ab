package exec

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/omegacell/omegacell/agent"
	"github.com/omegacell/omegacell/agent/exec/shim"
	"github.com/omegacell/omegacell/cellstate"
)

// openPidfd returns a handle of a process that keeps meaning that process, and can be waited for without a thread.
func openPidfd(pid int) (*os.File, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("pidfd_open %d: %w", pid, err)
	}
	return os.NewFile(uintptr(fd), fmt.Sprintf("pidfd of %d", pid)), nil
}

// hasEnded reports whether the process of a pidfd has ended, be it reaped or not.
func hasEnded(fd int) bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	return err == nil && n > 0
}

// waitEnd returns when the process has ended, or with an error when the file is closed.
func waitEnd(pidfd *os.File) error {
	rc, err := pidfd.SyscallConn()
	if err != nil {
		return err
	}
	return rc.Read(func(fd uintptr) bool { return hasEnded(int(fd)) })
}

// watch sends the task's end to Events when its shim has ended. d.mu is held.
func (d *Driver) watch(k *task) {
	select {
	case <-d.done:
		k.shim.Close()
		return
	default:
	}
	d.wg.Add(1)
	go func() {
		defer d.wg.Done()
		if err := waitEnd(k.shim); err != nil {
			return // closed
		}
		d.mu.Lock()
		st := k.state
		d.mu.Unlock()
		reap(k.shim)
		ctx, cancel := d.context()
		defer cancel()
		r, err := d.outcome(ctx, k)
		if err != nil {
			// Unable to read or to write its own disk, or to kill. Reporting an end now could make two of the task (I3).
			d.cfg.Log.Error("a task's end cannot be established; restart the agent when that is mended",
				zap.Stringer("claim", st.ID), zap.Error(err))
			return
		}
		d.mu.Lock()
		k.state = ended(st, r)
		k.shim.Close()
		k.shim = nil
		st = k.state
		d.mu.Unlock()
		select {
		case d.events <- st:
		case <-d.done:
		}
	}()
}

// context ends when the driver is closed.
func (d *Driver) context() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		select {
		case <-d.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// reap takes the exit status of a shim that is this process's own child.
func reap(pidfd *os.File) {
	_ = withFD(pidfd, func(fd int) error {
		return unix.Waitid(unix.P_PIDFD, fd, nil, unix.WEXITED|unix.WNOHANG, nil)
	})
}

// outcome returns how a task ended whose shim is gone. If the shim did not say, what is left of the task is killed first.
func (d *Driver) outcome(ctx context.Context, k *task) (shim.Result, error) {
	var r shim.Result
	found, err := shim.ReadRecord(k.dir.Result(), &r)
	if err != nil || found {
		return r, err
	}
	if err := d.killRest(ctx, k); err != nil {
		return r, err
	}
	r = shim.Result{
		Outcome: cellstate.OutcomeLost, EndedAt: cellstate.InstantOf(d.cfg.Now()),
		Message: "its shim is gone and nobody saw how it ended",
	}
	if said := k.shimSaid(); said != "" {
		r.Message += ": " + said
	}
	return r, shim.KeepRecord(k.dir.Result(), r)
}

// killRest ends what a lost shim left of its task.
func (d *Driver) killRest(ctx context.Context, k *task) error {
	if k.group != "" {
		return k.group.dirs().Kill(ctx)
	}
	var st shim.State
	if _, err := shim.ReadRecord(k.dir.State(), &st); err != nil || st.Task.PID == 0 || st.Boot != d.boot {
		return err
	}
	pidfd, err := d.open(st.Task)
	if err != nil || pidfd == nil {
		return err
	}
	defer pidfd.Close()
	_ = syscall.Kill(-st.Task.PID, syscall.SIGKILL) // its process group; unconfined, more cannot be known
	return waitEnd(pidfd)
}

// open returns a handle of exactly that process, or nil if it has ended.
func (d *Driver) open(p shim.Process) (*os.File, error) {
	f, err := openPidfd(p.PID)
	if errors.Is(err, unix.ESRCH) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	// With the handle open the PID cannot change hands: what /proc says now is about the handle's process.
	now, err := shim.ProcessOf(p.PID)
	gone := err != nil || now != p
	_ = withFD(f, func(fd int) error { gone = gone || hasEnded(fd); return nil })
	if gone {
		f.Close()
		return nil, nil
	}
	return f, nil
}

func ended(st agent.TaskState, r shim.Result) agent.TaskState {
	st.Phase, st.PID = cellstate.PhaseEnded, 0
	st.Outcome, st.ExitCode, st.Signal, st.Message, st.EndedAt = r.Outcome, r.ExitCode, r.Signal, r.Message, r.EndedAt
	return st
}
