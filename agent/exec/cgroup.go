package exec

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/containerd/cgroups/v3"
	"github.com/containerd/cgroups/v3/cgroup1"
	"github.com/containerd/cgroups/v3/cgroup2"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/omegacell/omegacell/agent/exec/shim"
)

const cgroupMount = "/sys/fs/cgroup"

// group is one task's cgroup: a directory of the same path in every hierarchy. A host has version 1 hierarchies, the
// unified one of version 2, or, "hybrid", both; there the unified one has no controllers, but can kill and freeze.
type group string // path below the hierarchies' roots, without a leading slash

// limits are what a task may use. A zero is no limit.
type limits struct {
	CPUMilli int64
	MemBytes int64
	PIDs     int64 // processes and threads
}

const (
	cpuPeriod   = 100_000 // µs, the kernel's default
	minCPUQuota = 1_000   // µs, the least the kernel takes
)

func (l limits) quota() int64 { return max(l.CPUMilli*cpuPeriod/1000, minCPUQuota) }

// shares is the weight of version 1: 1024 for one core, within the kernel's bounds.
func (l limits) shares() uint64 { return uint64(min(max(l.CPUMilli*1024/1000, 2), 262144)) }

// weight is the weight of version 2: shares, 2 … 262144, mapped to 1 … 10000 as the OCI runtimes do.
func (l limits) weight() uint64 { return 1 + (l.shares()-2)*9999/262142 }

// hierarchies are the version 1 hierarchies that a task gets a group in: those with a limit, those that can account, freeze
// and name, so that stopping the agent's systemd service does not reach the task.
func hierarchies() ([]cgroup1.Subsystem, error) {
	all, err := cgroup1.Default()
	if err != nil {
		return nil, err
	}
	var used []cgroup1.Subsystem
	for _, s := range all {
		switch s.Name() {
		case cgroup1.Cpu, cgroup1.Cpuacct, cgroup1.Memory, cgroup1.Pids, cgroup1.Freezer, "systemd":
			used = append(used, s)
		}
	}
	return used, nil
}

func hasV1() bool { m := cgroups.Mode(); return m == cgroups.Legacy || m == cgroups.Hybrid }

// unified returns the mount point of the version 2 hierarchy, "" where there is none.
func unified() string {
	switch cgroups.Mode() {
	case cgroups.Unified:
		return cgroupMount
	case cgroups.Hybrid:
		return filepath.Join(cgroupMount, "unified")
	}
	return ""
}

func (g group) v1() (cgroup1.Cgroup, error) {
	return cgroup1.Load(cgroup1.StaticPath("/"+string(g)), cgroup1.WithHierarchy(hierarchies))
}

func (g group) v2() (*cgroup2.Manager, error) {
	return cgroup2.Load("/"+string(g), cgroup2.WithMountpoint(unified()))
}

// create makes the group with its limits in every hierarchy, or nothing; all but the quota of processor time: see throttle.
func (g group) create(l limits) (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("make cgroup %s: %w", g, err), g.remove())
		}
	}()
	if hasV1() {
		if err := g.createV1(l); err != nil {
			return err
		}
	}
	if unified() == "" {
		return nil
	}
	return g.createV2(l)
}

func (g group) createV1(l limits) error {
	r := &specs.LinuxResources{}
	if l.CPUMilli > 0 {
		period, shares := uint64(cpuPeriod), l.shares()
		r.CPU = &specs.LinuxCPU{Period: &period, Shares: &shares}
	}
	if l.MemBytes > 0 {
		r.Memory = &specs.LinuxMemory{Limit: &l.MemBytes}
		if _, err := os.Stat(filepath.Join(cgroupMount, "memory", "memory.memsw.limit_in_bytes")); err == nil {
			r.Memory.Swap = &l.MemBytes // memory and swap together: none of it is swap
		}
	}
	if l.PIDs > 0 {
		r.Pids = &specs.LinuxPids{Limit: &l.PIDs}
	}
	_, err := cgroup1.New(cgroup1.StaticPath("/"+string(g)), r, cgroup1.WithHierarchy(hierarchies))
	return err
}

func (g group) createV2(l limits) error {
	r := &cgroup2.Resources{}
	if cgroups.Mode() == cgroups.Unified {
		// Always all three controllers, so that their counters are there without a limit too.
		r.CPU, r.Memory, r.Pids = &cgroup2.CPU{}, &cgroup2.Memory{}, &cgroup2.Pids{}
		if l.CPUMilli > 0 {
			weight := l.weight()
			r.CPU.Weight = &weight
		}
		if l.MemBytes > 0 {
			r.Memory.Max = &l.MemBytes
		}
		if l.PIDs > 0 {
			r.Pids.Max = l.PIDs
		}
	}
	if _, err := cgroup2.NewManager(unified(), "/"+string(g), r); err != nil {
		return err
	}
	if cgroups.Mode() == cgroups.Unified && l.MemBytes > 0 {
		err := os.WriteFile(filepath.Join(cgroupMount, string(g), "memory.swap.max"), []byte("0"), 0o644)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // not there where the kernel does not account swap
			return err
		}
	}
	return nil
}

// throttle says what limits the processor time of processes in the groups. The task's first process writes it when it is about
// to become the task: on the way there it needs some milliseconds, which a small quota would make tenths of seconds.
func (l limits) throttle(g shim.Groups) shim.Setting {
	if l.CPUMilli <= 0 {
		return shim.Setting{}
	}
	if dir, ok := g["cpu"]; ok {
		return shim.Setting{File: filepath.Join(dir, "cpu.cfs_quota_us"), Value: strconv.FormatInt(l.quota(), 10)}
	}
	if dir, ok := g["unified"]; ok && cgroups.Mode() == cgroups.Unified {
		return shim.Setting{File: filepath.Join(dir, "cpu.max"), Value: fmt.Sprintf("%d %d", l.quota(), cpuPeriod)}
	}
	return shim.Setting{}
}

// dirs returns the group's directories, by hierarchy: "cpu", "memory" … and "unified". Those that are not there are left out.
func (g group) dirs() shim.Groups {
	out := make(shim.Groups)
	put := func(name, dir string) {
		if _, err := os.Stat(dir); err == nil {
			out[name] = dir
		}
	}
	if hasV1() {
		subs, _ := hierarchies()
		for _, s := range subs {
			put(string(s.Name()), filepath.Join(cgroupMount, string(s.Name()), string(g)))
		}
	}
	if u := unified(); u != "" {
		put("unified", filepath.Join(u, string(g)))
	}
	return out
}

// remove deletes the group from every hierarchy. There must be no process in it. One that is not there is no error.
func (g group) remove() error {
	var all error
	if hasV1() {
		if c, err := g.v1(); err == nil {
			all = errors.Join(all, c.Delete())
		} else if !errors.Is(err, cgroup1.ErrCgroupDeleted) {
			all = errors.Join(all, err)
		}
	}
	if u := unified(); u != "" {
		if _, err := os.Stat(filepath.Join(u, string(g))); err == nil {
			c, err := g.v2()
			if err == nil {
				err = c.Delete()
			}
			all = errors.Join(all, err)
		}
	}
	if all != nil {
		return fmt.Errorf("remove cgroup %s: %w", g, all)
	}
	return nil
}
