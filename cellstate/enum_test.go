package cellstate

import (
	"fmt"
	"math"
	"slices"
	"testing"
)

// walk checks an enum: its values run from first without a gap, each prints a text of its own, and whatever lies beyond prints
// that it is unknown, so that a value added without a text, or left out of its list, is seen.
func walk[E interface {
	~uint8
	fmt.Stringer
}](t *testing.T, name string, first E, values []E) {
	t.Helper()
	unknown := func(e E) bool { return e.String() == "unknown" || e.String() == fmt.Sprintf("%s(%d)", name, uint8(e)) }
	seen := map[string]E{}
	for i, e := range values {
		if want := first + E(i); e != want {
			t.Errorf("%s: value %d of the list is %d, want %d", name, i, e, want)
		}
		s := e.String()
		if s == "" || unknown(e) && e != 0 {
			t.Errorf("%s: value %d prints %q, as an unknown one does", name, e, s)
		}
		if other, doubled := seen[s]; doubled {
			t.Errorf("%s: %d and %d both print %q", name, other, e, s)
		}
		seen[s] = e
	}
	for n := range math.MaxUint8 + 1 {
		if e := E(n); !slices.Contains(values, e) && !unknown(e) {
			t.Errorf("%s: %d prints %q but is not in the list", name, e, e)
		}
	}
}

func TestEnumsPrint(t *testing.T) {
	walk(t, "Mode", 1, []Mode{Incremental, AllOrNothing})
	walk(t, "Rule", 1, []Rule{FitRule, SeqRule})
	walk(t, "Reason", 1, Reasons())
	walk(t, "Phase", 1, Phases())
	walk(t, "Health", 0, []Health{HealthUnknown, Healthy, Unhealthy})
	walk(t, "Outcome", 1, Outcomes())
	walk(t, "Op", 1, Ops())
	walk(t, "JobPhase", 1, JobPhases())
	walk(t, "Band", 1, Bands())
	walk(t, "Kind", 1, Kinds())
	walk(t, "Dimension", 1, []Dimension{CPU, Memory, Disk, Network, GPU, ExtendedResource})
	walk(t, "Packing", 1, []Packing{Pack, SpreadLoad})
	walk(t, "RestartWhen", 1, []RestartWhen{RestartNever, RestartOnFailure, RestartAlways})
	walk(t, "RolloutPhase", 1, []RolloutPhase{RolloutRunning, RolloutDone, RolloutHalted})
}

func TestFinalJobPhases(t *testing.T) {
	for _, p := range JobPhases() {
		want := slices.Contains([]JobPhase{JobSucceeded, JobFailed, JobStopped}, p)
		if p.Final() != want {
			t.Errorf("%s: Final = %v, want %v", p, p.Final(), want)
		}
	}
}

func TestShortageString(t *testing.T) {
	for _, tt := range []struct {
		s    Shortage
		want string
	}{
		{Shortage{}, "fits"},
		{Shortage{Reason: ReasonFull, Dimension: Memory, Want: 2, Free: 1}, "full: memory wants 2, free 1"},
		{Shortage{Reason: ReasonFull, Dimension: ExtendedResource, Name: "fpga", Want: 1}, "full: fpga wants 1, free 0"},
		{Shortage{Reason: ReasonGPUDevice, Want: 700, Free: 500}, "gpu-device: wants 700m, most on one device or in whole devices 500m"},
		{Shortage{Reason: ReasonCordoned}, "cordoned"},
	} {
		if got := tt.s.String(); got != tt.want {
			t.Errorf("%+v prints %q, want %q", tt.s, got, tt.want)
		}
	}
}
