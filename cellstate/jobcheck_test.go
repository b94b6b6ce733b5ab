package cellstate

import (
	"strings"
	"testing"
	"time"
)

func TestJobCheck(t *testing.T) {
	most := Limits{}.WithDefaults().TasksPerJob
	extended := func(n int64) Resources { return Resources{Extended: []Extended{{"fpga", n}}} }
	sized := func(tasks uint32, r Resources) func(*Job) {
		return func(j *Job) { j.Tasks, j.Task.Resources = tasks, r }
	}
	health := func(h HealthCheck) func(*Job) { return func(j *Job) { j.Task.Health = &h } }
	for _, tt := range []struct {
		name   string
		change func(*Job)
		says   string // part of the error; "" for none
	}{
		{"plain", func(*Job) {}, ""},
		{"scheduler", func(j *Job) { j.Scheduler = "" }, "scheduler"},
		{"the operator's name", func(j *Job) { j.Scheduler = Operator }, `none can be named "operator"`},
		{"name", func(j *Job) { j.Name = "a/b" }, `name: name "a/b"`},
		{"no tenant", func(j *Job) { j.Tenant = "" }, ""},
		{"tenant", func(j *Job) { j.Tenant = "a b" }, "tenant"},
		{"no driver", func(j *Job) { j.Task.Driver = "" }, ""},
		{"driver", func(j *Job) { j.Task.Driver = "/bin" }, "task.driver"},

		{"no tasks", func(j *Job) { j.Tasks = 0 }, "0 tasks"},
		{"one task", func(j *Job) { j.Tasks = 1 }, ""},
		{"most tasks", func(j *Job) { j.Tasks = uint32(most) }, ""},
		{"one more", func(j *Job) { j.Tasks = uint32(most) + 1 }, "100001 tasks, not 1 to 100000"},
		{"whole gang", func(j *Job) { j.Tasks, j.GangMin = 3, 3 }, ""},
		{"gang of more", func(j *Job) { j.Tasks, j.GangMin = 3, 4 }, "a gang of at least 4"},
		{"highest precedence", func(j *Job) { j.Precedence = MaxPrecedence }, ""},
		{"above it", func(j *Job) { j.Precedence = MaxPrecedence + 1 }, "precedence 400"},
		{"below zero", func(j *Job) { j.Precedence = -1 }, "precedence -1"},
		{"last packing", func(j *Job) { j.Packing = SpreadLoad }, ""},
		{"packing beyond", func(j *Job) { j.Packing = SpreadLoad + 1 }, "packing"},

		{"largest task", sized(1, cpu(MaxAmount)), ""},
		{"larger", sized(1, cpu(MaxAmount+1)), "task.resources"},
		{"part of a second GPU", sized(1, gpu(1500)), "task.resources"},
		{"largest demand", sized(1<<13, Resources{CPUMilli: 1, MemBytes: MaxAmount}), ""},
		{"larger demand", sized(1<<13+1, Resources{CPUMilli: 1, MemBytes: MaxAmount}), "8193 tasks ask for 72066390130950144 of memory together"},
		{"largest extended demand", sized(1<<13, extended(MaxAmount)), ""},
		{"larger extended demand", sized(1<<13+1, extended(MaxAmount)), "of fpga together"},
		{"most of everything", sized(uint32(most), cpu(MaxAmount)), "of cpu together"},

		{"run time", func(j *Job) { j.Task.MaxRunTime = -1 }, "task.maxRunTime: -1ns is negative"},
		{"grace", func(j *Job) { j.Task.StopGrace = -1 }, "task.stop.grace"},
		{"backoff min", func(j *Job) { j.Task.Restart.BackoffMin = -1 }, "backoffMin"},
		{"backoff max", func(j *Job) { j.Task.Restart.BackoffMax = -1 }, "backoffMax"},
		{"backoffs equal", func(j *Job) { j.Task.Restart.BackoffMin, j.Task.Restart.BackoffMax = time.Second, time.Second }, ""},
		{"backoffs crossed", func(j *Job) { j.Task.Restart.BackoffMin, j.Task.Restart.BackoffMax = time.Second+1, time.Second }, "more than backoffMax 1s"},
		{"backoff max left out", func(j *Job) { j.Task.Restart.BackoffMin = time.Hour }, ""},
		{"healthy for", func(j *Job) { j.Update.HealthyFor = -1 }, "update.healthyFor"},
		{"health timeout", func(j *Job) { j.Update.HealthTimeout = -1 }, "update.healthTimeout"},
		{"stop after", func(j *Job) { j.Disconnect.StopAfter = -1 }, "disconnect.stopAfter"},
		{"never replaced", func(j *Job) { j.Disconnect.ReplaceAfter = -1 }, ""},

		{"last restart", func(j *Job) { j.Task.Restart.When = RestartAlways }, ""},
		{"restart beyond", func(j *Job) { j.Task.Restart.When = RestartAlways + 1 }, "task.restart.when"},
		{"logs", func(j *Job) { j.Task.Logs.MaxBytes = -1 }, "task.logs"},
		{"argument", func(j *Job) { j.Task.Command = []string{"a", "b\x00"} }, "task.command: argument 1"},
		{"variable", func(j *Job) { j.Task.Env = map[string]string{"A": "=", "B": ""} }, ""},
		{"variable without a name", func(j *Job) { j.Task.Env = map[string]string{"": "x"} }, "task.env"},
		{"variable with =", func(j *Job) { j.Task.Env = map[string]string{"A=B": "x"} }, "task.env"},
		{"variable with a zero byte", func(j *Job) { j.Task.Env = map[string]string{"A\x00": "x"} }, "task.env"},
		{"value with a zero byte", func(j *Job) { j.Task.Env = map[string]string{"Z": "\x00", "A": "\x00"} }, `task.env: "A"=`},
		{"no kind of check", health(HealthCheck{}), "not 0 of them"},
		{"check by command", health(HealthCheck{Command: []string{"true"}}), ""},
		{"check by http", health(HealthCheck{HTTP: "http://x"}), ""},
		{"check by tcp", health(HealthCheck{TCP: "x:1"}), ""},
		{"two kinds of check", health(HealthCheck{HTTP: "http://x", TCP: "x:1"}), "not 2 of them"},
		{"check interval", health(HealthCheck{TCP: "x:1", Interval: -1}), "interval -1ns"},
		{"check timeout", health(HealthCheck{TCP: "x:1", Timeout: -1}), "timeout -1ns"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j := &Job{Scheduler: "batch", Name: "a", Tenant: "t", Precedence: 100, Tasks: 3}
			tt.change(j)
			err := j.Check()
			checkInvalid(t, tt.name, err, tt.says == "")
			if err != nil && (!strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), j.Scheduler+"/"+j.Name)) {
				t.Errorf("%v: does not name %s/%s and %q", err, j.Scheduler, j.Name, tt.says)
			}
		})
	}
}

