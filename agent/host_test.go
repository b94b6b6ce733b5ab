package agent

import (
	"os"
	"path/filepath"
	"testing"
)

func TestDetectHost(t *testing.T) {
	h, err := DetectHost(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c := h.Capacity
	if c.CPUMilli < 1 || c.MemBytes < 1<<20 || c.DiskBytes < 1 || c.Check() != nil {
		t.Errorf("capacity %s: %v", c, c.Check())
	}
	for _, k := range []string{"os", "arch", "hostname", "kernel.version", "cpu.count"} {
		if h.Attributes[k] == "" {
			t.Errorf("no attribute %s", k)
		}
	}
	if _, err := DetectHost("/no/such/directory"); err == nil {
		t.Error("no error for a directory that is not there")
	}
}

// files writes a tree of small files.
func files(t *testing.T, tree map[string]string) string {
	dir := t.TempDir()
	for name, content := range tree {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestCgroupLimits(t *testing.T) {
	for _, tt := range []struct {
		name string
		tree map[string]string
		want limits
	}{
		{"a host", nil, limits{}},
		{"version 2, no limits", map[string]string{"cpu.max": "max 100000\n", "memory.max": "max\n"}, limits{}},
		{"version 2", map[string]string{"cpu.max": "150000 100000\n", "memory.max": "1073741824\n"}, limits{1500, 1 << 30}},
		{"version 1, no limits", map[string]string{"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n",
			"memory/memory.limit_in_bytes": "9223372036854771712\n"}, limits{}},
		{"version 1", map[string]string{"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n",
			"memory/memory.limit_in_bytes": "1048576\n"}, limits{500, 1 << 20}},
	} {
		if got := cgroupLimits(files(t, tt.tree)); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

func TestFastestCard(t *testing.T) {
	card := func(state, speed string) map[string]string {
		return map[string]string{"eth0/device/x": "", "eth0/operstate": state + "\n", "eth0/speed": speed + "\n"}
	}
	for _, tt := range []struct {
		name string
		tree map[string]string
		want int64
	}{
		{"none", nil, 0},
		{"up", card("up", "25000"), 25e9},
		{"down", card("down", "25000"), 0},
		{"does not know", card("up", "-1"), 0},
		{"the slowest that is believed", card("up", "1"), 1e6},
		{"the fastest that is believed", card("up", "1000000"), 1e12},
		{"beyond belief", card("up", "1000001"), 0},
		{"no card", map[string]string{"veth0/operstate": "up\n", "veth0/speed": "10000\n"}, 0},
	} {
		if got := fastestCard(files(t, tt.tree)); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestNumericVersion(t *testing.T) {
	for in, want := range map[string]string{"6.1.0-18-amd64": "6.1.0", "5.15": "5.15", "6.1.": "6.1", "": "", "x": ""} {
		if got := numericVersion(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
