package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/omegacell/omegacell/cellstate"
)

// gated is a job whose tasks write down that they start, and run until the test opens the gate. So a test says what has
// ended by when, and sees every start, whoever else knows of it.
type gated struct {
	cell            *cell
	scheduler, name string
	tasks           int
	exit            int    // code of every task
	cpu             string // of one task; default 100m
	more            string // further fields of the job
}

func (c *cell) gated(scheduler, name string, tasks int) *gated {
	return &gated{cell: c, scheduler: scheduler, name: name, tasks: tasks, cpu: "100m"}
}

func (g *gated) file(kind string) string { return filepath.Join(g.cell.dir, g.name+"."+kind) }

func (g *gated) submit(flags ...string) *gated {
	g.cell.t.Helper()
	g.cell.run(fmt.Sprintf(`
name: %s
scheduler: %s
tasks: %d
task:
  command: ["sh", "-c", 'echo "$OMEGACELL_TASK.$OMEGACELL_ATTEMPT on $OMEGACELL_MACHINE" >> %s; while [ ! -e %s ]; do sleep 0.1; done; exit %d']
  resources: {cpu: %s, memory: 16Mi}
%s`, g.name, g.scheduler, g.tasks, g.file("starts"), g.file("gate"), g.exit, g.cpu, g.more), flags...)
	return g
}

// running waits until all tasks run, and returns them by number.
func (g *gated) running() []cellstate.ClaimView {
	g.cell.t.Helper()
	tasks := g.cell.untilRunning(g.scheduler, g.name, g.tasks)
	slices.SortFunc(tasks, func(a, b cellstate.ClaimView) int { return a.Claim.ID.Compare(b.Claim.ID) })
	eventually(g.cell.t, "every task of "+g.name+" said that it started", func() bool { return len(g.starts()) >= g.tasks })
	return tasks
}

// parked reports whether the job's scheduler says that it waits, and why.
func (g *gated) parked(s cellstate.Snapshot) bool {
	_, st, ok := s.Job(g.scheduler, g.name)
	return ok && st != nil && st.Explanation != nil && st.Explanation.Parked
}

// open lets the tasks end.
func (g *gated) open() {
	g.cell.t.Helper()
	write(g.cell.t, g.cell.dir, g.name+".gate", "")
}

// starts returns what the tasks wrote down, sorted: "task.attempt on machine".
func (g *gated) starts() []string {
	b, err := os.ReadFile(g.file("starts"))
	if err != nil {
		return nil
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	slices.Sort(lines)
	return lines
}

// startedOnce holds that every task was started once, at its first attempt.
func (g *gated) startedOnce() {
	g.cell.t.Helper()
	var tasks []string
	for _, s := range g.starts() {
		task, _, _ := strings.Cut(s, " ")
		tasks = append(tasks, task)
	}
	var want []string
	for i := range g.tasks {
		want = append(want, fmt.Sprintf("%d.0", i))
	}
	slices.Sort(want)
	if !slices.Equal(tasks, want) {
		g.cell.t.Errorf("job %s: the starts were %q, want each of its %d tasks once", g.name, g.starts(), g.tasks)
	}
}

// awaitGone waits until none of the tasks' processes is there.
func awaitGone(c *cell, tasks []cellstate.ClaimView) {
	c.t.Helper()
	for _, v := range tasks {
		eventually(c.t, fmt.Sprintf("process %d of %s ended", v.Status.PID, v.Claim.ID), func() bool {
			return syscall.Kill(int(v.Status.PID), 0) == syscall.ESRCH
		})
	}
}

// sameTasks holds that what runs now is what ran before: the same processes since the same time.
func sameTasks(c *cell, before, after []cellstate.ClaimView) {
	c.t.Helper()
	byID := func(a, b cellstate.ClaimView) int { return a.Claim.ID.Compare(b.Claim.ID) }
	before, after = slices.SortedFunc(slices.Values(before), byID), slices.SortedFunc(slices.Values(after), byID)
	if len(before) != len(after) {
		c.t.Fatalf("%d tasks ran, now %d", len(before), len(after))
	}
	for i := range before {
		b, a := before[i], after[i]
		if b.Claim.ID != a.Claim.ID || b.Claim.Machine != a.Claim.Machine || b.Status.PID != a.Status.PID ||
			b.Status.StartedAt != a.Status.StartedAt || b.Status.Restarts != a.Status.Restarts {
			c.t.Errorf("%s on %s was %+v, and is now %s on %s %+v", b.Claim.ID, b.Claim.Machine, *b.Status, a.Claim.ID, a.Claim.Machine, *a.Status)
		}
	}
}
