package exec

import (
	"os"
	osexec "os/exec"
	"path/filepath"
	"testing"

	"go.uber.org/zap"

	"github.com/omegacell/omegacell/agent/exec/shim"
)

// What shim an agent uses does not change under it when newer binaries are installed; and one that is of another make, or none at
// all, is not used.
func TestShimStaysWhatItIs(t *testing.T) {
	beside, data := buildShim(t), t.TempDir()
	argv := findShim(filepath.Dir(beside), data, zap.NewNop())
	if err := os.WriteFile(beside, []byte("#!/bin/sh\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := osexec.Command(argv[0], append(argv[1:], shim.ProbeCommand, shim.Protocol)...).CombinedOutput(); err != nil || len(argv) != 1 {
		t.Errorf("%q: %v %s", argv, err, out)
	}
	for what, dir := range map[string]string{"of another make": filepath.Dir(beside), "none": t.TempDir()} {
		if argv := findShim(dir, t.TempDir(), zap.NewNop()); argv[0] != "/proc/self/exe" {
			t.Errorf("%s: %q is used", what, argv)
		}
	}
}

// buildShim builds the small shim.
func buildShim(tb testing.TB) string {
	path := filepath.Join(tb.TempDir(), "cellshim")
	if out, err := osexec.Command("go", "build", "-o", path, "../../cmd/cellshim").CombinedOutput(); err != nil {
		tb.Skipf("SKIPPED: THE SMALL SHIM CANNOT BE BUILT: %v\n%s", err, out)
	}
	return path
}