// TestDemandsAddUp adds up the largest demands that Check lets through.
func TestDemandsAddUp(t *testing.T) {
	if sum := cpu(MaxDemand).Times(127); sum.CPUMilli/127 != MaxDemand {
		t.Errorf("127 jobs ask for %d", sum.CPUMilli)
	}
}

func TestLedgerCheck(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Ledger)
		says   string
	}{
		{"empty", func(*Ledger) {}, ""},
		{"no name", func(l *Ledger) { l.Machine = "" }, "name"},
		{"largest", func(l *Ledger) { l.Capacity = cpu(MaxAmount) }, ""},
		{"larger", func(l *Ledger) { l.Capacity = cpu(MaxAmount + 1) }, "capacity: cpu"},
		{"negative", func(l *Ledger) { l.Capacity = cpu(-1) }, "capacity: cpu"},
		{"one device", func(l *Ledger) { l.Capacity = gpu(1000) }, ""},
		{"part of one", func(l *Ledger) { l.Capacity = gpu(999) }, "capacity: gpu 999m"},
		{"most devices", func(l *Ledger) { l.Capacity = gpu(MaxGPUDevices * GPUDevice) }, ""},
		{"one more", func(l *Ledger) { l.Capacity = gpu((MaxGPUDevices + 1) * GPUDevice) }, "not 0 to 1024 whole devices"},
		{"most claims", func(l *Ledger) { l.Claims = make([]Claim, MaxClaims) }, ""},
		{"one more claim", func(l *Ledger) { l.Claims = make([]Claim, MaxClaims+1) }, "16385 claims, more than the hard bound of 16384"},
	} {
		l := NewLedger("m1", cpu(1))
		tt.change(l)
		err := l.Check()
		checkInvalid(t, tt.name, err, tt.says == "")
		if err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v does not say %q", tt.name, err, tt.says)
		}
	}
}
