package schedulers

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/omegacell/omegacell/cellstate"
)

// plain is a snapshot of machines and nothing else.
type plain struct {
	cellstate.Snapshot
	rev      int64
	machines []*cellstate.MachineView
}

func plainOf(rev int64, ledgers ...*cellstate.Ledger) *plain {
	p := &plain{rev: rev}
	for i, l := range ledgers {
		p.machines = append(p.machines, &cellstate.MachineView{Slot: i, Ledger: l})
	}
	return p
}

func (p *plain) Rev() int64                      { return p.rev }
func (p *plain) Len() int                        { return len(p.machines) }
func (p *plain) At(i int) *cellstate.MachineView { return p.machines[i] }

func (p *plain) Machine(name string) (*cellstate.MachineView, bool) {
	for _, m := range p.machines {
		if m.Name() == name {
			return m, true
		}
	}
	return nil, false
}

func (p *plain) Ledger(machine string) (*cellstate.Ledger, bool) {
	m, ok := p.Machine(machine)
	if !ok {
		return nil, false
	}
	return m.Ledger, true
}

// planFor makes claims of one core each, of one job, to machines.
func planFor(job string, machines ...string) *Plan {
	p := &Plan{}
	for i, m := range machines {
		p.Add = append(p.Add, cellstate.Claim{
			ID: cellstate.ClaimID{Scheduler: "s", Job: job, Task: uint32(i)}, Machine: m, Resources: cellstate.Resources{CPUMilli: 1000}, Start: 1,
		})
	}
	return p
}

func cores(machine string, n int64) *cellstate.Ledger {
	return cellstate.NewLedger(machine, cellstate.Resources{CPUMilli: 1000 * n})
}

// free is the number of cores that a view shows as free on a machine.
func free(v cellstate.Snapshot, machine string) int64 {
	l, ok := v.Ledger(machine)
	if !ok {
		return -1
	}
	f := l.Free(1, cellstate.Forever)
	return f.CPUMilli / 1000
}

func newTestFlights(rule cellstate.Rule, base cellstate.Snapshot) *flights {
	f := newFlights(rule, cellstate.Limits{}.WithDefaults())
	f.observe(base, nil)
	return f
}

func (f *flights) mustSend(t *testing.T, p *Plan) *flight {
	t.Helper()
	fl, lost := f.send(f.view(), p, false)
	if len(lost) > 0 {
		t.Fatalf("claims %v of a plan on the newest view do not fit", lost)
	}
	return fl
}

// ledgers is the changes that lead to a snapshot's ledgers.
func (p *plain) ledgers() (all []cellstate.Change) {
	for _, m := range p.machines {
		all = append(all, cellstate.Change{Key: m.Ledger.Key(), New: m.Ledger})
	}
	return all
}

