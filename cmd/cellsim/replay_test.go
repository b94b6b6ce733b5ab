package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// small is a trace of 4 machines with 2 devices each, for which 20 tasks of half a device are 4 too many.
func small(t *testing.T) (machines, tasks string) {
	var nodes, pods strings.Builder
	nodes.WriteString(nodesHeading)
	pods.WriteString(podsHeading)
	for i := range 4 {
		fmt.Fprintf(&nodes, "n%d,64000,65536,2,%s\n", i, []string{"A", "B"}[i%2])
	}
	for i := range 20 {
		fmt.Fprintf(&pods, "p%02d,1000,1024,1,500,,LS,Running,%d,0,0\n", i, i)
	}
	fmt.Fprint(&pods, "q0,1000,1024,0,0,,BE,Running,30,0,0\nq1,1000,1024,1,500,C,LS,Running,31,0,0\n")
	return writeTrace(t, nodes.String(), pods.String())
}

// TestReplay plays a small trace on both stores: everything that fits is placed, the rest is told by reason.
func TestReplay(t *testing.T) {
	for _, store := range []string{"memory", "etcd"} {
		for _, schedulers := range []string{"1", "3"} {
			t.Run(store+"/"+schedulers, func(t *testing.T) {
				machines, tasks := small(t)
				var stdout, stderr bytes.Buffer
				code := run([]string{"replay", "--machines", machines, "--jobs", tasks, "--store", store, "--schedulers", schedulers, "--json", "--seed", "1"}, &stdout, &stderr)
				if code != 0 {
					t.Fatalf("exit %d: %s", code, stderr.String())
				}
				var got result
				if err := json.Unmarshal(stdout.Bytes(), &got); err != nil {
					t.Fatal(err)
				}
				if got.Placed != 17 || got.Unplaced["full: gpu"] != 4 || got.Unplaced["constraint"] != 1 || got.UnplacedThatFit != 0 {
					t.Errorf("placed %d, unplaced %v, of those %d fit; want 17, 4 for want of gpu and 1 of its model", got.Placed, got.Unplaced, got.UnplacedThatFit)
				}
				if got.Violations != 0 || got.Revisions == 0 || got.Transactions < 17 {
					t.Errorf("%d violations in %d revisions after %d transactions: %v", got.Violations, got.Revisions, got.Transactions, got.Violated)
				}
				if stderr.Len() != 0 {
					t.Errorf("on stderr: %s", stderr.String())
				}
			})
		}
	}
}

func TestReplayUsage(t *testing.T) {
	machines, tasks := small(t)
	for _, tt := range []struct {
		name string
		args []string
		says string
	}{
		{"no files", []string{"replay"}, "--machines and --jobs are required"},
		{"format", []string{"replay", "--format", "borg", "--machines", machines, "--jobs", tasks}, `--format "borg"`},
		{"store", []string{"replay", "--store", "disk", "--machines", machines, "--jobs", tasks}, `--store "disk"`},
		{"no schedulers", []string{"replay", "--schedulers", "0", "--machines", machines, "--jobs", tasks}, "--schedulers"},
		{"missing file", []string{"replay", "--machines", machines + ".no", "--jobs", tasks}, "no such file"},
		{"unknown flag", []string{"replay", "--fast"}, "unknown flag: --fast"},
		{"unknown command", []string{"play"}, `unknown command "play"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			if code := run(tt.args, &stdout, &stderr); code != 2 {
				t.Errorf("exit %d, want 2", code)
			}
			if s := stderr.String(); !strings.Contains(s, tt.says) || strings.Count(s, "\n") != 1 {
				t.Errorf("stderr %q, want one line with %q", s, tt.says)
			}
		})
	}
}
