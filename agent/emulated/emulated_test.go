package emulated

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/omegacell/omegacell/agent"
	"github.com/omegacell/omegacell/agent/drivertest"
	"github.com/omegacell/omegacell/cellstate"
)

func TestConformance(t *testing.T) {
	drivertest.Run(t, func(t *testing.T) drivertest.Subject {
		c := NewClock()
		t.Cleanup(c.Close)
		return drivertest.Subject{
			Open: func() agent.Driver { return New(c, "m1") },
			Stubborn: func(t agent.Task) (agent.Task, func()) {
				t.Env["OMEGACELL_EMULATED_STOP"] = "1h"
				return t, func() {}
			},
		}
	})
}

func TestDurations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewClock()
		defer c.Close()
		d := New(c, "m1")
		defer d.Close()
		begin := time.Now()
		for i, tt := range []struct {
			command []string
			env     map[string]string
			want    time.Duration
		}{
			{[]string{"sleep", "10"}, nil, 10 * time.Second},
			{[]string{"sleep", "0.25"}, nil, 250 * time.Millisecond},
			{[]string{"sleep", "10"}, map[string]string{"OMEGACELL_EMULATED_RUNTIME": "1h"}, time.Hour},
			{[]string{"serve"}, map[string]string{"OMEGACELL_EMULATED_RUNTIME": "0s"}, 0},
		} {
			at := time.Now()
			id := cellstate.ClaimID{Scheduler: "s", Job: "j", Task: uint32(i)}
			if _, err := d.Start(t.Context(), agent.Task{ID: id, Spec: cellstate.TaskSpec{Command: tt.command}, Env: tt.env}); err != nil {
				t.Fatal(err)
			}
			s := <-d.Events()
			if got := time.Since(at); s.ID != id || got != tt.want || s.EndedAt.Sub(s.StartedAt) != tt.want {
				t.Errorf("%q %v: %+v after %s, want %s", tt.command, tt.env, s, got, tt.want)
			}
		}
		if time.Since(begin) < time.Hour {
			t.Error("the bubble's clock did not advance")
		}
	})
}

func TestStopComesBeforeTheEndOnlyIfItIsEarlier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewClock()
		defer c.Close()
		d := New(c, "m1")
		defer d.Close()
		for i, tt := range []struct {
			runtime, stop, grace string
			want                 time.Duration // after the stop
			signal               int32
		}{
			{"10s", "3s", "5s", 3 * time.Second, 0},
			{"10s", "5s", "5s", 5 * time.Second, 0},
			{"10s", "6s", "5s", 5 * time.Second, 9},
			{"2s", "6s", "5s", 2 * time.Second, 0},
		} {
			id := cellstate.ClaimID{Scheduler: "s", Job: "j", Task: uint32(i)}
			grace, err := time.ParseDuration(tt.grace)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := d.Start(t.Context(), agent.Task{ID: id, Spec: cellstate.TaskSpec{StopGrace: grace}, Env: map[string]string{
				"OMEGACELL_EMULATED_RUNTIME": tt.runtime, "OMEGACELL_EMULATED_STOP": tt.stop,
			}}); err != nil {
				t.Fatal(err)
			}
			at := time.Now()
			if err := d.Stop(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			s := <-d.Events()
			if got := time.Since(at); got != tt.want || s.Signal != tt.signal || s.Outcome != cellstate.OutcomeStopped {
				t.Errorf("%+v: %+v after %s", tt, s, got)
			}
		}
	})
}

func TestBadSpecifications(t *testing.T) {
	for _, tt := range []struct {
		name string
		task agent.Task
		ok   bool
	}{
		{"exit code 255", agent.Task{Env: map[string]string{"OMEGACELL_EMULATED_EXIT": "255"}}, true},
		{"exit code 256", agent.Task{Env: map[string]string{"OMEGACELL_EMULATED_EXIT": "256"}}, false},
		{"negative run time", agent.Task{Env: map[string]string{"OMEGACELL_EMULATED_RUNTIME": "-1s"}}, false},
		{"negative stopping time", agent.Task{Env: map[string]string{"OMEGACELL_EMULATED_STOP": "-1s"}}, false},
		{"longest sleep", agent.Task{Spec: cellstate.TaskSpec{Command: []string{"sleep", "9e9"}}}, true},
		{"longer sleep", agent.Task{Spec: cellstate.TaskSpec{Command: []string{"sleep", "9.1e9"}}}, false},
		{"sleep for ever", agent.Task{Spec: cellstate.TaskSpec{Command: []string{"sleep", "infinity"}}}, true},
		{"sleep NaN", agent.Task{Spec: cellstate.TaskSpec{Command: []string{"sleep", "nan"}}}, false},
	} {
		if _, err := planOf(&tt.task); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// TestManyHosts has a hundred thousand tasks on a thousand hosts end, each reported to its own driver, without a goroutine
// for each.
func TestManyHosts(t *testing.T) {
	const hosts, perHost = 1000, 100
	synctest.Test(t, func(t *testing.T) {
		c := NewClock()
		defer c.Close()
		ds := make([]*Driver, hosts)
		for h := range ds {
			ds[h] = New(c, fmt.Sprintf("m%d", h))
			defer ds[h].Close()
			for i := range perHost {
				id := cellstate.ClaimID{Scheduler: "s", Job: fmt.Sprintf("j%d", h), Task: uint32(i)}
				spec := cellstate.TaskSpec{Command: []string{"sleep", fmt.Sprint(1 + (i*7919+h)%3600)}}
				if _, err := ds[h].Start(context.Background(), agent.Task{ID: id, Spec: spec}); err != nil {
					t.Fatal(err)
				}
			}
		}
		if n := runtime.NumGoroutine(); n > 50 {
			t.Errorf("%d goroutines for %d tasks", n, hosts*perHost)
		}
		for h, d := range ds {
			last := cellstate.Instant(0)
			for range perHost {
				s := <-d.Events()
				if s.ID.Job != fmt.Sprintf("j%d", h) {
					t.Fatalf("host %d was told of %s", h, s.ID)
				}
				if s.EndedAt < last {
					t.Fatalf("host %d: ends out of order", h)
				}
				last = s.EndedAt
			}
		}
	})
}
