package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/etcdstore"
)

// BenchmarkIdle measures an agent that looks after 50 running tasks, which do nothing: processor time and memory of the agent
// and, apart from it, of the tasks' shims. One op is the whole window: its time means nothing.
func BenchmarkIdle(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("SKIPPED: REAL TASKS NEED ROOT (namespaces and cgroups)")
	}
	const tasks, window = 50, 20 * time.Second
	b.Run(fmt.Sprintf("tasks=%d", tasks), func(b *testing.B) {
		c := startCell(b)
		agent := c.agent(b, "--machine", "m1", "--capacity", "cpu=64,memory=64Gi", "--stop-tasks", "--cgroup", fmt.Sprintf("omegacell-bench-%d", os.Getpid()))
		job := c.submit(b, tasks, "sleep", "100000")
		var add []cellstate.Claim
		for i := range uint32(tasks) {
			add = append(add, claim(job, i, "m1"))
		}
		c.commit(b, cellstate.Txn{Add: add})
		c.await(b, "50 running tasks", func() bool {
			rec, err := cellstate.Get(context.Background(), c.store, cellstate.ReportKey("m1"))
			if err != nil {
				b.Fatal(err)
			}
			running := 0
			if r, _ := rec.Value.(*cellstate.Report); r != nil {
				for _, s := range r.Claims {
					if s.Phase == cellstate.PhaseRunning {
						running++
					}
				}
			}
			return running == tasks
		})
		shims := childrenOf(b, agent.Process.Pid)
		if len(shims) != tasks {
			b.Fatalf("%d shims of %d tasks: %v", len(shims), tasks, shims)
		}
		for b.Loop() {
			cores, theirs := used(b, agent.Process.Pid), used(b, shims...)
			time.Sleep(window)
			b.ReportMetric((used(b, agent.Process.Pid)-cores).Seconds()/window.Seconds()*100, "agent-%core")
			b.ReportMetric((used(b, shims...)-theirs).Seconds()/window.Seconds()*100, "shims-%core")
		}
		b.ReportMetric(memory(b, "Rss", agent.Process.Pid)/(1<<20), "agent-RSS-MiB")
		b.ReportMetric(memory(b, "Pss", shims...)/(1<<20)/tasks, "shim-PSS-MiB")
	})
}

// BenchmarkEmulated measures what the agents of 10,000 machines cost, in one process, and the etcd that they share: at rest,
// and while tasks of a second's length start and end. One op is the whole window: its time means nothing.
func BenchmarkEmulated(b *testing.B) {
	if testing.Short() {
		b.Skip("takes a minute")
	}
	const machines, window, tick = 10_000, 20 * time.Second, 100 * time.Millisecond
	for _, rate := range []int{0, 500} {
		b.Run(fmt.Sprintf("agents=%d/tasks-per-second=%d", machines, rate), func(b *testing.B) {
			c := startCell(b)
			agent := c.agent(b, "--machine", "emu", "--emulated", strconv.Itoa(machines), "--capacity", "cpu=32,memory=128Gi")
			job := c.submit(b, 100_000, "sleep", "1")
			next, placed := uint32(0), [][]cellstate.Claim(nil)
			// churn is what schedulers do meanwhile: it places tasks, and removes those that ended.
			churn := func(until time.Time) {
				for at := time.Now(); at.Before(until); at = at.Add(tick) {
					time.Sleep(time.Until(at))
					var t cellstate.Txn
					for range rate * int(tick) / int(time.Second) {
						t.Add = append(t.Add, claim(job, next, fmt.Sprintf("emu-%04d", 1+(next*37)%machines)))
						next++
					}
					if placed = append(placed, t.Add); len(placed) > 30 {
						for _, old := range placed[0] {
							t.Remove = append(t.Remove, cellstate.ClaimRef{Machine: old.Machine, ID: old.ID})
						}
						placed = placed[1:]
					}
					if rate > 0 {
						c.commit(b, t)
					}
				}
				time.Sleep(time.Until(until))
			}
			churn(time.Now().Add(5 * time.Second))
			for b.Loop() {
				agents, etcd := used(b, agent.Process.Pid), used(b, c.member.Process.Pid)
				churn(time.Now().Add(window))
				agents, etcd = used(b, agent.Process.Pid)-agents, used(b, c.member.Process.Pid)-etcd
				b.ReportMetric(agents.Seconds()/window.Seconds(), "agents-cores")
				b.ReportMetric(etcd.Seconds()/window.Seconds(), "etcd-cores")
				b.ReportMetric((agents+etcd).Seconds()/window.Seconds(), "cores")
			}
			b.ReportMetric(memory(b, "Rss", agent.Process.Pid)/machines/(1<<10), "KiB/agent")
		})
	}
}

// cell is an etcd member of its own process, and a client of it.
type cell struct {
	bin, dir, endpoint string
	member             *exec.Cmd
	store              *etcdstore.Store
}

