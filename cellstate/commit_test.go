package cellstate

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// TestCommitScripts plays histories of transactions. A claim is spelt job or scheduler/job; the scheduler is "s" where none
// is named. Commands:
//
//	machine NAME [cpu=N] [gpu=N] [cordoned] [drained]  makes or changes a machine, keeping its claims
//	snapshot                                           is the basis of the commits that follow (rule seq)
//	commit [gang] [seq] [by=SCHEDULER] [limit=N]       its lines: add|remove|evict|move CLAIM MACHINE [MACHINE] [key=value…]
//	resend                                             sends the last transaction again
//	refuse REASON                                      refuses every part of the last transaction
//	ended MACHINE CLAIM… now=N                         the agent saw them end
//	parts                                              the parts of the last transaction
//
// Commits, resend and ended print what changed, and check I1.
func TestCommitScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/commit", func(t *testing.T, path string) {
		s := &script{cell: newCell()}
		datadriven.RunTest(t, path, s.run)
	})
}

type script struct {
	cell  *cell
	basis *cell // nil: the state as it is
	txn   *Txn
	lim   Limits
}

func (s *script) run(t *testing.T, d *datadriven.TestData) string {
	switch d.Cmd {
	case "machine":
		return s.machine(t, d)
	case "snapshot":
		s.basis = s.cell.snapshot()
		return fmt.Sprintf("rev %d\n", s.basis.rev)
	case "commit":
		s.txn, s.lim = s.parse(t, d), Limits{}
		d.MaybeScanArgs(t, "limit", &s.lim.ClaimsPerMachine)
		return s.commit(t)
	case "resend":
		return s.commit(t)
	case "refuse":
		var out Decision
		for _, p := range s.txn.Parts() {
			out.Conflicts = append(out.Conflicts, p.Refuse(reasonOf(t, d.CmdArgs[0].Key)).Conflicts...)
		}
		return verdict(out)
	case "parts":
		var b strings.Builder
		for _, p := range s.txn.Parts() {
			fmt.Fprintf(&b, "%s atomic=%v\n", strings.Join(p.Machines, " "), p.Atomic)
		}
		return b.String()
	case "ended":
		return s.ended(t, d)
	}
	t.Fatalf("%s: unknown command %q", d.Pos, d.Cmd)
	return ""
}

func (s *script) machine(t *testing.T, d *datadriven.TestData) string {
	name := d.CmdArgs[0].Key
	l := NewLedger(name, Resources{})
	if old := s.cell.ledgers[name]; old != nil {
		l = old.Clone()
	}
	d.MaybeScanArgs(t, "cpu", &l.Capacity.CPUMilli)
	d.MaybeScanArgs(t, "gpu", &l.Capacity.GPUMilli)
	l.Cordoned = d.HasArg("cordoned")
	l.Drain = nil
	if d.HasArg("drained") {
		l.Drain = &Drain{}
	}
	s.cell.store(l)
	return s.describe(name)
}

func (s *script) parse(t *testing.T, d *datadriven.TestData) *Txn {
	x := &Txn{ID: "t", Scheduler: "s", Mode: Incremental, Rule: FitRule, Basis: s.cell.snapshot()}
	d.MaybeScanArgs(t, "by", &x.Scheduler)
	if d.HasArg("gang") {
		x.Mode = AllOrNothing
	}
	if d.HasArg("seq") {
		x.Rule = SeqRule
	}
	if s.basis != nil {
		x.Basis = s.basis
	}
	for line := range strings.Lines(d.Input) {
		f := strings.Fields(line)
		if len(f) < 3 {
			t.Fatalf("%s: %q: want a verb, a claim and a machine", d.Pos, line)
		}
		verb, c := f[0], claimOf("", "", 0, Resources{})
		c.ID, c.Machine = scriptID(f[1]), f[2]
		args := f[3:]
		from := ""
		if verb == "move" {
			from, c.Machine, args = f[2], f[3], f[4:]
		}
		ev := Eviction{Deadline: 100}
		for _, a := range args {
			setField(t, d.Pos, &c, &ev, a)
		}
		switch verb {
		case "add":
			x.Add = append(x.Add, c)
		case "remove":
			x.Remove = append(x.Remove, ClaimRef{c.Machine, c.ID})
		case "evict":
			x.Evict = append(x.Evict, Evict{ClaimRef{c.Machine, c.ID}, ev})
		case "move":
			x.Move = append(x.Move, Move{from, c})
		default:
			t.Fatalf("%s: unknown verb %q", d.Pos, verb)
		}
	}
	return x
}

func setField(t *testing.T, pos string, c *Claim, ev *Eviction, a string) {
	key, v, _ := strings.Cut(a, "=")
	num := func(s string) int64 {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			t.Fatalf("%s: %s: %v", pos, a, err)
		}
		return n
	}
	switch key {
	case "cpu":
		c.Resources.CPUMilli = num(v)
	case "gpu":
		c.Resources.GPUMilli = num(v)
	case "gpus":
		for _, g := range strings.Split(v, ",") {
			device, milli, _ := strings.Cut(g, ":")
			c.GPUs = append(c.GPUs, GPUShare{uint16(num(device)), uint16(num(milli))})
		}
	case "prec":
		c.Precedence = Precedence(num(v))
	case "start":
		c.Start = Instant(num(v))
	case "end":
		c.End = Instant(num(v))
	case "version":
		c.JobVersion = uint64(num(v))
	case "after":
		for _, id := range strings.Split(v, ",") {
			c.After = append(c.After, scriptID(id))
		}
	case "deadline":
		ev.Deadline = Instant(num(v))
	case "by":
		ev.By = scriptID(v)
	default:
		t.Fatalf("%s: unknown field %q", pos, a)
	}
}

