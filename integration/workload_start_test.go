package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/omegacell/omegacell/cellstate"
)

// startWorkload runs a whole cell in one process and hands in one job after the other. What is measured goes from before the job
// is written until its process runs, as the agent says, and until a mirror shows that.
func startWorkload(tb testing.TB, w workload) figures {
	tb.Helper()
	needRoot(tb)
	c := &cell{t: tb, tag: "main", dir: tb.TempDir()}
	tmp := filepath.Join(c.dir, "tmp")
	if err := os.Mkdir(tmp, 0o755); err != nil {
		tb.Fatal(err)
	}
	marks := []string{tmp + "/"}
	nothingLeft(tb, func() []string { return marks })
	dev := start(tb, command{
		name: "celld dev", path: binary(tb, "celld"), dir: c.dir, env: []string{"TMPDIR=" + tmp},
		args: []string{"dev", "--agents", "1", "--listen-client-url", "http://127.0.0.1:0"},
	})
	marks = append(marks, fmt.Sprintf("omegacell-dev-%d-", dev.cmd.Process.Pid))
	c.endpoint = dev.await(`etcd at (http://\S+), 1 machines`)[1]
	c.follow()
	store := openStore(tb, c.client, c.tag)
	c.until("the scheduler is there", func(s cellstate.Snapshot) bool { _, ok := s.Scheduler("batch"); return ok })

	var running, reported []time.Duration
	for i := range w.Jobs + 1 {
		j := &cellstate.Job{
			Scheduler: "batch", Name: fmt.Sprintf("job-%06d", i), Run: 1, Version: 1, Tenant: cellstate.DefaultTenant,
			Precedence: cellstate.BandBatch.Lowest(), Tasks: 1, SubmittedAt: now(),
			Task: cellstate.TaskSpec{Command: []string{"sleep", "1000"}, Resources: cellstate.Resources{CPUMilli: 1, MemBytes: 8 << 20}},
		}
		began := time.Now()
		put(tb, store, []cellstate.Value{j})
		v := c.untilRunning("batch", j.Name, 1)[0]
		if i > 0 { // the first one warms up
			reported = append(reported, time.Since(began))
			running = append(running, v.Status.StartedAt.Time().Sub(began))
		}
	}
	f := make(figures)
	f["running-p50-ms"], f["running-p99-ms"] = percentiles(running)
	f["reported-p50-ms"], f["reported-p99-ms"] = percentiles(reported)
	c.checkInvariants()
	return f
}
