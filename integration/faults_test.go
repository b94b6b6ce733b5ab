package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/omegacell/omegacell/cellstate"
)

// TestMemberRestart kills etcd while tasks run. They go on; what ends while it is away is reported when it is back, and nothing
// is started again because of it.
func TestMemberRestart(t *testing.T) {
	c := newCell(t)
	member := c.startMember()
	c.startAgent("m1")
	c.startAgent("m2")
	c.startScheduler("batchsched")
	c.startScheduler("servicesched")
	ends, stays := c.gated("batch", "ends", 4).submit(), c.gated("service", "stays", 2).submit()
	ending, staying := ends.running(), stays.running()

	member.kill()
	ends.open()
	awaitGone(c, ending)
	member.again().ready()
	// A job that comes after it is served as one before.
	late := c.gated("batch", "late", 2)
	late.open()
	late.submit("--wait=finished")

	c.untilPhase("batch", "ends", cellstate.JobSucceeded)
	ends.startedOnce()
	late.startedOnce()
	sameTasks(c, staying, stays.running())
	stays.startedOnce()
	c.checkInvariants()
}

// TestAgentKilled kills an agent while its tasks run, and has one of them end before the next agent is there. That one adopts
// the others, and reports how the one ended.
func TestAgentKilled(t *testing.T) {
	c := newCell(t)
	c.startMember()
	agent := c.startAgent("m1")
	c.startScheduler("batchsched")
	fails := c.gated("batch", "fails", 1)
	fails.exit = 7
	fails.submit()
	lives := c.gated("batch", "lives", 3).submit()
	failing, living := fails.running(), lives.running()

	agent.kill()
	fails.open()
	awaitGone(c, failing)
	agent.again().ready()
	s := c.untilPhase("batch", "fails", cellstate.JobFailed)
	_, st, _ := s.Job("batch", "fails")
	if len(st.Tasks) != 1 || st.Tasks[0].Last.Outcome != cellstate.OutcomeExited || st.Tasks[0].Last.ExitCode != 7 {
		t.Errorf("the end of the task is told as %+v, want exit code 7", st.Tasks)
	}
	c.until("the next agent reports what it adopted", func(s cellstate.Snapshot) bool {
		m, ok := s.Machine("m1")
		return ok && m.Session != nil && m.Session.Epoch == 2 && m.Report.Epoch == 2
	})
	sameTasks(c, living, lives.running())

	lives.open()
	c.untilPhase("batch", "lives", cellstate.JobSucceeded)
	fails.startedOnce()
	lives.startedOnce()
	c.checkInvariants()
}

// TestStandby kills the leader of two copies of a scheduler. The other one takes over what is under way, and nothing is placed
// twice.
func TestStandby(t *testing.T) {
	c := newCell(t)
	c.startMember()
	c.startAgent("m1")
	copies := map[string]*process{} // by what leader keys say
	for range 2 {
		p := c.startScheduler("batchsched", "--lease-ttl", "2s")
		copies[fmt.Sprint(p.cmd.Process.Pid)] = p
	}
	leader := func() string {
		c.t.Helper()
		var l struct{ Value cellLeader }
		c.ctlJSON(&l, "get", "leaders/batch/0")
		_, pid, _ := strings.Cut(l.Value.Holder, "/")
		return pid
	}
	before := c.gated("batch", "before", 3).submit()
	running := before.running()
	first := leader()
	if copies[first] == nil {
		t.Fatalf("the leader key names process %q, which is none of %v", first, copies)
	}
	copies[first].kill()
	after := c.gated("batch", "after", 2).submit() // while nobody leads
	after.running()
	if second := leader(); second == first || copies[second] == nil {
		t.Errorf("process %s leads after %s was killed", second, first)
	}
	sameTasks(c, running, before.running())
	before.open()
	after.open()
	c.untilPhase("batch", "before", cellstate.JobSucceeded)
	c.untilPhase("batch", "after", cellstate.JobSucceeded)
	before.startedOnce()
	after.startedOnce()
	c.checkInvariants()
}

// cellLeader is what cellctl shows of a leader key.
type cellLeader struct{ Holder string }

// TestCorruptValue has a value in etcd become garbage. It is named and set aside; the rest of the cell goes on, and so does that
// machine when its value is back.
func TestCorruptValue(t *testing.T) {
	const bad, quarantined = "ledgers/m1", "omegacell_mirror_quarantined"
	c := newCell(t)
	c.startMember()
	c.startAgent("m1")
	c.startAgent("m2")
	batch := c.startScheduler("batchsched")
	both := c.gated("batch", "both", 2)
	both.more = "spread: [{attribute: name, maxSkew: 1}]\n"
	running := both.submit().running()
	if m := machinesOf(running); len(m) != 2 {
		t.Fatalf("the tasks are on %v, want both machines", m)
	}
	if n := batch.metric(quarantined); n != "0" {
		t.Errorf("%s is %q before anything is corrupt", quarantined, n)
	}

	key := "/omegacell/" + c.tag + "/" + bad
	good, err := c.client.Get(t.Context(), key)
	if err != nil || len(good.Kvs) != 1 {
		t.Fatal(good, err)
	}
	broken, err := c.client.Put(t.Context(), key, "\xff\xff\x01garbage")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		code int
	}{
		{[]string{"get", bad}, 1},
		{[]string{"check", "invariants"}, 7},
	} {
		out, stderr, code := c.tryCtl(tt.args...)
		if code != tt.code || !strings.Contains(out+stderr, bad) {
			t.Errorf("cellctl %q: exit code %d, want %d and %s named:\n%s%s", tt.args, code, tt.code, bad, out, stderr)
		}
	}
	others := c.gated("batch", "others", 2).submit()
	if m := machinesOf(others.running()); !slices.Equal(m, []string{"m2"}) {
		t.Errorf("while %s cannot be read, tasks are placed on %v", bad, m)
	}
	eventually(t, "the scheduler counts the record", func() bool { return batch.metric(quarantined) == "1" })

	healed, err := c.client.Put(t.Context(), key, string(good.Kvs[0].Value))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the scheduler counts no record any more", func() bool { return batch.metric(quarantined) == "0" })
	only := c.gated("batch", "only", 1)
	only.more = "constraints: [{attribute: name, value: m1}]\n"
	only.submit().running()
	sameTasks(c, running, both.running())
	for _, g := range []*gated{both, others, only} {
		g.open()
		c.untilPhase("batch", g.name, cellstate.JobSucceeded)
		g.startedOnce()
	}
	// The history has the breach for good; after it there is none.
	for _, tt := range []struct {
		from int64
		code int
	}{{broken.Header.Revision, 7}, {healed.Header.Revision, 0}} {
		if out, stderr, code := c.tryCtl("check", "invariants", "--from-rev", fmt.Sprint(tt.from)); code != tt.code {
			t.Errorf("check invariants from revision %d: exit code %d, want %d\n%s%s", tt.from, code, tt.code, out, stderr)
		}
	}
}
