package schedtest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/schedulers"
)

// Script plays the history in a datadriven file: a cell with one job "j". Each directive is "play" with commands for input, one
// a line; what comes out is what the plans among them say.
//
//	machine NAME... [cpu=N]      machines of so many thousandths of a core; 1000 by default
//	job [KEY=VALUE...]           submits the job, or changes what is named: tasks cpu gang retries version max-parallel
//	                             healthy-for health-timeout replace-after health stopped
//	tick DURATION                time passes
//	agents [sick=N]              what is due to stop ends as stopped, the rest runs; tasks of version N are unhealthy
//	end TASK [exit=N] [outcome=O] the claim of a task ends; exit 0 by default, outcome: signaled oom failed lost stopped
//	evict TASK in=DURATION       somebody else wants the room of the task's claim
//	lose NAME, back NAME         the machine's agent goes, or comes
//	drain NAME in=DURATION       an operator wants the machine empty; in=never takes that back
//	plan                         plans the job, prints the plan and carries it out
//
// What holds for every plan (see Run) is checked for each one.
func Script(t *testing.T, path string, p schedulers.Planner) {
	cfg := Config{Planner: p}.withDefaults()
	cfg.Machines = 0
	s := &script{newWorld(t, cfg, 1)}
	datadriven.RunTest(t, path, func(t *testing.T, play *datadriven.TestData) string {
		t.Helper()
		var out strings.Builder
		for line := range strings.Lines(play.Input) {
			d := *play
			var err error
			if d.Cmd, d.CmdArgs, err = datadriven.ParseLine(line); err != nil {
				play.Fatalf(t, "%v", err)
			}
			if !s.cell(t, &d) {
				out.WriteString(s.play(t, &d))
			}
			s.check()
		}
		return out.String()
	})
}

type script struct{ *world }

// cell carries out a command about machines and time.
func (s *script) cell(t *testing.T, d *datadriven.TestData) bool {
	names := make([]string, 0, len(d.CmdArgs))
	for _, a := range d.CmdArgs {
		if len(a.Vals) == 0 {
			names = append(names, a.Key)
		}
	}
	switch d.Cmd {
	case "tick":
		s.now = s.now.Add(duration(t, d, names[0]))
	case "machine":
		cpu := int64(1000)
		d.MaybeScanArgs(t, "cpu", &cpu)
		for _, n := range names {
			s.put(cellstate.NewLedger(n, cellstate.Resources{CPUMilli: cpu}))
			s.put(&cellstate.Machine{Name: n})
			s.put(&cellstate.Session{Machine: n, Epoch: 1})
		}
	case "lose":
		s.lose(names[0])
	case "back":
		s.restore(names[0])
	case "drain":
		var in string
		d.ScanArgs(t, "in", &in)
		m, _ := s.snapshot().Machine(names[0])
		l := m.Ledger.Clone()
		l.Drain = nil
		if in != "never" {
			l.Drain = &cellstate.Drain{Deadline: s.now.Add(duration(t, d, in)), Reason: "test"}
		}
		s.put(l)
	default:
		return false
	}
	return true
}

// play carries out a command about the job.
func (s *script) play(t *testing.T, d *datadriven.TestData) string {
	switch d.Cmd {
	case "job":
		s.job(t, d)
	case "agents":
		s.agents(t, d)
	case "end":
		s.end(t, d)
	case "evict":
		s.evict(t, d)
	case "plan":
		plan, ok := s.plan("j")
		if !ok {
			return "nothing to plan\n"
		}
		_, status, _ := s.snapshot().Job(s.cfg.Scheduler, "j")
		return s.show(&plan, status)
	default:
		d.Fatalf(t, "unknown command %q", d.Cmd)
	}
	return ""
}

func duration(t *testing.T, d *datadriven.TestData, text string) time.Duration {
	v, err := time.ParseDuration(text)
	if err != nil {
		d.Fatalf(t, "%v", err)
	}
	return v
}

func (s *script) job(t *testing.T, d *datadriven.TestData) {
	j := cellstate.Job{
		Scheduler: s.cfg.Scheduler, Name: "j", Run: 1, Version: 1, Precedence: 100, Tasks: 1, SubmittedAt: s.now,
		Task: cellstate.TaskSpec{Resources: cellstate.Resources{CPUMilli: 1000}},
	}
	if have, _, ok := s.snapshot().Job(s.cfg.Scheduler, "j"); ok {
		j = *have
	}
	for _, a := range d.CmdArgs {
		text := strings.Join(a.Vals, "")
		switch a.Key {
		case "tasks":
			a.Scan(t, 0, &j.Tasks)
		case "cpu":
			a.Scan(t, 0, &j.Task.Resources.CPUMilli)
		case "gang":
			a.Scan(t, 0, &j.GangMin)
		case "retries":
			a.Scan(t, 0, &j.Retries)
		case "version":
			a.Scan(t, 0, &j.Version)
		case "max-parallel":
			a.Scan(t, 0, &j.Update.MaxParallel)
		case "healthy-for":
			j.Update.HealthyFor = duration(t, d, text)
		case "health-timeout":
			j.Update.HealthTimeout = duration(t, d, text)
		case "replace-after":
			j.Disconnect.ReplaceAfter = duration(t, d, text)
		case "health":
			j.Task.Health = &cellstate.HealthCheck{TCP: "localhost:1"}
		case "stopped":
			j.Stopped = true
		default:
			d.Fatalf(t, "a job has no %q", a.Key)
		}
	}
	s.put(&j)
}

