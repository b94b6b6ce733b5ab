package agent

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/omegacell/omegacell/cellstate"
)

// world is what one claim of one machine may look like.
type world struct {
	c       cellstate.Claim
	h       Hold
	s       Situation
	noClaim bool
}

// victim makes the claim wait for another one.
func victim(ended bool) func(*world) {
	return func(w *world) {
		v := cellstate.ClaimID{Job: "victim"}
		w.c.After = []cellstate.ClaimID{v}
		w.s.Ledger.Claims = append(w.s.Ledger.Claims, cellstate.Claim{ID: v, Ended: ended, Start: cellstate.Forever})
	}
}

// At a time of 1000, one claim of 3 of 4 cores on a machine, in all the ways that it can stand there.
func TestReconcileOneClaim(t *testing.T) {
	const now = 1000
	order := func(p cellstate.RestartPolicy) *Order {
		o := &Order{Resources: cellstate.Resources{CPUMilli: 3000}, StopAfter: 500 * time.Millisecond}
		o.Spec.Restart = p
		return o
	}
	never := order(cellstate.RestartPolicy{When: cellstate.RestartNever})
	always := order(cellstate.RestartPolicy{When: cellstate.RestartAlways, Max: 2, BackoffMin: 100 * time.Millisecond, BackoffMax: time.Second})
	onFailure := order(cellstate.RestartPolicy{When: cellstate.RestartOnFailure, BackoffMin: time.Millisecond, BackoffMax: time.Millisecond})
	pending := func(w *world) { w.h.Status.Phase, w.h.Order = cellstate.PhasePending, never }
	running := func(w *world) { w.h.Status.Phase, w.h.Order, w.h.Kept = cellstate.PhaseRunning, never, true }
	stopping := func(w *world) { running(w); w.h.Status.Phase, w.h.Stopped = cellstate.PhaseStopping, true }
	endedBy := func(o *Order, out cellstate.Outcome, code int32) func(*world) {
		return func(w *world) {
			w.h.Status.Phase, w.h.Order, w.h.Kept = cellstate.PhaseStarting, o, true
			w.h.Last = &TaskState{Phase: cellstate.PhaseEnded, Outcome: out, ExitCode: code, EndedAt: 800, StartedAt: 700}
		}
	}
	evict := func(at cellstate.Instant) func(*world) {
		return func(w *world) { w.c.Evict = &cellstate.Eviction{Deadline: at, Reason: "r"} }
	}
	drain := func(at cellstate.Instant) func(*world) {
		return func(w *world) { w.s.Ledger.Drain = &cellstate.Drain{Deadline: at, Reason: "r"} }
	}
	end := func(at cellstate.Instant) func(*world) { return func(w *world) { w.c.End = at } }
	start := func(at cellstate.Instant) func(*world) { return func(w *world) { w.c.Start = at } }
	gone := func(w *world) { w.noClaim = true }
	marked := func(w *world) { w.c.Ended = true }
	cut := func(at cellstate.Instant) func(*world) { return func(w *world) { w.s.Disconnected = at } }
	cap := func(milli int64) func(*world) { return func(w *world) { w.s.Ledger.Capacity.CPUMilli = milli } }
	restart := func(n uint32) func(*world) { return func(w *world) { w.h.Last.Restart = n } }
	set := func(f func(*Hold)) func(*world) { return func(w *world) { f(&w.h) } }
	const forever = cellstate.Forever

	for _, tt := range []struct {
		name  string
		given []func(*world)
		want  string
		wake  cellstate.Instant
	}{
		{"new claim: its job is read first", []func(*world){pending, set(func(h *Hold) { h.Order = nil })}, "fetch", forever},
		{"job being read", []func(*world){pending, set(func(h *Hold) { h.Order, h.Asked = nil, true })}, "", forever},
		{"job cannot be had", []func(*world){pending, set(func(h *Hold) { h.Order, h.Failed = nil, "gone" })}, "end failed gone", forever},
		{"time has come", []func(*world){pending, start(now)}, "start 0", forever},
		{"a millisecond early", []func(*world){pending, start(now + 1)}, "", now + 1},
		{"exactly enough room", []func(*world){pending, cap(3000)}, "start 0", forever},
		{"one milli short", []func(*world){pending, cap(2999)}, "", forever},
		{"cordoned: it is here already", []func(*world){pending, func(w *world) { w.s.Ledger.Cordoned = true }}, "start 0", forever},
		{"drained later", []func(*world){pending, drain(now + 1)}, "", now + 1},
		{"drained now", []func(*world){pending, drain(now)}, "end stopped never started: drained: r", forever},
		{"evicted before it ran", []func(*world){pending, evict(now + 1)}, "end stopped never started: evicted: r", now + 1},
		{"end passed before it ran", []func(*world){pending, end(now)}, "end stopped never started: end of its claim reached", forever},
		{"end a millisecond off", []func(*world){pending, end(now + 1)}, "start 0", now + 1},
		{"out of touch: no first start", []func(*world){pending, cut(now)}, "", forever},
		{"waits for a victim", []func(*world){pending, victim(false)}, "", forever},
		{"victim has ended", []func(*world){pending, victim(true)}, "start 0", forever},
		{"closing down, never ran", []func(*world){pending, func(w *world) { w.s.Closing = true }}, "end stopped never started: the machine's agent closes down", forever},

		{"runs", []func(*world){running}, "", forever},
		{"adopted, order lost", []func(*world){running, set(func(h *Hold) { h.Order = nil })}, "fetch", forever},
		{"eviction deadline", []func(*world){running, evict(now)}, "stop evicted: r", forever},
		{"a millisecond before it", []func(*world){running, evict(now + 1)}, "", now + 1},
		{"end", []func(*world){running, end(now)}, "stop end of its claim reached", forever},
		{"a millisecond before it", []func(*world){running, end(now + 1)}, "", now + 1},
		{"drain deadline", []func(*world){running, drain(now)}, "stop drained: r", forever},
		{"a millisecond before it", []func(*world){running, drain(now + 1)}, "", now + 1},
		{"claim gone", []func(*world){running, gone}, "stop its claim is gone", forever},
		{"claim ended in the ledger", []func(*world){running, marked}, "stop its claim has ended", forever},
		{"out of touch for StopAfter", []func(*world){running, cut(now - 500)}, "stop out of touch with the cell for 500ms", forever},
		{"a millisecond less", []func(*world){running, cut(now - 499)}, "", now + 1},
		{"out of touch, never seen the cell", []func(*world){running, cut(now - 500), func(w *world) { w.s.Ledger = nil }}, "stop out of touch with the cell for 500ms", forever},
		{"never seen the cell", []func(*world){running, cut(now), func(w *world) { w.s.Ledger = nil }}, "", now + 500},
		{"closing down", []func(*world){running, func(w *world) { w.s.Closing = true }}, "stop the machine's agent closes down", forever},
		{"closing down, never seen the cell", []func(*world){running, func(w *world) { w.s.Closing, w.s.Ledger = true, nil }}, "stop the machine's agent closes down", forever},

		{"stopping: wait", []func(*world){stopping, gone}, "", forever},
		{"stop failed: again", []func(*world){stopping, gone, set(func(h *Hold) { h.Restop = true })}, "stop its claim is gone", forever},
		{"but not at once", []func(*world){stopping, gone, set(func(h *Hold) { h.Restop, h.RetryAt = true, now+1 })}, "", now + 1},
		{"being started: wait", []func(*world){pending, gone, set(func(h *Hold) { h.Status.Phase, h.Busy = cellstate.PhaseStarting, true })}, "", forever},

		{"exit 0, never again", []func(*world){endedBy(never, cellstate.OutcomeExited, 0)}, "end exited", forever},
		{"exit 1, never again", []func(*world){endedBy(never, cellstate.OutcomeExited, 1)}, "end exited", forever},
		{"exit 0 is no failure", []func(*world){endedBy(onFailure, cellstate.OutcomeExited, 0)}, "end exited", forever},
		{"exit 1 is one", []func(*world){endedBy(onFailure, cellstate.OutcomeExited, 1)}, "start 1", forever},
		{"a signal is one", []func(*world){endedBy(onFailure, cellstate.OutcomeSignaled, 0)}, "start 1", forever},
		{"out of memory is one", []func(*world){endedBy(onFailure, cellstate.OutcomeOOM, 0)}, "start 1", forever},
		{"could not be started", []func(*world){endedBy(always, cellstate.OutcomeFailed, 0)}, "end failed", forever},
		{"always", []func(*world){endedBy(always, cellstate.OutcomeExited, 0)}, "start 1", forever},
		{"the last restart", []func(*world){endedBy(always, cellstate.OutcomeExited, 0), restart(1), set(func(h *Hold) { h.Last.EndedAt = 500 })}, "start 2", forever},
		{"no more restarts", []func(*world){endedBy(always, cellstate.OutcomeExited, 0), restart(2)}, "end exited", forever},
		{"no room for a restart yet", []func(*world){endedBy(always, cellstate.OutcomeExited, 0), cap(2999)}, "", forever},
		{"stopped before it ended by itself", []func(*world){endedBy(always, cellstate.OutcomeExited, 0), set(func(h *Hold) { h.Stopped = true })}, "end exited", forever},
		{"evicted meanwhile", []func(*world){endedBy(always, cellstate.OutcomeExited, 0), evict(now + 1)}, "end exited", now + 1},
		{"drained meanwhile", []func(*world){endedBy(always, cellstate.OutcomeExited, 0), drain(now + 1)}, "end exited", now + 1},
		{"restarted also out of touch", []func(*world){endedBy(always, cellstate.OutcomeExited, 0), cut(now)}, "start 1", now + 500},
		{"but not after StopAfter", []func(*world){endedBy(always, cellstate.OutcomeExited, 0), cut(now - 500)}, "end exited", forever},
		{"ended, and the claim gone", []func(*world){endedBy(always, cellstate.OutcomeExited, 0), gone}, "drop", forever},

		{"end not yet in the cell", []func(*world){running, set(func(h *Hold) { h.Status.Phase = cellstate.PhaseEnded })}, "", forever},
		{"end in the cell", []func(*world){running, marked, set(func(h *Hold) { h.Status.Phase = cellstate.PhaseEnded })}, "forget", forever},
		{"and forgotten", []func(*world){running, marked, set(func(h *Hold) { h.Status.Phase, h.Kept = cellstate.PhaseEnded, false })}, "", forever},
		{"and acknowledged", []func(*world){running, gone, set(func(h *Hold) { h.Status.Phase, h.Kept = cellstate.PhaseEnded, false })}, "drop", forever},
		{"ended in the ledger, nothing known", []func(*world){pending, marked}, "end lost ended; how is not known", forever},
	} {
		t.Run(tt.name, func(t *testing.T) {
			id := cellstate.ClaimID{Scheduler: "s", Job: "j"}
			w := world{c: cellstate.Claim{ID: id, Resources: cellstate.Resources{CPUMilli: 3000}}, h: Hold{Status: cellstate.ClaimStatus{ID: id}}}
			w.s.Ledger = cellstate.NewLedger("m1", cellstate.Resources{CPUMilli: 4000})
			for _, f := range tt.given {
				f(&w)
			}
			if w.s.Ledger != nil && !w.noClaim {
				w.s.Ledger.Claims = append(w.s.Ledger.Claims, w.c)
				w.s.Ledger.Sum()
			}
			w.s.Holds = map[cellstate.ClaimID]*Hold{id: &w.h}
			acts, wake := Reconcile(w.s, now)
			var got []string
			for _, a := range acts {
				if a.ID == id {
					got = append(got, describe(a))
				}
			}
			if s := strings.Join(got, "; "); s != tt.want {
				t.Errorf("%q, want %q", s, tt.want)
			}
			if wake != tt.wake {
				t.Errorf("wake at %d, want %d", wake, tt.wake)
			}
		})
	}
}

