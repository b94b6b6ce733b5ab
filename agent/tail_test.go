package agent

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// rotating is a log as the exec driver keeps it: copied to .1 and cut, when it is full.
type rotating struct {
	t    *testing.T
	path string
	keep int
}

func (r *rotating) write(s string) {
	f, err := os.OpenFile(r.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		r.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(s); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rotating) rotate() {
	for n := r.keep; n > 1; n-- {
		_ = os.Rename(fmt.Sprintf("%s.%d", r.path, n-1), fmt.Sprintf("%s.%d", r.path, n))
	}
	b, err := os.ReadFile(r.path)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(r.path+".1", b, 0o600); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Truncate(r.path, 0); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rotating) files() ([]string, error) {
	older, err := filepath.Glob(r.path + ".*")
	slices.Sort(older)
	slices.Reverse(older)
	return append(older, r.path), err
}

func TestTailLines(t *testing.T) {
	r := &rotating{t: t, path: filepath.Join(t.TempDir(), "stdout"), keep: 2}
	r.write("a\nb\n")
	r.rotate()
	r.write("c\nd\n")
	r.rotate()
	r.write("e\nf") // the last line is not finished
	for _, tt := range []struct {
		lines int64
		want  string
	}{
		{-1, "a\nb\nc\nd\ne\nf"}, {0, ""}, {1, "f"}, {2, "e\nf"}, {3, "d\ne\nf"}, {4, "c\nd\ne\nf"}, {5, "b\nc\nd\ne\nf"},
		{6, "a\nb\nc\nd\ne\nf"}, {7, "a\nb\nc\nd\ne\nf"},
	} {
		var out bytes.Buffer
		tl := tailer{files: r.files, out: &out}
		if err := tl.begin(tt.lines); err != nil {
			t.Fatal(err)
		}
		if out.String() != tt.want {
			t.Errorf("last %d lines: %q, want %q", tt.lines, out.String(), tt.want)
		}
	}
	r.write("\n")
	var out bytes.Buffer
	if err := (&tailer{files: r.files, out: &out}).begin(1); err != nil || out.String() != "f\n" {
		t.Errorf("last line, now finished: %q %v, want f", out.String(), err)
	}
}

// Whatever is written and however it rotates between two looks, as long as nothing unseen was dropped, every byte comes once.
func TestTailFollowsRotation(t *testing.T) {
	rotations := 0
	for seed := uint64(1); seed <= 50; seed++ {
		rng := rand.New(rand.NewPCG(seed, 0))
		r := &rotating{t: t, path: filepath.Join(t.TempDir(), "stdout"), keep: 1 + rng.IntN(3)}
		r.write("")
		var out bytes.Buffer
		var want strings.Builder
		tl := tailer{files: r.files, out: &out}
		if err := tl.begin(-1); err != nil {
			t.Fatal(err)
		}
		for i := range 60 {
			line := fmt.Sprintf("%d %s\n", i, strings.Repeat("x", rng.IntN(40)))
			r.write(line)
			want.WriteString(line)
			if rng.IntN(4) == 0 {
				r.rotate()
				rotations++
				for range 2 { // the second look tells that the copy is complete
					if _, err := tl.more(); err != nil {
						t.Fatal(err)
					}
				}
			} else if rng.IntN(2) == 0 {
				if _, err := tl.more(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if _, err := tl.more(); err != nil {
			t.Fatal(err)
		}
		if out.String() != want.String() {
			t.Fatalf("seed %d, keeping %d: got\n%swant\n%s", seed, r.keep, out.String(), want.String())
		}
	}
	if rotations == 0 {
		t.Error("nothing rotated: this no longer tests anything")
	}
}
