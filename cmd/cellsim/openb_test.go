package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/omegacell/omegacell/cellstate"
)

const (
	nodesHeading = "sn,cpu_milli,memory_mib,gpu,model\n"
	podsHeading  = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time\n"
)

// writeTrace writes both files of a trace and returns their names.
func writeTrace(t *testing.T, nodes, pods string) (machines, tasks string) {
	t.Helper()
	dir := t.TempDir()
	machines, tasks = filepath.Join(dir, "nodes.csv"), filepath.Join(dir, "pods.csv")
	for name, text := range map[string]string{machines: nodes, tasks: pods} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return machines, tasks
}

func TestReadOpenb(t *testing.T) {
	machines, tasks := writeTrace(t,
		nodesHeading+"n1,32000,262144,0,\nn2,96000,786432,8,G2\n",
		podsHeading+"late,4000,1024,2,1000,G2|T4,BE,Running,20,30,20\nearly,1000,512,1,460,,LS,Running,10,30,10\nplain,1,1,0,0,,Burstable,Failed,10,30,\n")
	got, err := readOpenb(machines, tasks)
	if err != nil {
		t.Fatal(err)
	}
	if n := got.machines[1]; n.name != "n2" || n.model != "G2" || n.capacity.GPUMilli != 8000 || n.capacity.MemBytes != 768<<30 {
		t.Errorf("second machine %+v", n)
	}
	var order []string
	for _, p := range got.tasks {
		order = append(order, p.name)
	}
	if s := strings.Join(order, " "); s != "early plain late" {
		t.Errorf("order %s, want that of arrival, ties as in the file", s)
	}
	if p := got.tasks[0]; p.resources.GPUMilli != 460 || p.precedence.Band() != cellstate.BandProduction || p.models != nil {
		t.Errorf("share of a device: %+v", p)
	}
	if p := got.tasks[2]; p.resources.GPUMilli != 2000 || len(p.models) != 2 || p.precedence.Band() != cellstate.BandBestEffort {
		t.Errorf("two devices of two models: %+v", p)
	}
}

func TestReadOpenbRefuses(t *testing.T) {
	const node, pod = nodesHeading + "n1,1,1,0,\n", podsHeading + "p,1,1,0,0,,LS,Running,0,0,0\n"
	for _, tt := range []struct{ name, nodes, pods, says string }{
		{"no heading", "", pod, "nodes.csv:1: no heading"},
		{"a column missing", "sn,cpu_milli,memory_mib,model\n", pod, "nodes.csv:1: no column gpu"},
		{"no machines", nodesHeading, pod, "no machines"},
		{"not a number", nodesHeading + "n1,many,1,0,\n", pod, `nodes.csv:2: cpu_milli: "many" is not a number`},
		{"negative", nodesHeading + "n0,1,1,0,\nn1,-1,1,0,\n", pod, "nodes.csv:3: cpu_milli"},
		{"bad name", nodesHeading + "a/b,1,1,0,\n", pod, "nodes.csv:2: sn"},
		{"machine twice", nodesHeading + "n1,1,1,0,\nn1,1,1,0,\n", pod, "machine n1 stands there twice"},
		{"task twice", node, pod + "p,1,1,0,0,,LS,Running,0,0,0\n", "p stands there twice"},
		{"part of two devices", node, podsHeading + "p,1,1,2,600,,LS,Running,0,0,0\n", "pods.csv:2: gpu_milli"},
		{"unknown class", node, podsHeading + "p,1,1,0,0,,Best,Running,0,0,0\n", `pods.csv:2: qos: unknown class "Best"`},
		{"short line", node, podsHeading + "p,1,1\n", "pods.csv:2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := readOpenb(writeTrace(t, tt.nodes, tt.pods))
			if err == nil || !errors.Is(err, cellstate.ErrInvalid) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error %v, want invalid: … %s …", err, tt.says)
			}
		})
	}
}