func describe(a Action) string {
	switch a.Do {
	case DoStart:
		return fmt.Sprintf("start %d", a.Restart)
	case DoStop:
		return "stop " + a.Why
	case DoEnd:
		return strings.TrimSpace(fmt.Sprintf("end %s %s", a.End.Outcome, a.End.Message))
	}
	return a.Do.String()
}

// Room is counted by what is on the host, not by what the ledger says should be: a newcomer waits for a process that has to go.
func TestReconcileRoom(t *testing.T) {
	id := func(n uint32) cellstate.ClaimID { return cellstate.ClaimID{Scheduler: "s", Job: "j", Task: n} }
	claim := func(n uint32, cpu int64, gpus ...cellstate.GPUShare) cellstate.Claim {
		return cellstate.Claim{ID: id(n), Resources: cellstate.Resources{CPUMilli: cpu}, GPUs: gpus}
	}
	hold := func(c cellstate.Claim, p cellstate.Phase) *Hold {
		return &Hold{Status: cellstate.ClaimStatus{ID: c.ID, Phase: p}, Order: &Order{ID: c.ID, Resources: c.Resources, GPUs: c.GPUs}}
	}
	share := func(d, m uint16) cellstate.GPUShare { return cellstate.GPUShare{Device: d, Milli: m} }
	busy := func(h *Hold) *Hold { h.Busy = true; return h }
	unknown := func(h *Hold) *Hold { h.Order = nil; return h }

	for _, tt := range []struct {
		name   string
		claims []cellstate.Claim
		left   []*Hold // of claims that are gone
		want   string
	}{
		{"all fit", []cellstate.Claim{claim(1, 2000), claim(2, 2000)}, nil, "1 2"},
		{"one too many waits", []cellstate.Claim{claim(1, 2000), claim(2, 2000), claim(3, 1)}, nil, "1 2"},
		{"the earlier one first", []cellstate.Claim{func() cellstate.Claim { c := claim(1, 4000); c.Start = 2; return c }(), claim(2, 1)}, nil, "2"},
		{"a process that is stopping counts", []cellstate.Claim{claim(1, 1000)}, []*Hold{hold(claim(9, 3001), cellstate.PhaseStopping)}, ""},
		{"as much as it has", []cellstate.Claim{claim(1, 1000)}, []*Hold{hold(claim(9, 3000), cellstate.PhaseStopping)}, "1"},
		{"one being started counts", []cellstate.Claim{claim(1, 1000)}, []*Hold{busy(hold(claim(9, 3001), cellstate.PhaseStarting))}, ""},
		{"one that has ended does not", []cellstate.Claim{claim(1, 1000)}, []*Hold{hold(claim(9, 3001), cellstate.PhaseEnded)}, "1"},
		{"one of unknown size has to go first", []cellstate.Claim{claim(1, 1)}, []*Hold{unknown(hold(claim(9, 1), cellstate.PhaseStopping))}, ""},
		{"a gpu in use", []cellstate.Claim{claim(1, 1, share(0, 501))}, []*Hold{hold(claim(9, 1, share(0, 500)), cellstate.PhaseStopping)}, ""},
		{"a gpu with room", []cellstate.Claim{claim(1, 1, share(0, 500))}, []*Hold{hold(claim(9, 1, share(0, 500)), cellstate.PhaseStopping)}, "1"},
		{"another gpu", []cellstate.Claim{claim(1, 1, share(1, 1000))}, []*Hold{hold(claim(9, 1, share(0, 500)), cellstate.PhaseStopping)}, "1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := cellstate.NewLedger("m1", cellstate.Resources{CPUMilli: 4000, GPUMilli: 2000})
			l.Claims = tt.claims
			s := Situation{Ledger: l.Sum(), Holds: make(map[cellstate.ClaimID]*Hold)}
			for _, c := range tt.claims {
				s.Holds[c.ID] = hold(c, cellstate.PhasePending)
			}
			for _, h := range tt.left {
				s.Holds[h.Status.ID] = h
			}
			acts, _ := Reconcile(s, 1000)
			var got []string
			for _, a := range acts {
				if a.Do == DoStart {
					got = append(got, fmt.Sprint(a.ID.Task))
				}
			}
			if s := strings.Join(got, " "); s != tt.want {
				t.Errorf("started %q, want %q", s, tt.want)
			}
		})
	}
}