// agents plays one round of every machine's agent that is there.
func (s *script) agents(t *testing.T, d *datadriven.TestData) {
	var sick uint64
	d.MaybeScanArgs(t, "sick", &sick)
	snap := s.snapshot()
	for i := range snap.Len() {
		m := snap.At(i)
		if m.Session == nil {
			continue
		}
		s.report(m, func(c *cellstate.Claim, st *cellstate.ClaimStatus) {
			st.Health = cellstate.Healthy
			if c.JobVersion == sick {
				st.Health = cellstate.Unhealthy
			}
			if c.Evict != nil && c.Evict.Deadline <= s.now || m.Ledger.Drain != nil && m.Ledger.Drain.Deadline <= s.now {
				st.Phase, st.Outcome = cellstate.PhaseEnded, cellstate.OutcomeStopped
			}
		})
	}
}

// end ends the live claim of one task.
func (s *script) end(t *testing.T, d *datadriven.TestData) {
	var exit int32
	how := cellstate.OutcomeExited
	d.MaybeScanArgs(t, "exit", &exit)
	if a, ok := d.Arg("outcome"); ok {
		for _, o := range cellstate.Outcomes() {
			if o.String() == a.Vals[0] {
				how = o
			}
		}
	}
	found := false
	snap := s.snapshot()
	for i := range snap.Len() {
		s.report(snap.At(i), func(c *cellstate.Claim, st *cellstate.ClaimStatus) {
			if fmt.Sprint(c.ID.Task) == d.CmdArgs[0].Key {
				st.Phase, st.Outcome, st.ExitCode, found = cellstate.PhaseEnded, how, exit, true
			}
		})
	}
	if !found {
		d.Fatalf(t, "task %s has no live claim", d.CmdArgs[0].Key)
	}
}

// evict gives the live claim of one task a deadline.
func (s *script) evict(t *testing.T, d *datadriven.TestData) {
	var in string
	d.ScanArgs(t, "in", &in)
	snap := s.snapshot()
	for i := range snap.Len() {
		l := snap.At(i).Ledger.Clone()
		for k := range l.Claims {
			if c := &l.Claims[k]; !c.Ended && fmt.Sprint(c.ID.Task) == d.CmdArgs[0].Key {
				c.Evict = &cellstate.Eviction{Deadline: s.now.Add(duration(t, d, in)), Reason: "preempted"}
			}
		}
		s.put(l.Sum())
	}
}

// report writes what an agent sees of its claims, after change had a look at each live one.
func (s *script) report(m *cellstate.MachineView, change func(c *cellstate.Claim, st *cellstate.ClaimStatus)) {
	r := &cellstate.Report{Machine: m.Name(), Epoch: 1}
	var ended []cellstate.ClaimID
	for k := range m.Ledger.Claims {
		c := &m.Ledger.Claims[k]
		st := cellstate.ClaimStatus{ID: c.ID, Phase: cellstate.PhaseRunning, StartedAt: s.now}
		if old := m.Report.Find(c.ID); old != nil {
			st = *old
		}
		if !c.Ended {
			change(c, &st)
		}
		if !c.Ended && st.Phase == cellstate.PhaseEnded {
			st.EndedAt = s.now
			ended = append(ended, c.ID)
		}
		r.Claims = append(r.Claims, st)
	}
	s.put(r)
	s.put(m.Ledger.MarkEnded(ended, s.now))
}

// show prints a plan and the status it leads to; instants as time since now.
func (s *script) show(p *schedulers.Plan, st *cellstate.JobStatus) string {
	var b strings.Builder
	claim := func(verb string, id cellstate.ClaimID, machine, more string) {
		fmt.Fprintln(&b, strings.TrimSpace(fmt.Sprintf("%s %d.%d@%s %s", verb, id.Task, id.Attempt, machine, more)))
	}
	for _, r := range p.Remove {
		claim("remove", r.ID, r.Machine, "")
	}
	for _, e := range p.Evict {
		claim("stop", e.ID, e.Machine, fmt.Sprintf("in %s: %s", e.Eviction.Deadline.Sub(s.now), e.Eviction.Reason))
	}
	for _, c := range p.Add {
		more := fmt.Sprintf("v%d", c.JobVersion)
		if p.Mode == cellstate.AllOrNothing {
			more += " together"
		}
		claim("add", c.ID, c.Machine, more)
	}
	fmt.Fprintf(&b, "%s: placed %d, running %d", st.Phase, st.Placed, st.Running)
	if len(st.Done) > 0 {
		fmt.Fprintf(&b, ", done %v", st.Done)
	}
	if st.Message != "" {
		fmt.Fprintf(&b, ", %q", st.Message)
	}
	fmt.Fprintln(&b)
	for _, t := range st.Tasks {
		fmt.Fprintf(&b, "task %d: attempt %d, %d failures", t.Task, t.Attempt, t.Failures)
		if t.NotBefore > s.now {
			fmt.Fprintf(&b, ", waits %s", t.NotBefore.Sub(s.now))
		}
		if t.GaveUp {
			fmt.Fprint(&b, ", gave up")
		}
		fmt.Fprintln(&b)
	}
	if r := st.Rollout; r != nil {
		fmt.Fprintln(&b, strings.TrimSpace(fmt.Sprintf("rollout of v%d %s %s", r.Version, r.Phase, r.Message)))
	}
	if e := p.Explanation; e != nil {
		fmt.Fprintf(&b, "%d unplaced: %s\n", e.Unplaced, e.Unblock)
	}
	if p.Again != 0 {
		fmt.Fprintf(&b, "again in %s\n", p.Again.Sub(s.now))
	}
	return b.String()
}
