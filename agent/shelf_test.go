package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/omegacell/omegacell/cellstate"
)

func TestShelf(t *testing.T) {
	dir := t.TempDir()
	s, err := openShelf(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openShelf(dir); err == nil || !strings.Contains(err.Error(), "in use by another agent") {
		t.Errorf("a second agent: %v", err)
	}
	o := &Order{ID: cellstate.ClaimID{Scheduler: "s", Job: "j", Run: 7}, JobVersion: 2, Tasks: 3, StopAfter: time.Minute,
		Spec:      cellstate.TaskSpec{Command: []string{"true"}, Health: &cellstate.HealthCheck{TCP: "127.0.0.1:1"}},
		Resources: cellstate.Resources{CPUMilli: 1}, GPUs: []cellstate.GPUShare{{Device: 1, Milli: 500}}}
	if err := s.put(o); err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(dir, "orders", "x.json")
	if err := os.WriteFile(bad, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	orders, unread, err := s.load()
	if err != nil || len(orders) != 1 || !cmp.Equal(orders[0], o) || !cmp.Equal(unread, []string{bad}) {
		t.Errorf("loaded %+v, bad %v, %v", orders, unread, err)
	}
	for range 2 {
		if err := s.drop(o.ID); err != nil {
			t.Error(err)
		}
	}
	if orders, _, _ := s.load(); len(orders) != 0 {
		t.Errorf("left: %v", orders)
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	if s, err = openShelf(dir); err != nil {
		t.Fatalf("after the first has gone: %v", err)
	}
	_ = s.close()
}
