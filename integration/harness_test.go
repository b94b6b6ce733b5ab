package integration

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// patience bounds every wait for what must come: it ends a test that hangs, and decides nothing else.
const patience = 90 * time.Second

// binDir is where the binaries are built. TestMain sets it, and nothing changes it.
var binDir string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "omegacell-bin-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binDir = dir
	code := m.Run()
	_ = os.RemoveAll(dir) // a temporary directory: what cannot be deleted the system clears away
	os.Exit(code)
}

// build builds every binary, when the first test asks for one. They are built as users have them, without the race detector.
var build = sync.OnceValue(func() error {
	out, err := exec.Command("go", "build", "-o", binDir+"/", "../cmd/...").CombinedOutput()
	if err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
})

// binary returns the path of one of the repository's binaries.
func binary(t testing.TB, name string) string {
	t.Helper()
	if err := build(); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(binDir, name)
}

// needRoot skips a test that runs confined tasks where nobody may.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: namespaces and cgroups")
	}
}

// ports counts what freeAddr has given away.
var ports atomic.Int64

// freeAddr returns a loopback address that nobody listens on. Its port is below those that the kernel gives to outgoing
// connections (ip(7), ip_local_port_range): one of them could take it while a member that is to come back is away.
func freeAddr(t testing.TB) string {
	t.Helper()
	for range 1000 {
		port := 12000 + (int64(os.Getpid())*61+ports.Add(1))%20000
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return l.Addr().String()
	}
	t.Fatal("no free port")
	return ""
}

// eventually asks again and again, where no event tells, until ok.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	if !comesWithin(patience, ok) {
		t.Fatalf("never came: %s", what)
	}
}

func comesWithin(d time.Duration, ok func() bool) bool {
	again := time.NewTicker(25 * time.Millisecond)
	defer again.Stop()
	for end := time.Now().Add(d); !ok(); <-again.C {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// write makes a file and returns its path.
func write(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