// The wait doubles from BackoffMin to BackoffMax, half of it at random but the same each time; a long run starts it anew.
func TestBackoff(t *testing.T) {
	o := &Order{ID: cellstate.ClaimID{Job: "j"}}
	o.Spec.Restart = cellstate.RestartPolicy{When: cellstate.RestartAlways, BackoffMin: time.Second, BackoffMax: 10 * time.Second}
	for _, tt := range []struct {
		restarts uint32
		ran      time.Duration
		most     time.Duration
	}{
		{0, 0, time.Second}, {1, 0, 2 * time.Second}, {3, 0, 8 * time.Second}, {4, 0, 10 * time.Second}, {1 << 30, 0, 10 * time.Second},
		{3, 10*time.Second - time.Millisecond, 8 * time.Second}, {3, 10 * time.Second, time.Second},
	} {
		s := TaskState{Restart: tt.restarts, EndedAt: cellstate.Instant(tt.ran.Milliseconds()), Outcome: cellstate.OutcomeExited}
		d := o.backoff(&s)
		if d < tt.most/2 || d > tt.most || d != o.backoff(&s) {
			t.Errorf("after %d restarts and %s: %s, want from %s to %s", tt.restarts, tt.ran, d, tt.most/2, tt.most)
		}
	}
}

// What the driver adopted and what the report says, brought together: no status goes back (I5).
func TestMerge(t *testing.T) {
	id := cellstate.ClaimID{Scheduler: "s", Job: "j"}
	for _, tt := range []struct {
		name    string
		adopted *TaskState
		said    cellstate.ClaimStatus
		phase   cellstate.Phase
		last    cellstate.Outcome
	}{
		{"nothing ran yet", nil, cellstate.ClaimStatus{Phase: cellstate.PhasePending}, cellstate.PhasePending, 0},
		{"was about to start", nil, cellstate.ClaimStatus{Phase: cellstate.PhaseStarting}, cellstate.PhaseStarting, 0},
		{"ran, and the host knows nothing", nil, cellstate.ClaimStatus{Phase: cellstate.PhaseRunning, StartedAt: 1}, cellstate.PhaseStarting, cellstate.OutcomeLost},
		{"was stopping, and the host knows nothing", nil, cellstate.ClaimStatus{Phase: cellstate.PhaseStopping, StartedAt: 1}, cellstate.PhaseEnded, cellstate.OutcomeLost},
		{"ended while it was being stopped", &TaskState{Phase: cellstate.PhaseEnded, Outcome: cellstate.OutcomeStopped}, cellstate.ClaimStatus{Phase: cellstate.PhaseStopping}, cellstate.PhaseEnded, cellstate.OutcomeStopped},
		{"ended is final", nil, cellstate.ClaimStatus{Phase: cellstate.PhaseEnded, StartedAt: 1}, cellstate.PhaseEnded, 0},
		{"goes on", &TaskState{Phase: cellstate.PhaseRunning}, cellstate.ClaimStatus{Phase: cellstate.PhasePending}, cellstate.PhaseRunning, 0},
		{"is being stopped", &TaskState{Phase: cellstate.PhaseStopping}, cellstate.ClaimStatus{Phase: cellstate.PhaseRunning}, cellstate.PhaseStopping, 0},
		{"was told to stop, in vain", &TaskState{Phase: cellstate.PhaseRunning}, cellstate.ClaimStatus{Phase: cellstate.PhaseStopping}, cellstate.PhaseStopping, 0},
		{"ended meanwhile", &TaskState{Phase: cellstate.PhaseEnded, Outcome: cellstate.OutcomeExited}, cellstate.ClaimStatus{Phase: cellstate.PhaseRunning}, cellstate.PhaseStarting, cellstate.OutcomeExited},
		{"ended, reported, not forgotten", &TaskState{Phase: cellstate.PhaseEnded, Outcome: cellstate.OutcomeExited}, cellstate.ClaimStatus{Phase: cellstate.PhaseEnded, Outcome: cellstate.OutcomeStopped}, cellstate.PhaseEnded, 0},
		{"an earlier start, after a crash of the host", &TaskState{Restart: 2, Phase: cellstate.PhaseEnded, Outcome: cellstate.OutcomeExited}, cellstate.ClaimStatus{Phase: cellstate.PhaseRunning, Restarts: 3, StartedAt: 1}, cellstate.PhaseStarting, cellstate.OutcomeLost},
		{"the same start", &TaskState{Restart: 3, Phase: cellstate.PhaseEnded, Outcome: cellstate.OutcomeExited}, cellstate.ClaimStatus{Phase: cellstate.PhaseRunning, Restarts: 3, StartedAt: 1}, cellstate.PhaseStarting, cellstate.OutcomeExited},
		{"an earlier start of what was stopping", &TaskState{Restart: 2, Phase: cellstate.PhaseEnded, Outcome: cellstate.OutcomeExited}, cellstate.ClaimStatus{Phase: cellstate.PhaseStopping, Restarts: 3, StartedAt: 1}, cellstate.PhaseEnded, cellstate.OutcomeLost},
	} {
		t.Run(tt.name, func(t *testing.T) {
			holds := make(map[cellstate.ClaimID]*Hold)
			if tt.adopted != nil {
				tt.adopted.ID = id
				holds[id] = adopt(*tt.adopted)
			}
			tt.said.ID, tt.said.Message = id, "because"
			merge(holds, &cellstate.Report{Claims: []cellstate.ClaimStatus{tt.said}}, 1000)
			h := holds[id]
			var last cellstate.Outcome
			if h.Last != nil {
				last = h.Last.Outcome
			}
			if h.Status.Phase != tt.phase || last != tt.last {
				t.Errorf("%s, last %d, want %s, %d", h.Status.Phase, last, tt.phase, tt.last)
			}
			if h.Status.Phase == cellstate.PhaseStopping && tt.said.Phase == h.Status.Phase && (!h.Stopped || h.Status.Message != "because") {
				t.Errorf("why it was stopped was forgotten: %+v", h)
			}
			if h.Status.Restarts < tt.said.Restarts || tt.adopted != nil && !h.Kept {
				t.Errorf("%d restarts after %d, directory kept: %v", h.Status.Restarts, tt.said.Restarts, h.Kept)
			}
			if tt.said.Outcome != 0 && h.Status.Outcome != tt.said.Outcome {
				t.Errorf("a final outcome changed to %s", h.Status.Outcome)
			}
		})
	}
}
