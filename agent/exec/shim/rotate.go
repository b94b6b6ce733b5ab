package shim

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	rotationTick = 200 * time.Millisecond // between two looks at output files that grow
	rotationSlow = time.Second            // the same where the kernel gives no more inotify instances
)

// Outputs are the names of a task's output files.
func Outputs() []string { return []string{"stdout", "stderr"} }

// rotation keeps the output files of a task near its limit: a full one is copied to an older file and truncated, so that the
// task keeps the file that it has open. What it writes in the instant between the two is lost, and what it writes between
// two looks may exceed the limit.
type rotation struct {
	dir   string
	limit int64 // bytes of one file
	keep  int   // older files
	sizes [2]int64

	mu sync.Mutex // held while files change
}

// run rotates for as long as the process lives. While nothing is written it sleeps.
func (r *rotation) run() {
	var inotify *os.File
	if fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK); err == nil {
		inotify = os.NewFile(uintptr(fd), "inotify")
	}
	events := make([]byte, 1024)
	for {
		grown, err := r.look()
		if err != nil {
			fmt.Fprintf(os.Stderr, "shim: rotate output: %v\n", err)
		}
		if inotify == nil {
			time.Sleep(rotationSlow)
			continue
		}
		if !grown && r.arm(inotify) {
			// Written between the look and the arming?
			if grown, _ = r.look(); !grown {
				_, _ = inotify.Read(events)
			}
		}
		time.Sleep(rotationTick)
	}
}

// arm makes the next write to an output file an event, and only that one.
func (r *rotation) arm(inotify *os.File) bool {
	for _, name := range Outputs() {
		_, err := unix.InotifyAddWatch(int(inotify.Fd()), filepath.Join(r.dir, name), unix.IN_MODIFY|unix.IN_ONESHOT)
		if err != nil {
			return false
		}
	}
	return true
}

// look rotates what is full and reports whether anything was written since the look before.
func (r *rotation) look() (grown bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, name := range Outputs() {
		path := filepath.Join(r.dir, name)
		st, e := os.Stat(path)
		if e != nil {
			if !errors.Is(e, fs.ErrNotExist) {
				err = errors.Join(err, e)
			}
			continue
		}
		grown = grown || st.Size() != r.sizes[i]
		r.sizes[i] = st.Size()
		if st.Size() > r.limit {
			err = errors.Join(err, copyTruncate(path, r.keep))
			r.sizes[i] = 0
		}
	}
	return grown, err
}

// copyTruncate moves the content of path to path.1, what was there to path.2, and so on, and drops what is older than keep.
func copyTruncate(path string, keep int) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if keep > 0 {
		for n := keep; n > 1; n-- {
			err := os.Rename(path+"."+strconv.Itoa(n-1), path+"."+strconv.Itoa(n))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		older, err := os.OpenFile(path+".1", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
		if err != nil {
			return err
		}
		_, err = io.Copy(older, f)
		if err := errors.Join(err, older.Close()); err != nil {
			return err
		}
	}
	return f.Truncate(0)
}
