package schedulers

import (
	"fmt"
	"testing"
	"time"

	"github.com/omegacell/omegacell/cellstate"
)

// bench is an agenda with one job "a" and a clock that stands still.
type bench struct {
	*agenda
	t   *testing.T
	now cellstate.Instant
}

func newBench(t *testing.T) *bench {
	cfg := &Config{BackoffMax: time.Second, Limits: cellstate.Limits{}.WithDefaults()}
	return &bench{newAgenda(cfg), t, 1000}
}

// must takes the job "a", which has to be due.
func (b *bench) must() *jobState {
	b.t.Helper()
	name, st, _ := b.take(b.now)
	if name != "a" {
		b.t.Fatalf("took %q, want a", name)
	}
	return st
}

// none checks that nothing is due, and for how long.
func (b *bench) none(wait time.Duration) {
	b.t.Helper()
	if name, _, got := b.take(b.now); name != "" || got != wait {
		b.t.Errorf("took %q, wait %v; want nothing for %v", name, got, wait)
	}
}

// wants is a need for a claim of so much CPU.
func wants(cpu int64) *need {
	return &need{claim: cellstate.Claim{Resources: cellstate.Resources{CPUMilli: cpu}, Start: 1000}, lot: fmt.Sprint(cpu)}
}

func machine(cpu int64, session bool) []*cellstate.MachineView {
	m := &cellstate.MachineView{Ledger: cellstate.NewLedger("m", cellstate.Resources{CPUMilli: cpu})}
	if session {
		m.Session = &cellstate.Session{Machine: "m"}
	}
	return []*cellstate.MachineView{m}
}

func TestAgendaBusyJobChanges(t *testing.T) {
	b := newBench(t)
	b.due("a", 100)
	st := b.must()
	b.due("a", 100) // while a worker has it
	b.none(time.Hour)
	b.done("a", st, outcome{}, b.now)
	st = b.must()
	b.done("a", st, outcome{}, b.now)
	b.none(time.Hour)
}

func TestAgendaParkedJob(t *testing.T) {
	later := cellstate.Instant(61_000)
	for _, tt := range []struct {
		name  string
		event func(b *bench)
		wakes bool
	}{
		{"room for its task exactly", func(b *bench) { b.unpark(machine(500, true)) }, true},
		{"room for less", func(b *bench) { b.unpark(machine(499, true)) }, false},
		{"room without an agent", func(b *bench) { b.unpark(machine(500, false)) }, false},
		{"no machines", func(b *bench) { b.unpark(nil) }, false},
		{"a change that could help anybody", func(b *bench) { b.unparkAll() }, true},
		{"its own change", func(b *bench) { b.due("a", 100) }, true},
		{"the moment before the recheck", func(b *bench) { b.now = later - 1 }, false},
		{"the recheck", func(b *bench) { b.now = later }, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			b.due("a", 100)
			b.done("a", b.must(), outcome{again: true, due: later, need: wants(500)}, b.now)
			if _, parked := b.size(); parked != 1 {
				t.Errorf("%d jobs are parked, want 1", parked)
			}
			tt.event(b)
			if !tt.wakes {
				b.none(later.Sub(b.now))
				return
			}
			b.must()
			if queued, parked := b.size(); queued != 0 || parked != 0 {
				t.Errorf("%d queued and %d parked of a job that was taken", queued, parked)
			}
		})
	}
}

// Room that appears while a job is planned may be in its snapshot or not: then the job must not sleep until the recheck (I10).
func TestAgendaRoomWhilePlanning(t *testing.T) {
	b := newBench(t)
	b.due("a", 100)
	st := b.must()
	b.unpark(machine(500, true))
	b.done("a", st, outcome{again: true, due: 61_000, need: wants(500)}, b.now)
	b.none(b.retry)
	b.now += 1000
	b.must()
}

