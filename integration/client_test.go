package integration

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/omegacell/omegacell/cellstate/cellpb"
)

// stored is the documented spelling of keys below /omegacell/<cell>/, and what stands at each. It is written down here once more, from
// cell.proto and not from the code that spells keys: a change of either breaks every program that reads a cell.
var stored = []form{
	{"ledgers/*", func() proto.Message { return &cellpb.Ledger{} }, false},
	{"reports/*", func() proto.Message { return &cellpb.Report{} }, false},
	{"sessions/*", func() proto.Message { return &cellpb.Session{} }, true},
	{"machines/*", func() proto.Message { return &cellpb.Machine{} }, false},
	{"tenants/*", func() proto.Message { return &cellpb.Tenant{} }, false},
	{"jobs/*/*", func() proto.Message { return &cellpb.Job{} }, false},
	{"jobs/*/*/status", func() proto.Message { return &cellpb.JobStatus{} }, false},
	{"schedulers/*", func() proto.Message { return &cellpb.Scheduler{} }, false},
	{"leaders/*/*", func() proto.Message { return &cellpb.Leader{} }, true},
}

// form is one kind of key.
type form struct {
	key   string // * stands for one name
	value func() proto.Message
	lease bool // it stands under one
}

// TestPlainEtcdClient reads a running cell with nothing but etcd's own client and the protobuf messages.
func TestPlainEtcdClient(t *testing.T) {
	c := newCell(t)
	c.startMember()
	c.startAgent("m1")
	scheduler := c.startScheduler("batchsched")
	c.ctl("tenant", "set", "team", "--band", "batch", "--cpu", "8", "--memory", "1Gi")
	job := c.gated("batch", "plain", 2)
	job.more = "tenant: team\n"
	job.submit().running()
	huge := c.gated("batch", "huge", 1)
	huge.cpu = "100"
	huge.submit()
	c.until("there is a status", huge.parked)

	client := dial(t, c.endpoint)
	prefix := "/omegacell/" + c.tag + "/"
	got, err := client.Get(t.Context(), prefix, clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]proto.Message)
	kinds := make(map[string]bool)
	for _, kv := range got.Kvs {
		key := strings.TrimPrefix(string(kv.Key), prefix)
		i := slices.IndexFunc(stored, func(f form) bool { return spelt(f.key, key) })
		if i < 0 {
			t.Errorf("key %s is spelt as none of the documented ones", key)
			continue
		}
		m := stored[i].value()
		if err := proto.Unmarshal(kv.Value, m); err != nil {
			t.Errorf("%s: %v", key, err)
		}
		if u := m.ProtoReflect().GetUnknown(); len(u) > 0 {
			t.Errorf("%s has %d bytes of fields that the contract does not have", key, len(u))
		}
		if (kv.Lease != 0) != stored[i].lease {
			t.Errorf("%s: lease %x, want one: %t", key, kv.Lease, stored[i].lease)
		}
		seen[key] = m
		kinds[stored[i].key] = true
	}
	if len(kinds) != len(stored) {
		t.Errorf("of the %d documented kinds of keys only these are there: %v", len(stored), slices.Sorted(maps.Keys(kinds)))
	}

	ledger, _ := seen["ledgers/m1"].(*cellpb.Ledger)
	report, _ := seen["reports/m1"].(*cellpb.Report)
	spec, _ := seen["jobs/batch/plain"].(*cellpb.Job)
	if ledger.GetMachine() != "m1" || ledger.GetCapacity().GetCpuMilli() != 4000 || len(ledger.GetClaims()) != 2 || len(report.GetClaims()) != 2 {
		t.Fatalf("ledger %v\nreport %v", ledger, report)
	}
	for i, claim := range ledger.GetClaims() {
		if claim.GetScheduler() != "batch" || claim.GetJob() != "plain" || claim.GetTask() != uint32(i) || claim.GetRun() != spec.GetRun() ||
			claim.GetResources().GetCpuMilli() != 100 || claim.GetStartUnixMillis() == 0 || claim.GetEnded() {
			t.Errorf("claim %d: %v", i, claim)
		}
	}
	for _, status := range report.GetClaims() {
		if status.GetPhase() != cellpb.Phase_PHASE_RUNNING || status.GetPid() == 0 || status.GetStartedAtUnixMillis() == 0 {
			t.Errorf("reported: %v", status)
		}
	}
	if spec.GetScheduler() != "batch" || spec.GetName() != "plain" || spec.GetTasks() != 2 || spec.GetTenant() != "team" || spec.GetTask().GetCommand()[0] != "sh" {
		t.Errorf("job %v", spec)
	}
	if s, _ := seen["jobs/batch/huge/status"].(*cellpb.JobStatus); s.GetExplanation().GetUnplaced() != 1 {
		t.Errorf("status %v", s)
	}
	if m, _ := seen["machines/m1"].(*cellpb.Machine); m.GetAttributes()["os"] != "linux" {
		t.Errorf("machine %v", m)
	}
	if l, _ := seen["leaders/batch/0"].(*cellpb.Leader); !strings.HasSuffix(l.GetHolder(), fmt.Sprint("/", scheduler.cmd.Process.Pid)) {
		t.Errorf("leader %v", l)
	}
}

// spelt reports whether a key has the form, in which * stands for one name.
func spelt(form, key string) bool {
	f, k := strings.Split(form, "/"), strings.Split(key, "/")
	if len(f) != len(k) {
		return false
	}
	for i := range f {
		if f[i] != "*" && f[i] != k[i] {
			return false
		}
	}
	return true
}
