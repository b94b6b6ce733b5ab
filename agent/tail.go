package agent

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"syscall"
)

// tailer sends the content of log files that rotate by copying: the last file keeps its place, and what it held until it
// was cut is in the file before it. See [LogKeeper].
type tailer struct {
	files func() ([]string, error) // oldest first
	out   io.Writer

	offset  int64    // sent of the last file
	older   []fileID // the files before it when all up to offset was sent
	pending []fileID // another set of them, seen once: a copy may be under way
	waited  int      // looks at sets that changed each time
}

// fileID tells a file from others, and from itself when it was written again.
type fileID struct {
	inode   uint64
	size    int64
	modTime int64
}

func identify(path string) (fileID, error) {
	st, err := os.Stat(path)
	if err != nil {
		return fileID{}, err
	}
	sys, _ := st.Sys().(*syscall.Stat_t)
	return fileID{sys.Ino, st.Size(), st.ModTime().UnixNano()}, nil
}

// look lists the files and says which the older ones are.
func (t *tailer) look() (files []string, older []fileID, err error) {
	files, err = t.files()
	if err != nil || len(files) == 0 {
		return nil, nil, err
	}
	for _, f := range files[:len(files)-1] {
		id, err := identify(f)
		if err != nil {
			return nil, nil, err
		}
		older = append(older, id)
	}
	return files, older, nil
}

// begin sends the last lines of all files, or everything where lines is negative.
func (t *tailer) begin(lines int64) error {
	files, older, err := t.look()
	if err != nil {
		return err
	}
	t.older = older
	from, skip := 0, int64(0)
	if lines >= 0 {
		if from, skip, err = lastLines(files, lines); err != nil {
			return err
		}
	}
	for i := from; i < len(files); i++ {
		n, err := t.send(files[i], skip)
		if err != nil {
			return err
		}
		if t.offset, skip = skip+n, 0; i < len(files)-1 { // only the last file grows
			t.offset = 0
		}
	}
	return nil
}

// more sends what came since, and reports whether that was anything.
func (t *tailer) more() (bool, error) {
	files, older, err := t.look()
	if errors.Is(err, fs.ErrNotExist) { // renamed or removed under our eyes; the next look sees what became of it
		return false, nil
	}
	if err != nil || len(files) == 0 {
		return false, err
	}
	if !slices.Equal(older, t.older) {
		if !slices.Equal(older, t.pending) && t.waited < 5 {
			t.pending, t.waited = older, t.waited+1
			return false, nil
		}
		return true, t.rotated(files, older)
	}
	n, err := t.send(files[len(files)-1], t.offset)
	t.offset += n
	return n > 0, err
}

// unsettled reports whether a rotation was seen but not dealt with yet.
func (t *tailer) unsettled() bool { return t.pending != nil }

// rotated sends what is left of the file that was the last one, all files after it, and begins the last one anew.
func (t *tailer) rotated(files []string, older []fileID) error {
	first := 0 // the oldest one that was not there before
	if n := len(t.older); n > 0 {
		first = slices.Index(older, t.older[n-1]) + 1 // 0: as many rotations as files are kept, or more, which cannot be told
	}
	t.older, t.pending, t.waited = older, nil, 0
	for i := first; i < len(files); i++ {
		n, err := t.send(files[i], t.offset)
		if err != nil {
			return err
		}
		if t.offset += n; i < len(files)-1 {
			t.offset = 0
		}
	}
	return nil
}

// send sends a file from an offset to its end and returns how much that was.
func (t *tailer) send(path string, offset int64) (int64, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return 0, err
	}
	return io.Copy(t.out, f)
}

// lastLines says where the last n lines of the files begin: in which file, and where in it. An unfinished line counts.
func lastLines(files []string, n int64) (file int, offset int64, err error) {
	if n == 0 {
		last := len(files) - 1
		if last < 0 {
			return 0, 0, nil
		}
		st, err := os.Stat(files[last])
		if err != nil {
			return 0, 0, err
		}
		return last, st.Size(), nil
	}
	buf := make([]byte, 64<<10)
	end := true // nothing but the end is behind
	for i := len(files) - 1; i >= 0; i-- {
		f, err := os.Open(files[i])
		if err != nil {
			return 0, 0, err
		}
		defer f.Close()
		st, err := f.Stat()
		if err != nil {
			return 0, 0, err
		}
		for pos := st.Size(); pos > 0; {
			chunk := buf[:min(pos, int64(len(buf)))]
			pos -= int64(len(chunk))
			if _, err := f.ReadAt(chunk, pos); err != nil && !errors.Is(err, io.EOF) {
				return 0, 0, err
			}
			for at := len(chunk); at > 0; {
				nl := bytes.LastIndexByte(chunk[:at], '\n')
				if nl < 0 {
					end = false
					break
				}
				if !end || nl != len(chunk)-1 {
					if n--; n == 0 {
						return i, pos + int64(nl) + 1, nil
					}
				}
				end, at = false, nl
			}
		}
	}
	return 0, 0, nil
}
