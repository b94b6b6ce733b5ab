package integration

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/omegacell/omegacell/cellstate"
)

// TestSeparateProcesses runs every part of a cell as a process of its own: a batch job, a service and its rolling update.
func TestSeparateProcesses(t *testing.T) {
	c := newCell(t)
	c.startMember()
	c.startAgent("m1")
	c.startAgent("m2")
	c.startScheduler("batchsched")
	c.startScheduler("servicesched")

	c.run(`
name: sum
scheduler: batch
tasks: 6
task:
  command: ["sh", "-c", 'echo "part $OMEGACELL_TASK of $OMEGACELL_TASKS"']
  resources: {cpu: 200m, memory: 16Mi}
`, "--wait=finished")
	for task := range 6 {
		if out := c.ctl("logs", fmt.Sprintf("sum/%d", task)); out != fmt.Sprintf("part %d of 6\n", task) {
			t.Errorf("logs of task %d: %q", task, out)
		}
	}

	service := func(version int) string {
		return fmt.Sprintf(`
name: web
scheduler: service
tasks: 3
task:
  command: ["sh", "-c", 'echo "this is version %d"; exec sleep 1000']
  resources: {cpu: 100m, memory: 16Mi}
  stop: {grace: 2s}
update: {maxParallel: 1, healthyFor: 300ms}
`, version)
	}
	c.run(service(1), "--wait=healthy")
	first := c.untilRunning("service", "web", 3)
	if machines := machinesOf(first); len(machines) != 2 {
		t.Errorf("the service runs on %v, want both machines", machines)
	}
	c.run(service(2), "--wait=healthy")
	for _, v := range c.untilRunning("service", "web", 3) {
		if v.Claim.JobVersion != 2 {
			t.Errorf("%s still runs version %d", v.Claim.ID, v.Claim.JobVersion)
		}
		if slices.ContainsFunc(first, func(o cellstate.ClaimView) bool { return o.Status.PID == v.Status.PID }) {
			t.Errorf("%s has process %d, which ran version 1", v.Claim.ID, v.Status.PID)
		}
	}
	for task := range 3 {
		if out := c.ctl("logs", fmt.Sprintf("web/%d", task)); out != "this is version 2\n" {
			t.Errorf("logs of task %d: %q", task, out)
		}
	}
	c.ctl("stop", "web", "--wait")
	downAtMostOne(c, "web", 3)
	if tasks := runningTasks(c.untilPhase("service", "web", cellstate.JobStopped), "service", "web"); len(tasks) > 0 {
		t.Errorf("stopped, and %d tasks run", len(tasks))
	}
	c.checkInvariants()
}

func machinesOf(tasks []cellstate.ClaimView) []string {
	var out []string
	for _, v := range tasks {
		out = append(out, v.Claim.Machine)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// downAtMostOne reads the story of a service as cellctl tells it, and holds that from the moment when all tasks ran until the job
// was stopped, no revision had more than one of them down: not running, or asked to go.
func downAtMostOne(c *cell, job string, tasks int) {
	c.t.Helper()
	up := make(map[string]string) // by task, the claim
	all, updated, seen := false, false, 0
	var rev int64
	check := func() {
		if len(up) == tasks {
			all = true
		}
		if all && len(up) < tasks-1 {
			c.t.Errorf("revision %d: only %d of %d tasks are up: %v", rev, len(up), tasks, up)
		}
	}
	for line := range strings.Lines(c.ctl("events", "--job", job, "-w", "json")) {
		var e struct {
			Rev   int64
			Event string
			Claim string
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			c.t.Fatalf("%v: %s", err, line)
		}
		if e.Rev != rev {
			check()
		}
		rev = e.Rev
		task, _, _ := strings.Cut(e.Claim, ".")
		switch e.Event {
		case "job-stopping":
			if !all || !updated || seen < 2*tasks {
				c.t.Errorf("the story of %s does not tell of all that happened: up %t, updated %t, %d starts", job, all, updated, seen)
			}
			return
		case "job-changed":
			updated = true
		case "task-running":
			up[task] = e.Claim
			seen++
		case "claim-evicted", "task-stopping", "task-ended", "claim-removed":
			if up[task] == e.Claim {
				delete(up, task)
			}
		}
	}
	c.t.Errorf("the story of %s has no end", job)
}
