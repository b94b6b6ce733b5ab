package exec

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/cgroups/v3"
	"github.com/containerd/cgroups/v3/cgroup1"
	"github.com/containerd/cgroups/v3/cgroup2"
	specs "github.com/opencontainers/runtime-spec/specs-go"
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

// create makes the group with its limits in every hierarchy, or nothing.
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
		period, quota, shares := uint64(cpuPeriod), l.quota(), l.shares()
		r.CPU = &specs.LinuxCPU{Period: &period, Quota: &quota, Shares: &shares}
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
			quota, period, weight := l.quota(), uint64(cpuPeriod), l.weight()
			r.CPU.Max, r.CPU.Weight = cgroup2.NewCPUMax(&quota, &period), &weight
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

// add moves a process, all its threads, into the group.
func (g group) add(pid int) error {
	if hasV1() {
		c, err := g.v1()
		if err == nil {
			err = c.AddProc(uint64(pid))
		}
		if err != nil {
			return fmt.Errorf("join cgroup %s: %w", g, err)
		}
	}
	if unified() == "" {
		return nil
	}
	c, err := g.v2()
	if err == nil {
		err = c.AddProc(uint64(pid))
	}
	if err != nil {
		return fmt.Errorf("join cgroup %s: %w", g, err)
	}
	return nil
}

// dirs returns the group's directories, by hierarchy: "cpu", "memory" … and "unified". Those that are not there are left out.
func (g group) dirs() map[string]string {
	out := make(map[string]string)
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

// kill ends every process in the group and returns when none is left, or when ctx ends: a process that waits in the kernel
// for a disk that does not answer cannot be killed.
func (g group) kill(ctx context.Context) error {
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		pids, err := g.pids()
		if err != nil || len(pids) == 0 {
			return err
		}
		if unified() != "" {
			if c, err := g.v2(); err == nil {
				_ = c.Kill() // those it does not reach are killed one by one
			}
		}
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		if hasV1() { // a frozen process of version 1 dies only when it is thawed
			_ = os.WriteFile(filepath.Join(cgroupMount, "freezer", string(g), "freezer.state"), []byte("THAWED"), 0o644)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("kill cgroup %s: processes %v are left: %w", g, pids, ctx.Err())
		case <-time.After(wait):
		}
	}
}

// pids lists the processes of the group and the groups in it, in any hierarchy.
func (g group) pids() ([]int, error) {
	var out []int
	for _, dir := range g.dirs() {
		err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) || err == nil && d.Name() != "cgroup.procs" {
				return nil
			}
			if err != nil {
				return err
			}
			b, err := os.ReadFile(p)
			if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENODEV) {
				return err
			}
			for _, f := range strings.Fields(string(b)) {
				if pid, err := strconv.Atoi(f); err == nil && pid > 0 {
					out = append(out, pid)
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// oomKills counts the processes that the kernel ended at the group's memory limit.
func (g group) oomKills() uint64 {
	file := filepath.Join(cgroupMount, string(g), "memory.events")
	if hasV1() {
		file = filepath.Join(cgroupMount, "memory", string(g), "memory.oom_control")
	}
	f, err := os.Open(file)
	if err != nil {
		return 0
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if v, ok := strings.CutPrefix(s.Text(), "oom_kill "); ok {
			n, _ := strconv.ParseUint(v, 10, 64)
			return n
		}
	}
	return 0
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
