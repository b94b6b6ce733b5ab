package exec

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/omegacell/omegacell/agent/exec/shim"
)

// Purge ends every task at once, without a stop signal, and removes them, their logs and the driver's cgroups: all that
// the driver ever made. It is for a cell that is to leave nothing behind. The driver is closed.
func (d *Driver) Purge(ctx context.Context) error {
	var all error
	var shims []*os.File
	d.mu.Lock()
	for _, k := range d.tasks {
		if !k.busy && k.shim != nil {
			shims = append(shims, k.shim)
			all = errors.Join(all, d.killTask(k))
		}
	}
	d.mu.Unlock()
	for _, s := range shims {
		_ = waitEnd(s) // an error: it is closed, as its end has been seen already
	}
	all = errors.Join(all, d.Close())
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, k := range d.tasks {
		if err := k.clear(ctx); err != nil {
			all = errors.Join(all, err)
			continue
		}
		delete(d.tasks, id)
	}
	for _, dir := range []string{"tasks", "logs"} {
		all = errors.Join(all, os.RemoveAll(filepath.Join(d.cfg.DataDir, dir)))
	}
	if !d.cfg.Unconfined {
		all = errors.Join(all, d.shims().dirs().Kill(ctx), d.removeGroups())
	}
	if all != nil {
		return fmt.Errorf("purge tasks: %w", all)
	}
	return nil
}

// removeGroups removes the groups that the driver itself made, and those they are in unless somebody else uses them.
func (d *Driver) removeGroups() error {
	err := d.shims().remove()
	for up := d.cfg.CgroupRoot; up != "." && up != "/"; up = filepath.Dir(up) {
		for _, dir := range group(up).dirs() {
			_ = os.Remove(dir)
		}
	}
	return err
}

// killTask kills the task; its shim sees the end, records it, and ends too.
func (d *Driver) killTask(k *task) error {
	var st shim.State
	if found, err := shim.ReadRecord(k.dir.State(), &st); err != nil || !found {
		return err
	}
	process, err := d.open(st.Task)
	if err != nil || process == nil {
		return err
	}
	defer process.Close()
	return withFD(process, func(fd int) error {
		if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
		return nil
	})
}