// TestAgendaEarly: a job whose own writes have not been seen is not handed out, and holds up nobody; then it is, once.
func TestAgendaEarly(t *testing.T) {
	b := newBench(t)
	for i, name := range []string{"x", "y"} {
		b.due(name, 100)
		_, st, _ := b.take(b.now)
		st.minRev = int64(8 - i)
		b.done(name, st, outcome{again: true}, b.now)
	}
	b.none(time.Hour)
	b.due("x", 100)
	b.due("a", 100)
	b.done("a", b.must(), outcome{}, b.now)
	if len(b.early) != 2 {
		t.Errorf("%v wait to be seen, want x and y once each", b.early)
	}
	b.observed(6)
	b.none(time.Hour)
	b.observed(7)
	if name, _, _ := b.take(b.now); name != "y" {
		t.Errorf("took %q when revision 7 was seen, want y", name)
	}
	b.observed(8)
	if name, _, _ := b.take(b.now); name != "x" {
		t.Errorf("took %q when revision 8 was seen, want x", name)
	}
	b.observed(9)
	b.none(time.Hour)
}

// TestAgendaGathers: changes of a job that took long to plan are gathered for as long.
func TestAgendaGathers(t *testing.T) {
	for _, tt := range []struct {
		name  string
		event func(b *bench, st *jobState)
	}{
		{"a change while it is planned", func(b *bench, st *jobState) { b.due("a", 100); b.done("a", st, outcome{}, b.now) }},
		{"a change after that", func(b *bench, st *jobState) { b.done("a", st, outcome{}, b.now); b.due("a", 100) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			b.due("a", 100)
			st := b.must()
			st.minRev, st.notBefore = 9, b.now+50 // its state is kept
			b.observed(9)
			st.minRev = 9
			tt.event(b, st)
			b.none(50 * time.Millisecond)
			b.now += 50
			b.must()
		})
	}
}

func TestAgendaForgets(t *testing.T) {
	for _, tt := range []struct {
		name  string
		state jobState
		seen  int64
		event func(b *bench)
		kept  bool
	}{
		{name: "its writes are shown", state: jobState{minRev: 7}, seen: 7},
		{name: "one is not shown yet", state: jobState{minRev: 7}, seen: 6, kept: true},
		{name: "an outcome is open", state: jobState{minRev: 7, unknown: &cellstate.Txn{}}, seen: 7, kept: true},
		{name: "what was done is not known", state: jobState{minRev: 7, behind: true}, seen: 7, kept: true},
		{name: "it is due again", state: jobState{minRev: 7}, seen: 7, event: func(b *bench) { b.due("a", 100) }, kept: true},
		{name: "it is being planned", state: jobState{minRev: 7}, seen: 7, event: func(b *bench) { b.due("a", 100); b.observed(7); b.must() }, kept: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			b.due("a", 100)
			st := b.must()
			st.minRev, st.unknown, st.behind = tt.state.minRev, tt.state.unknown, tt.state.behind
			b.done("a", st, outcome{}, b.now)
			if tt.event != nil {
				tt.event(b)
			}
			b.observed(tt.seen)
			if kept := b.jobs["a"] != nil; kept != tt.kept {
				t.Errorf("state kept: %v, want %v", kept, tt.kept)
			}
		})
	}
}

// A job whose writes are not shown yet holds up the forgetting of others only until they are.
func TestAgendaForgetsInTheEnd(t *testing.T) {
	b := newBench(t)
	for i, name := range []string{"x", "y", "z"} {
		b.due(name, 100)
		_, st, _ := b.take(b.now)
		st.minRev = int64(9 - i)
		b.done(name, st, outcome{}, b.now)
	}
	b.observed(8)
	if len(b.jobs) != 3 {
		t.Errorf("%d states, want all 3 while the first is not shown", len(b.jobs))
	}
	b.observed(9)
	if len(b.jobs) != 0 || len(b.fading) != 0 {
		t.Errorf("%d states and %d names are left of jobs at rest", len(b.jobs), len(b.fading))
	}
}