func startCell(b *testing.B) *cell {
	c := &cell{bin: b.TempDir(), dir: b.TempDir()}
	build := exec.Command("go", "build", "-o", c.bin, "../celld", "../cellagent", "../cellshim")
	if out, err := build.CombinedOutput(); err != nil {
		b.Skipf("SKIPPED: THE BINARIES CANNOT BE BUILT: %v\n%s", err, out)
	}
	for dir := c.dir; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o711); err != nil {
			b.Fatal(err)
		}
	}
	c.endpoint = "http://" + freeAddress(b)
	c.member = c.start(b, "celld", "--data-dir", filepath.Join(c.dir, "etcd"), "--listen-client-urls", c.endpoint,
		"--listen-peer-urls", "http://127.0.0.1:0")
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{c.endpoint}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { client.Close() })
	if c.store, err = etcdstore.New(etcdstore.Config{Client: client, Cell: "main"}); err != nil {
		b.Fatal(err)
	}
	c.await(b, "etcd", func() bool {
		_, err := cellstate.Get(context.Background(), c.store, cellstate.MachineKey("none"))
		return err == nil
	})
	return c
}

// start runs one of the binaries until the end of the benchmark.
func (c *cell) start(b *testing.B, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(c.bin, name), append(args, "--log-level", "warn")...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	return cmd
}

// agent starts an agent and waits until all its machines have sessions.
func (c *cell) agent(b *testing.B, args ...string) *exec.Cmd {
	at := freeAddress(b)
	cmd := c.start(b, "cellagent", append(args, "--endpoints", c.endpoint, "--data-dir", filepath.Join(c.dir, "agent"), "--metrics-listen", at)...)
	c.await(b, "sessions", func() bool {
		res, err := http.Get("http://" + at + "/readyz")
		if err != nil {
			return false
		}
		defer res.Body.Close()
		_, _ = io.Copy(io.Discard, res.Body)
		return res.StatusCode == http.StatusOK
	})
	return cmd
}

// await polls until something is there.
func (c *cell) await(b *testing.B, what string, there func() bool) {
	for begin := time.Now(); !there(); time.Sleep(50 * time.Millisecond) {
		if time.Since(begin) > 2*time.Minute {
			b.Fatalf("no %s in 2 minutes", what)
		}
	}
}

func freeAddress(b *testing.B) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// submit puts a job, as no scheduler looks after it: the benchmark does.
func (c *cell) submit(b *testing.B, tasks uint32, command ...string) *cellstate.Job {
	j := &cellstate.Job{Scheduler: "bench", Name: "job", Run: 1, Version: 1, Tenant: "default", Precedence: 100, Tasks: tasks,
		Task: cellstate.TaskSpec{Command: command, Resources: cellstate.Resources{CPUMilli: 100, MemBytes: 64 << 20}}}
	if res, err := c.store.Swap(context.Background(), cellstate.Swap{Put: []cellstate.Put{{Value: j}}}); err != nil || !res.OK {
		b.Fatalf("submit: %+v, %v", res, err)
	}
	return j
}

func claim(j *cellstate.Job, task uint32, machine string) cellstate.Claim {
	return cellstate.Claim{ID: cellstate.ClaimID{Scheduler: j.Scheduler, Job: j.Name, Run: j.Run, Task: task}, Machine: machine,
		JobVersion: j.Version, Precedence: j.Precedence, Resources: j.Task.Resources, Start: cellstate.InstantOf(time.Now())}
}

func (c *cell) commit(b *testing.B, t cellstate.Txn) {
	t.ID, t.Scheduler, t.Mode, t.Rule = "t", "bench", cellstate.Incremental, cellstate.FitRule
	v, err := c.store.Commit(context.Background(), &t)
	if err != nil || len(v.Conflicts) > 0 {
		b.Fatalf("commit: %v, %v", v.Conflicts, err)
	}
}

// used returns the processor time of processes up to now, from /proc/PID/stat in ticks of 10ms.
func used(b *testing.B, pids ...int) time.Duration {
	var ticks int64
	for _, pid := range pids {
		f := stat(b, pid)
		for _, n := range f[11:13] {
			v, err := strconv.ParseInt(n, 10, 64)
			if err != nil {
				b.Fatal(err)
			}
			ticks += v
		}
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// stat returns the fields of /proc/PID/stat behind the command, the third of all first.
func stat(b *testing.B, pid int) []string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	return strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
}

// memory sums up a field of smaps_rollup, in bytes.
func memory(b *testing.B, field string, pids ...int) float64 {
	sum := 0.0
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			b.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); f[0] == field+":" {
				kb, err := strconv.ParseInt(f[1], 10, 64)
				if err != nil {
					b.Fatal(err)
				}
				sum += float64(kb << 10)
			}
		}
	}
	return sum
}

// childrenOf lists the children of a process.
func childrenOf(b *testing.B, parent int) []int {
	all, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		b.Fatal(err)
	}
	var out []int
	for _, path := range all {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		if f := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:])); f[1] == strconv.Itoa(parent) {
			out = append(out, pid)
		}
	}
	return out
}