// TestFlights guards that what is in flight takes room from the moment it is sent until it is shown, refused or known not to
// have been done, and not a moment longer.
func TestFlights(t *testing.T) {
	for _, tt := range []struct {
		name    string
		happens func(f *flights, fl *flight, p *Plan) []*cellstate.MachineView
		free    int64 // on a machine of 4 cores afterwards, of which 2 were in flight
		left    int   // claims in flight afterwards
		roomier int   // machines that parked jobs hear of
	}{
		{"nothing", func(*flights, *flight, *Plan) []*cellstate.MachineView { return nil }, 2, 2, 0},
		{"a snapshot without them", func(f *flights, _ *flight, _ *Plan) []*cellstate.MachineView {
			s := plainOf(6, cores("m", 4))
			return f.observe(s, s.ledgers())
		}, 2, 2, 0},
		{"a snapshot with one of them", func(f *flights, _ *flight, p *Plan) []*cellstate.MachineView {
			s := plainOf(6, cores("m", 4).With(p.Add[1]))
			return f.observe(s, s.ledgers())
		}, 2, 1, 0},
		{"a snapshot with both", func(f *flights, _ *flight, p *Plan) []*cellstate.MachineView {
			s := plainOf(6, cores("m", 4).With(p.Add[1]).With(p.Add[0]))
			return f.observe(s, s.ledgers())
		}, 2, 0, 0},
		{"committed, not shown", func(f *flights, fl *flight, _ *Plan) []*cellstate.MachineView {
			return f.landed(fl, 7, nil)
		}, 2, 2, 0},
		{"committed, and a snapshot before that", func(f *flights, fl *flight, _ *Plan) []*cellstate.MachineView {
			f.landed(fl, 7, nil)
			return f.observe(plainOf(6, cores("m", 4)), nil)
		}, 2, 2, 0},
		{"committed, and ended and removed when it is shown", func(f *flights, fl *flight, _ *Plan) []*cellstate.MachineView {
			f.landed(fl, 7, nil)
			return f.observe(plainOf(7, cores("m", 4)), nil)
		}, 4, 0, 2},
		{"one refused", func(f *flights, fl *flight, p *Plan) []*cellstate.MachineView {
			return f.landed(fl, 7, []cellstate.Conflict{{ID: p.Add[0].ID}})
		}, 3, 1, 1},
		{"not done", func(f *flights, fl *flight, _ *Plan) []*cellstate.MachineView {
			return f.landed(fl, 0, nil)
		}, 4, 0, 2},
		{"answered after it was shown", func(f *flights, fl *flight, p *Plan) []*cellstate.MachineView {
			s := plainOf(7, cores("m", 4).With(p.Add[1]).With(p.Add[0]))
			f.observe(s, s.ledgers())
			return f.landed(fl, 7, nil)
		}, 2, 0, 0},
		{"the machine goes", func(f *flights, fl *flight, _ *Plan) []*cellstate.MachineView {
			return f.observe(plainOf(6, cores("other", 9)), []cellstate.Change{{Key: cellstate.LedgerKey("m")}, {Key: cellstate.LedgerKey("other")}})
		}, -1, 2, 0},
		{"the machine goes and comes back", func(f *flights, fl *flight, _ *Plan) []*cellstate.MachineView {
			f.observe(plainOf(6, cores("other", 9)), []cellstate.Change{{Key: cellstate.LedgerKey("m")}, {Key: cellstate.LedgerKey("other")}})
			s := plainOf(7, cores("other", 9), cores("m", 8))
			return f.observe(s, s.ledgers())
		}, 6, 2, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newTestFlights(cellstate.FitRule, plainOf(5, cores("m", 4)))
			before := f.view()
			p := planFor("j", "m", "m")
			fl := f.mustSend(t, p)
			during := f.view()
			roomier := tt.happens(f, fl, p)
			v := f.view()
			if got := free(v, "m"); got != tt.free || f.size() != tt.left || len(roomier) != tt.roomier {
				t.Errorf("%d cores free, %d claims in flight, %d machines with more room; want %d, %d, %d", got, f.size(), len(roomier), tt.free, tt.left, tt.roomier)
			}
			if other := free(v, "other"); other != -1 && other != 9 {
				t.Errorf("%d cores free on the machine that took the slot, want all 9", other)
			}
			if free(before, "m") != 4 || free(during, "m") != 2 {
				t.Errorf("views handed out before changed: %d and %d cores free, want 4 and 2", free(before, "m"), free(during, "m"))
			}
			if tt.left == 0 && f.covers.count != 0 {
				t.Errorf("%d machines are covered although nothing is in flight", f.covers.count)
			}
		})
	}
}

// TestFlightsRecheck: claims whose machine changed since the view that they were planned on are asked about again, those of an
// unchanged one are not, and a plan that does not fit as a whole is not sent.
func TestFlightsRecheck(t *testing.T) {
	evicting := planFor("j", "m", "m")
	evicting.Evict = []cellstate.Evict{{Eviction: cellstate.Eviction{By: evicting.Add[0].ID}}}
	for _, tt := range []struct {
		name      string
		plan      *Plan
		meanwhile func(f *flights)
		lost      []int
	}{
		{"nothing happened", planFor("j", "m", "m"), func(*flights) {}, nil},
		{"the machine has just room enough", planFor("j", "m", "m"), func(f *flights) { f.observe(plainOf(6, cores("m", 2), cores("n", 4)), nil) }, nil},
		{"room for one less", planFor("j", "m", "m"), func(f *flights) { f.observe(plainOf(6, cores("m", 1), cores("n", 4)), nil) }, []int{1}},
		{"room for none", planFor("j", "m", "n", "m"), func(f *flights) { f.observe(plainOf(6, cores("m", 0), cores("n", 4)), nil) }, []int{0, 2}},
		{"the machine is gone", planFor("j", "m", "n"), func(f *flights) { f.observe(plainOf(6, cores("n", 4)), nil) }, []int{0}},
		{"others of ours were sent", planFor("j", "m", "m"), func(f *flights) { f.send(f.view(), planFor("k", "m", "m", "m"), false) }, []int{1}},
		{"it makes room for itself", evicting, func(f *flights) { f.observe(plainOf(6, cores("m", 0), cores("n", 4)), nil) }, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newTestFlights(cellstate.FitRule, plainOf(5, cores("m", 4), cores("n", 4)))
			view := f.view()
			tt.meanwhile(f)
			before := f.size()
			fl, lost := f.send(view, tt.plan, false)
			if !slices.Equal(lost, tt.lost) {
				t.Errorf("lost %v, want %v", lost, tt.lost)
			}
			if sent := f.size() > before; sent != (len(tt.lost) == 0) || sent != (fl != nil) {
				t.Errorf("sent: %v, flight %v", sent, fl)
			}
		})
	}
}