// commit carries the last transaction out, as a store would.
func (s *script) commit(t *testing.T) string {
	before := s.cell.snapshot()
	o, err := Commit(s.cell, s.txn, s.lim)
	if err != nil {
		return err.Error() + "\n"
	}
	s.cell.store(o.Ledgers...)
	out := verdict(o)
	for _, m := range s.cell.machines() {
		l := s.cell.ledgers[m]
		if was := before.ledgers[m]; l == was {
			continue
		} else if was.Overcommitted(0) == (Shortage{}) && l.Overcommitted(0) != (Shortage{}) {
			t.Fatalf("I1 broken on %s: %v", m, l.Overcommitted(0))
		}
		out += s.describe(m)
	}
	return out
}

func (s *script) ended(t *testing.T, d *datadriven.TestData) string {
	var now int
	d.ScanArgs(t, "now", &now)
	machine := d.CmdArgs[0].Key
	var ids []ClaimID
	for _, a := range d.CmdArgs[1:] {
		if a.Key != "now" {
			ids = append(ids, scriptID(a.Key))
		}
	}
	old := s.cell.ledgers[machine]
	l := old.MarkEnded(ids, Instant(now))
	if l == old {
		return "no change\n"
	}
	if short := l.Overcommitted(0); short != (Shortage{}) {
		t.Fatalf("I1 broken on %s: %v", machine, short)
	}
	s.cell.store(l)
	return s.describe(machine)
}

func verdict(o Decision) string {
	var b strings.Builder
	b.WriteString("committed:")
	for _, id := range o.Committed {
		b.WriteString(" " + short(id))
	}
	b.WriteString("\n")
	for _, c := range o.Conflicts {
		fmt.Fprintf(&b, "conflict: %s\n", strings.ReplaceAll(strings.TrimPrefix(c.String(), "s/"), "@1/0.0", ""))
	}
	return b.String()
}

// describe prints a machine, a line for each claim.
func (s *script) describe(machine string) string {
	l := s.cell.ledgers[machine]
	var b strings.Builder
	fmt.Fprintf(&b, "%s rev=%d free: %s\n", machine, l.Rev, l.Free(0, Forever))
	for i := range l.Claims {
		c := &l.Claims[i]
		fmt.Fprintf(&b, "  %s %s", short(c.ID), c.Resources)
		if c.Start != 0 || c.End != 0 {
			fmt.Fprintf(&b, " [%d,%d)", c.Start, c.End)
		}
		if len(c.GPUs) > 0 {
			fmt.Fprintf(&b, " devices=%v", c.GPUs)
		}
		if c.Evict != nil {
			fmt.Fprintf(&b, " evicted@%d", c.Evict.Deadline)
			if c.Evict.By != (ClaimID{}) {
				fmt.Fprintf(&b, " by %s", short(c.Evict.By))
			}
		}
		if len(c.After) > 0 {
			b.WriteString(" waits")
		}
		if c.Ended {
			b.WriteString(" ended")
		}
		b.WriteString("\n")
	}
	return b.String()
}

func scriptID(s string) ClaimID {
	scheduler, job, found := strings.Cut(s, "/")
	if !found {
		scheduler, job = "s", s
	}
	return ClaimID{Scheduler: scheduler, Job: job, Run: 1}
}

func short(id ClaimID) string {
	return strings.TrimPrefix(strings.TrimSuffix(id.String(), "@1/0.0"), "s/")
}

func reasonOf(t *testing.T, s string) Reason {
	i := slices.IndexFunc(Reasons(), func(r Reason) bool { return r.String() == s })
	if i < 0 {
		t.Fatalf("no reason %q", s)
	}
	return Reasons()[i]
}

// TestCommitDecidesPartsApart: what was found out about one part is no part of the next.
func TestCommitDecidesPartsApart(t *testing.T) {
	x := &Txn{ID: "t", Scheduler: "high", Mode: Incremental, Rule: FitRule}
	v := newCell()
	for i, m := range []string{"m1", "m2", "m3"} {
		victim, c := claimOf("low", "victim", uint32(i), cpu(1000)), claimOf("high", "taker", uint32(i), cpu(1000))
		victim.Machine, victim.Precedence = m, 0
		c.Machine, c.Start = m, 500
		l := NewLedger(m, cpu(1000))
		l.Claims = []Claim{victim}
		v.store(l.Sum())
		x.Add = append(x.Add, c)
		x.Evict = append(x.Evict, Evict{ClaimRef{m, victim.ID}, Eviction{Deadline: 500, By: c.ID}})
	}
	x.Add[1].Resources = cpu(1001) // m2's part is refused whole
	d, err := Commit(v, x, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	var changed []string
	for _, l := range d.Ledgers {
		changed = append(changed, l.Machine)
	}
	if !slices.Equal(changed, []string{"m1", "m3"}) || len(d.Committed) != 4 || len(d.Conflicts) != 2 {
		t.Errorf("changed %v, committed %v, conflicts %v", changed, d.Committed, d.Conflicts)
	}
	for _, c := range d.Conflicts {
		if c.Machine != "m2" {
			t.Errorf("conflict %v", c)
		}
	}
}
