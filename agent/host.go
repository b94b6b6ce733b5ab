package agent

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/omegacell/omegacell/cellstate"
)

// Host is what a host is and has, as its operating system says.
type Host struct {
	Attributes map[string]string
	// Capacity is all of it: the processors that this process may use, memory, the whole file system of the data
	// directory, the fastest network card, each no more than cellstate counts. What containers are allowed less of counts less. GPUs are not looked for.
	Capacity cellstate.Resources
}

// DetectHost asks the host that this process runs on. dir is a directory that exists, on the file system that tasks use.
func DetectHost(dir string) (Host, error) {
	h := Host{Attributes: map[string]string{"os": runtime.GOOS, "arch": runtime.GOARCH}}
	mem, err := memTotal("/proc/meminfo")
	if err != nil {
		return h, err
	}
	var disk unix.Statfs_t
	if err := unix.Statfs(dir, &disk); err != nil {
		return h, fmt.Errorf("size of the file system of %s: %w", dir, err)
	}
	cpu := int64(runtime.NumCPU()) * 1000 // those that the affinity mask allows
	limits := cgroupLimits("/sys/fs/cgroup")
	if limits.cpuMilli > 0 {
		cpu = min(cpu, limits.cpuMilli)
	}
	if limits.memBytes > 0 {
		mem = min(mem, limits.memBytes)
	}
	size := int64(disk.Blocks-disk.Bfree+disk.Bavail) * disk.Bsize // without what only root may fill
	h.Capacity = cellstate.Resources{
		CPUMilli: cpu, MemBytes: min(mem, cellstate.MaxAmount), DiskBytes: min(size, cellstate.MaxAmount),
		NetBitsPerSecond: fastestCard("/sys/class/net"),
	}
	h.set("hostname", func() string { name, _ := os.Hostname(); return name })
	h.set("cpu.model", func() string { return field("/proc/cpuinfo", "model name") })
	h.set("cpu.count", func() string { return strconv.Itoa(runtime.NumCPU()) })
	h.set("cgroup.version", cgroupVersion)
	release := kernelRelease()
	h.set("kernel.release", func() string { return release })
	h.set("kernel.version", func() string { return numericVersion(release) })
	return h, nil
}

// set sets an attribute, unless its value is not known.
func (h *Host) set(name string, value func() string) {
	if v := value(); v != "" {
		h.Attributes[name] = v
	}
}

// memTotal reads MemTotal of a file like /proc/meminfo, in bytes (proc(5)).
func memTotal(path string) (int64, error) {
	kb, ok := strings.CutSuffix(field(path, "MemTotal"), " kB")
	n, err := strconv.ParseInt(kb, 10, 64)
	if !ok || err != nil || n <= 0 {
		return 0, fmt.Errorf("%s does not say MemTotal", path)
	}
	return n << 10, nil
}

// field returns the first value of a file of lines "name : value", or "".
func field(path, name string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		if k, v, ok := strings.Cut(s.Text(), ":"); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// limits are a cgroup's; 0 where it has none.
type limits struct{ cpuMilli, memBytes int64 }

// cgroupLimits reads the limits of the group that is mounted at root: of the host none, of a container its own. Version 2
// has cpu.max and memory.max, version 1 two directories.
func cgroupLimits(root string) limits {
	read := func(name string) []string {
		b, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return nil
		}
		return strings.Fields(string(b))
	}
	number := func(f []string, i int) int64 {
		if i >= len(f) {
			return 0
		}
		n, err := strconv.ParseInt(f[i], 10, 64) // "max" is none
		if err != nil || n < 0 || n > 1<<60 {    // version 1 says "none" with a number near 2⁶³
			return 0
		}
		return n
	}
	var l limits
	quota, period := number(read("cpu.max"), 0), number(read("cpu.max"), 1)
	if quota == 0 {
		quota, period = number(read("cpu/cpu.cfs_quota_us"), 0), number(read("cpu/cpu.cfs_period_us"), 0)
	}
	if quota > 0 && period > 0 {
		l.cpuMilli = quota * 1000 / period
	}
	if l.memBytes = number(read("memory.max"), 0); l.memBytes == 0 {
		l.memBytes = number(read("memory/memory.limit_in_bytes"), 0)
	}
	return l
}

func cgroupVersion() string {
	var fs unix.Statfs_t
	if unix.Statfs("/sys/fs/cgroup", &fs) != nil {
		return ""
	}
	if fs.Type == unix.CGROUP2_SUPER_MAGIC {
		return "2"
	}
	return "1"
}

// fastestCard returns the speed of the fastest physical network card that is up, in bits per second; 0 where none says. Speeds
// below 1 or above 1,000,000 Mbit/s are made up by drivers that do not know.
func fastestCard(root string) int64 {
	cards, err := os.ReadDir(root)
	if err != nil {
		return 0
	}
	var best int64
	for _, c := range cards {
		dir := filepath.Join(root, c.Name())
		if _, err := os.Stat(filepath.Join(dir, "device")); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		state, err := os.ReadFile(filepath.Join(dir, "operstate"))
		if err != nil || strings.TrimSpace(string(state)) != "up" {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, "speed"))
		if err != nil {
			continue
		}
		mbit, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
		if err == nil && mbit >= 1 && mbit <= 1_000_000 {
			best = max(best, mbit*1_000_000)
		}
	}
	return best
}

func kernelRelease() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// numericVersion returns the leading numbers of a release such as "6.1.0-18-amd64": version constraints treat what follows
// as a pre-release.
func numericVersion(release string) string {
	end := strings.IndexFunc(release, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	if end < 0 {
		end = len(release)
	}
	return strings.TrimRight(release[:end], ".")
}
