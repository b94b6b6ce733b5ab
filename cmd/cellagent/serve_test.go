package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestClosedAt(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		dir  string
		perm os.FileMode
		want string
	}{
		{filepath.Dir(dir), 0o711, ""}, // it is this test's too
		{dir, 0o710, dir},
		{dir, 0o711, ""},
	} {
		if err := os.Chmod(tt.dir, tt.perm); err != nil {
			t.Fatal(err)
		}
		if got := closedAt(filepath.Join(dir, "not", "there")); got != tt.want {
			t.Errorf("with mode %o of %s: closed at %q, want %q", tt.perm, tt.dir, got, tt.want)
		}
	}
}