// TestFlightOfWhatIsThere: a planner that claims again what stands in the ledger does not take room twice.
func TestFlightOfWhatIsThere(t *testing.T) {
	p := planFor("j", "m")
	f := newTestFlights(cellstate.FitRule, plainOf(5, cores("m", 4).With(p.Add[0])))
	f.mustSend(t, p)
	if got := free(f.view(), "m"); got != 3 {
		t.Errorf("%d cores free, want 3", got)
	}
}

// TestFlightsUnderSeqRule: any second transaction on a machine would conflict, so that planners see those in use as closed.
func TestFlightsUnderSeqRule(t *testing.T) {
	f := newTestFlights(cellstate.SeqRule, plainOf(5, cores("m", 4), cores("n", 4)))
	p := planFor("j", "m")
	f.mustSend(t, p)
	for machine, closed := range map[string]bool{"m": true, "n": false} {
		if l, _ := f.view().Ledger(machine); l.Cordoned != closed {
			t.Errorf("%s is shown as closed: %v, want %v", machine, l.Cordoned, closed)
		}
	}
	s := plainOf(6, cores("m", 4).With(p.Add[0]), cores("n", 4))
	if roomier := f.observe(s, s.ledgers()); len(roomier) != 1 || roomier[0].Ledger.Cordoned {
		t.Errorf("%v is open to planners again, want m", roomier)
	}
}

// TestLongLedgers: a ledger that is not copied shows the same room as one that is.
func TestLongLedgers(t *testing.T) {
	for _, tt := range []struct {
		name string
		held int // claims of the machine before
		gpu  int64
	}{
		{"short", manyClaims - 1, 0}, {"long", manyClaims, 0}, {"long, and the claim has a device", manyClaims, 1000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := cellstate.NewLedger("m", cellstate.Resources{CPUMilli: 100_000, GPUMilli: 2000})
			for i := range tt.held {
				l.Claims = append(l.Claims, cellstate.Claim{ID: cellstate.ClaimID{Scheduler: "o", Job: "o", Task: uint32(i)}, Resources: cellstate.Resources{CPUMilli: 1000}})
			}
			f := newTestFlights(cellstate.FitRule, plainOf(5, l.Sum()))
			p := planFor("j", "m", "m")
			for i := range p.Add {
				p.Add[i].Resources.GPUMilli = tt.gpu
			}
			f.mustSend(t, p)
			shown, _ := f.view().Ledger("m")
			if got, want := free(f.view(), "m"), int64(100-tt.held-2); got != want {
				t.Errorf("%d cores free, want %d", got, want)
			}
			if got := shown.GPUFree(1, cellstate.Forever); len(got) != 2 || got[0] != 1000-tt.gpu {
				t.Errorf("free devices %v, want both of them, less what is in flight", got)
			}
		})
	}
}

// TestCovers plays random changes against a plain map, and checks that what was handed out never changes.
func TestCovers(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var c covers
	want := make(map[int]*cover)
	type handed struct {
		spine []*coverChunk
		want  map[int]*cover
	}
	var old []handed
	check := func(spine []*coverChunk, want map[int]*cover) {
		t.Helper()
		for slot := range 4 * coverSize {
			if got := coverAt(spine, slot); got != want[slot] {
				t.Fatalf("slot %d: %p, want %p", slot, got, want[slot])
			}
		}
	}
	for range 3000 {
		slot := rng.IntN(4*coverSize - 1)
		if rng.IntN(2) == 0 {
			c.set(slot, nil)
			delete(want, slot)
		} else {
			m := new(cover)
			c.set(slot, m)
			want[slot] = m
		}
		if c.count != len(want) {
			t.Fatalf("counts %d, want %d", c.count, len(want))
		}
		if rng.IntN(50) == 0 {
			copied := make(map[int]*cover)
			for k, v := range want {
				copied[k] = v
			}
			old = append(old, handed{c.share(), copied})
		}
	}
	check(c.spine, want)
	for _, h := range old {
		check(h.spine, h.want)
	}
	if len(old) < 20 || len(want) == 0 {
		t.Errorf("%d handed out, %d covered at the end: this no longer tests anything", len(old), len(want))
	}
}
