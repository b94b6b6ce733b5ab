package shim

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// cgroupsAt is where every host has its cgroup hierarchies mounted.
const cgroupsAt = "/sys/fs/cgroup"

// makeRoot gives the process's mount namespace a root of its own at dir: the host's root, and each of its mounted file
// systems as a single bind at its usual place; /proc, /dev/pts, /dev/shm new and empty; of the cgroups only the task's own.
//
// A checkpoint knows each bind by its place and finds it again on another host. It could not do so with the namespace's
// copies of all mounts, propagation and stacks included. See mount_namespaces(7), pivot_root(2).
func makeRoot(dir string, cgroups Groups) error {
	host, err := hostMounts()
	if err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	m := mounter{root: dir}
	m.bind("/", "/", 0)
	for _, at := range host {
		// What the task may not see, or what is covered by another mount, is not there for it.
		_ = unix.Mount(at, filepath.Join(dir, at), "", unix.MS_BIND, "")
	}
	m.mount("proc", "/proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	m.bind("/dev", "/dev", 0)
	if m.exists("/dev/pts") {
		m.mount("devpts", "/dev/pts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620")
	}
	if m.exists("/dev/shm") {
		m.mount("tmpfs", "/dev/shm", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777")
	}
	if m.exists("/sys") {
		const sys = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_RDONLY
		m.bind("/sys", "/sys", sys)
		m.cgroups(cgroups, sys)
	}
	if m.err != nil {
		return m.err
	}
	// pivot_root(".", "."): the old root comes to lie on top of the new one, and is taken off.
	if err := os.Chdir(dir); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root to %s: %w", dir, err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount the host's root: %w", err)
	}
	return os.Chdir("/")
}

// mounter mounts below root until the first error.
type mounter struct {
	root string
	err  error
}

func (m *mounter) exists(at string) bool {
	st, err := os.Stat(filepath.Join(m.root, at))
	return err == nil && st.IsDir()
}

func (m *mounter) mount(fstype, at string, flags uintptr, data string) {
	if m.err != nil {
		return
	}
	if err := unix.Mount(fstype, filepath.Join(m.root, at), fstype, flags, data); err != nil {
		m.err = fmt.Errorf("mount %s: %w", at, err)
	}
}

// bind mounts the host's from, without what is mounted in it. Flags need a second step.
func (m *mounter) bind(from, at string, flags uintptr) {
	if m.err != nil {
		return
	}
	to := filepath.Join(m.root, at)
	err := unix.Mount(from, to, "", unix.MS_BIND, "")
	if err == nil && flags != 0 {
		err = unix.Mount("", to, "", unix.MS_REMOUNT|unix.MS_BIND|flags, "")
	}
	if err != nil {
		m.err = fmt.Errorf("bind %s: %w", at, err)
	}
}

// cgroups shows the task its own groups at the places of the hierarchies' roots. So its limits can be read, as language
// runtimes do, at paths that are the same on every host.
func (m *mounter) cgroups(dirs Groups, flags uintptr) {
	if len(dirs) == 0 || !m.exists(cgroupsAt) {
		return
	}
	if len(dirs) == 1 && dirs[unified] != "" {
		m.bind(dirs[unified], cgroupsAt, flags)
		return
	}
	m.mount("tmpfs", cgroupsAt, unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=755,size=64k")
	for _, name := range slices.Sorted(maps.Keys(dirs)) {
		at := filepath.Join(cgroupsAt, name)
		if m.err == nil {
			m.err = os.Mkdir(filepath.Join(m.root, at), 0o755)
		}
		m.bind(dirs[name], at, flags)
	}
}

// hostMounts lists where the host's file systems with files of their own are mounted, outer ones first, without the root.
func hostMounts() ([]string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var out []string
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if at, ok := ownFiles(sc.Text()); ok && !slices.Contains(out, at) {
			out = append(out, at)
		}
	}
	slices.SortStableFunc(out, func(a, b string) int { return strings.Count(a, "/") - strings.Count(b, "/") })
	return out, nil
}

// ownFiles returns the mount point of a line of mountinfo (proc_pid_mountinfo(5)), where tasks are to see it.
func ownFiles(line string) (at string, ok bool) {
	fields, rest, _ := strings.Cut(line, " - ")
	f := strings.Fields(fields)
	if len(f) < 5 {
		return "", false
	}
	at = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(f[4])
	for _, own := range []string{"/proc", "/sys", "/dev"} {
		if at == own || strings.HasPrefix(at, own+"/") {
			return "", false
		}
	}
	fstype, _, _ := strings.Cut(rest, " ")
	switch fstype {
	case "overlay", "aufs", // the roots of somebody's containers
		"nsfs", "autofs", "rpc_pipefs", "binfmt_misc", "proc", "sysfs", "cgroup", "cgroup2":
		return "", false
	}
	return at, at != "/"
}
