package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestReplayOpenb replays Alibaba's openb trace with one, four and sixteen schedulers on a real etcd: no violation, and nothing
// waits that there is room for. OMEGACELL_DATA names the directory that holds openb/.
func TestReplayOpenb(t *testing.T) {
	data := os.Getenv("OMEGACELL_DATA")
	if data == "" {
		t.Skip("NOT RUN: OMEGACELL_DATA does not name the directory with the openb trace")
	}
	const nodes, pods = 1523, 8152
	table := "schedulers  placed  unplaced  placements/s  transactions  conflicts  fraction  retries  commit p50, p99 ms"
	for _, schedulers := range []int{1, 4, 16} {
		cmd := exec.CommandContext(t.Context(), binary(t, "cellsim"), "replay", "--format", "openb", "--store", "etcd", "--seed", "1", "--json",
			"--machines", filepath.Join(data, "openb", "openb_node_list_all_node.csv"),
			"--jobs", filepath.Join(data, "openb", "openb_pod_list_default.csv"), "--schedulers", fmt.Sprint(schedulers))
		var bad bytes.Buffer
		cmd.Stderr = &bad
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("cellsim with %d schedulers: %v: %s", schedulers, err, &bad)
		}
		var r struct {
			Machines, Jobs, Placed  int
			Unplaced                map[string]int
			UnplacedThatFit         int `json:"unplaced_that_fit"`
			Transactions, Conflicts int
			Retries, Violations     int
			Fraction                float64 `json:"conflict_fraction"`
			PerSecond               float64 `json:"placements_per_second"`
			P50                     float64 `json:"commit_p50_ms"`
			P99                     float64 `json:"commit_p99_ms"`
			Revisions               int     `json:"revisions_audited"`
		}
		if err := json.Unmarshal(out, &r); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		unplaced := 0
		for _, n := range r.Unplaced {
			unplaced += n
		}
		if r.Machines != nodes || r.Jobs != pods || r.Violations != 0 || r.UnplacedThatFit != 0 || r.Placed+unplaced != pods || r.Revisions == 0 {
			t.Errorf("%d schedulers: %s", schedulers, out)
		}
		table += fmt.Sprintf("\n%10d  %6d  %8d  %12.0f  %12d  %9d  %8.4f  %7d  %.1f, %.1f",
			schedulers, r.Placed, unplaced, r.PerSecond, r.Transactions, r.Conflicts, r.Fraction, r.Retries, r.P50, r.P99)
	}
	t.Log("openb\n" + table)
}
