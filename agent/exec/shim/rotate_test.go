package shim

import (
	"os"
	"path/filepath"
	"testing"
)

func TestCopyTruncate(t *testing.T) {
	for _, tt := range []struct {
		keep int
		want map[string]string // after a, b, c and d were each rotated
	}{
		{0, map[string]string{"stdout": ""}},
		{1, map[string]string{"stdout": "", "stdout.1": "d"}},
		{2, map[string]string{"stdout": "", "stdout.1": "d", "stdout.2": "c"}},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "stdout")
		// As a task does: opened once, appending.
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for _, s := range []string{"a", "b", "c", "d"} {
			if _, err := f.WriteString(s); err != nil {
				t.Fatal(err)
			}
			if err := copyTruncate(path, tt.keep); err != nil {
				t.Fatal(err)
			}
		}
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != len(tt.want) {
			t.Errorf("keep %d: files %v, %v", tt.keep, entries, err)
		}
		for name, want := range tt.want {
			if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(b) != want {
				t.Errorf("keep %d: %s is %q, %v; want %q", tt.keep, name, b, err, want)
			}
		}
	}
}

func TestLookRotatesWhatIsOverTheLimit(t *testing.T) {
	for _, tt := range []struct {
		bytes   int
		rotated bool
	}{{10, false}, {11, true}} {
		r := &rotation{dir: t.TempDir(), limit: 10, keep: 1}
		if err := os.WriteFile(filepath.Join(r.dir, "stderr"), make([]byte, tt.bytes), 0o600); err != nil {
			t.Fatal(err)
		}
		if grown, err := r.look(); !grown || err != nil {
			t.Errorf("%d bytes: look = %v, %v", tt.bytes, grown, err)
		}
		if _, err := os.Stat(filepath.Join(r.dir, "stderr.1")); (err == nil) != tt.rotated {
			t.Errorf("%d bytes of 10: rotated %v, want %v", tt.bytes, err == nil, tt.rotated)
		}
		if grown, err := r.look(); grown || err != nil {
			t.Errorf("%d bytes: second look = %v, %v", tt.bytes, grown, err)
		}
	}
}
