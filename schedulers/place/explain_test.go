package place

import (
	"fmt"
	"strings"
	"testing"

	"github.com/omegacell/omegacell/cellstate"
)

// Each row asks for one task of 2 cores and 8Gi; the rows of a rule come in pairs, the last that is excluded and the first
// that is not.
func TestRules(t *testing.T) {
	whole := cores(2)
	attr := func(op cellstate.Op, values ...string) func(*Request) {
		return func(r *Request) {
			r.Job.Constraints = []cellstate.Constraint{{Attribute: "zone", Op: op, Values: values}}
		}
	}
	want := func(f func(*cellstate.Resources)) func(*Request) {
		return func(r *Request) { f(&r.Job.Task.Resources) }
	}
	has := func(f func(*cellstate.Resources)) *cellstate.MachineView {
		m := machine("m", whole, "zone", "x")
		f(&m.Ledger.Capacity)
		return m
	}
	for _, tt := range []struct {
		name string
		m    *cellstate.MachineView
		req  func(*Request)
		rule string // "" where the task is placed
	}{
		{"equality fits", machine("m", whole), nil, ""},
		{"without a session", &cellstate.MachineView{Ledger: cellstate.NewLedger("m", whole)}, nil, "no session"},
		{"with nothing but a session", &cellstate.MachineView{Ledger: cellstate.NewLedger("m", whole), Session: &cellstate.Session{}}, nil, ""},
		{"cordoned", func() *cellstate.MachineView { m := machine("m", whole); m.Ledger.Cordoned = true; return m }(), nil, "cordoned"},
		{"draining", func() *cellstate.MachineView {
			m := machine("m", whole)
			m.Ledger.Drain = &cellstate.Drain{}
			return m
		}(), nil, "cordoned"},
		{"constraint", machine("m", whole, "zone", "y"), attr(cellstate.OpIn, "x", "z"), "constraint zone in [x z]"},
		{"constraint satisfied", machine("m", whole, "zone", "z"), attr(cellstate.OpIn, "x", "z"), ""},
		{"malformed constraint", machine("m", whole, "zone", "z"), attr(cellstate.OpRegexp, "("), "constraint zone regexp ("},
		{"avoided", machine("m", whole), func(r *Request) { r.Avoid = map[string]bool{"m": true} }, "avoided"},
		{"another avoided", machine("m", whole), func(r *Request) { r.Avoid = map[string]bool{"n": true} }, ""},
		{"cpu", has(func(r *cellstate.Resources) { r.CPUMilli-- }), nil, "full: cpu"},
		{"memory", has(func(r *cellstate.Resources) { r.MemBytes-- }), nil, "full: memory"},
		{"disk", has(func(r *cellstate.Resources) { r.DiskBytes = 9 }), want(func(r *cellstate.Resources) { r.DiskBytes = 10 }), "full: disk"},
		{"disk enough", has(func(r *cellstate.Resources) { r.DiskBytes = 10 }), want(func(r *cellstate.Resources) { r.DiskBytes = 10 }), ""},
		{"network", has(func(r *cellstate.Resources) { r.NetBitsPerSecond = 9 }), want(func(r *cellstate.Resources) { r.NetBitsPerSecond = 10 }), "full: network"},
		{"network enough", has(func(r *cellstate.Resources) { r.NetBitsPerSecond = 10 }), want(func(r *cellstate.Resources) { r.NetBitsPerSecond = 10 }), ""},
		{"gpu", has(func(r *cellstate.Resources) { r.GPUMilli = 1000 }), want(func(r *cellstate.Resources) { r.GPUMilli = 2000 }), "full: gpu"},
		{"gpu enough", has(func(r *cellstate.Resources) { r.GPUMilli = 2000 }), want(func(r *cellstate.Resources) { r.GPUMilli = 2000 }), ""},
		{"extended", has(func(r *cellstate.Resources) { r.Extended = []cellstate.Extended{{Name: "seats", Amount: 1}} }),
			want(func(r *cellstate.Resources) { r.Extended = []cellstate.Extended{{Name: "seats", Amount: 2}} }), "full: seats"},
		{"extended enough", has(func(r *cellstate.Resources) { r.Extended = []cellstate.Extended{{Name: "seats", Amount: 2}} }),
			want(func(r *cellstate.Resources) { r.Extended = []cellstate.Extended{{Name: "seats", Amount: 2}} }), ""},
		{"gpu in sum only", holding(machine("m", cellstate.Resources{CPUMilli: 8000, MemBytes: 32 * gi, GPUMilli: 2000}), sharing(0, 500), sharing(1, 501)),
			want(func(r *cellstate.Resources) { r.GPUMilli = 600 }), "gpu-device"},
		{"gpu on one device", holding(machine("m", cellstate.Resources{CPUMilli: 8000, MemBytes: 32 * gi, GPUMilli: 2000}), sharing(0, 400), sharing(1, 601)),
			want(func(r *cellstate.Resources) { r.GPUMilli = 600 }), ""},
		{"claims at the limit", holding(machine("m", cores(8)), other("x", 0, 1, cores(1)), other("x", 1, 1, cores(1))),
			func(r *Request) { r.Limits.ClaimsPerMachine = 2 }, "too-many-claims"},
		{"claims below the limit", holding(machine("m", cores(8)), other("x", 0, 1, cores(1)), other("x", 1, 1, cores(1))),
			func(r *Request) { r.Limits.ClaimsPerMachine = 3 }, ""},
		{"max skew without the attribute", machine("m", whole), func(r *Request) { r.Job.Spread = []cellstate.Spread{{Attribute: "zone", MaxSkew: 1}} }, "spread zone"},
		{"max skew", machine("m", whole, "zone", "x"), func(r *Request) { r.Job.Spread = []cellstate.Spread{{Attribute: "zone", MaxSkew: 1}} }, ""},
		{"spread without the attribute", machine("m", whole), func(r *Request) { r.Job.Spread = []cellstate.Spread{{Attribute: "zone"}} }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req := request(job(cores(2)), 1)
			if tt.req != nil {
				tt.req(&req)
			}
			r := Place(newCell(tt.m), req, seeded(1))
			got := ""
			if r.Explanation != nil {
				got = fmt.Sprint(r.Explanation.Rules)
			}
			if want := fmt.Sprintf("[{%s 1}]", tt.rule); tt.rule == "" && len(r.Claims) != 1 || tt.rule != "" && got != want {
				t.Errorf("%d placed, rules %s, want rule %q", len(r.Claims), got, tt.rule)
			}
		})
	}
}

// sharing is a claim on part of one device.
func sharing(device, milli uint16) cellstate.Claim {
	c := other("gpu", uint32(device), 1, cellstate.Resources{GPUMilli: int64(milli)})
	c.GPUs = []cellstate.GPUShare{{Device: device, Milli: milli}}
	return c
}

func TestExplanation(t *testing.T) {
	silent := func(m *cellstate.MachineView) *cellstate.MachineView { m.Session = nil; return m }
	cordoned := func(m *cellstate.MachineView) *cellstate.MachineView { m.Ledger.Cordoned = true; return m }
	draining := func(m *cellstate.MachineView) *cellstate.MachineView {
		m.Ledger.Drain = &cellstate.Drain{}
		return m
	}
	using := func(name string, capacity, used cellstate.Resources, attr ...string) *cellstate.MachineView {
		return holding(machine(name, capacity, attr...), other("x-"+name, 0, 300, used))
	}
	is := func(values ...string) []cellstate.Constraint {
		return []cellstate.Constraint{{Attribute: "gpu.model", Op: cellstate.OpIn, Values: values}}
	}
	for _, tt := range []struct {
		name     string
		machines []*cellstate.MachineView
		res      cellstate.Resources
		change   func(*Request)
		tasks    int
		want     string // rules | near misses | unblock
	}{
		{"empty cell", nil, cores(1), nil, 1, "[] | [] | the cell has no machines"},
		{"nearest first", []*cellstate.MachineView{
			using("a", cores(8), cellstate.Resources{CPUMilli: 7000}), using("b", cores(8), cellstate.Resources{CPUMilli: 6300}),
			using("c", cores(8), cellstate.Resources{CPUMilli: 7000, MemBytes: 25 * gi}), silent(machine("d", cores(8)))}, cores(2), nil, 1,
			"[{no session 1} {full: cpu 3}] | [{b cpu 300m of 2000m} {a cpu 1000m of 2000m} {c cpu 1000m of 2000m, memory 1Gi of 8Gi}]" +
				" | 2 of 4 machines take claims but lack cpu: free cpu 300m on b, or lower cpu to 1700m"},
		{"nothing free at all", []*cellstate.MachineView{using("a", cores(2), cores(2))}, cellstate.Resources{MemBytes: gi}, nil, 1,
			"[{full: memory 1}] | [{a memory 1Gi of 1Gi}] | 1 of 1 machines take claims but lack memory: free memory 1Gi on a"},
		{"what earlier tasks took counts", []*cellstate.MachineView{machine("a", cores(3))}, cores(2), nil, 2,
			"[{full: cpu 1}] | [{a cpu 1000m of 2000m, memory 4Gi of 8Gi}] | 1 of 1 machines take claims but lack cpu, memory: free cpu 1000m, memory 4Gi on a, or lower cpu to 1000m, memory to 4Gi"},
		{"no such attribute value", []*cellstate.MachineView{machine("a", cores(8), "gpu.model", "T4"), machine("b", cores(8), "gpu.model", "G2"), machine("c", cores(8))}, cores(1),
			func(r *Request) { r.Job.Constraints = is("A100") }, 1,
			"[{constraint gpu.model in [A100] 3}] | [] | no machine has attribute gpu.model in [A100]: there, gpu.model is G2, T4"},
		{"no such attribute", []*cellstate.MachineView{machine("c", cores(8))}, cores(1),
			func(r *Request) { r.Job.Constraints = is("A100") }, 1,
			"[{constraint gpu.model in [A100] 1}] | [] | no machine has attribute gpu.model in [A100]"},
		{"constraints apart", []*cellstate.MachineView{machine("a", cores(8), "gpu.model", "T4"), machine("b", cores(8), "zone", "x")}, cores(1),
			func(r *Request) {
				r.Job.Constraints = append(is("T4"), cellstate.Constraint{Attribute: "zone", Op: cellstate.OpExists})
			}, 1,
			"[{constraint gpu.model in [T4] 1} {constraint zone exists 1}] | [] | no machine satisfies all 2 constraints together, though each is satisfied by some"},
		{"malformed constraint", []*cellstate.MachineView{machine("a", cores(8), "gpu.model", "T4")}, cores(1),
			func(r *Request) {
				r.Job.Constraints = []cellstate.Constraint{{Attribute: "gpu.model", Op: cellstate.OpVersion, Values: []string{"new"}}}
			}, 1,
			"[{constraint gpu.model version new 1}] | [] | constraint gpu.model version new is malformed: \"new\" is no list of versions such as \">= 5.10, < 7\": invalid"},
		{"those that satisfy cannot be used", []*cellstate.MachineView{silent(machine("a", cores(8), "gpu.model", "T4")),
			cordoned(machine("b", cores(8), "gpu.model", "T4")), draining(machine("e", cores(8), "gpu.model", "T4")), machine("c", cores(8), "gpu.model", "T4"), machine("d", cores(8)), draining(machine("f", cores(8)))}, cores(1),
			func(r *Request) { r.Job.Constraints = is("T4"); r.Avoid = map[string]bool{"c": true} }, 1,
			"[{no session 1} {cordoned 3} {constraint gpu.model in [T4] 1} {avoided 1}] | [] | of 4 machines that satisfy the constraints none can be used," +
				" 1 without a live agent, 2 cordoned or draining, 1 avoided after a failure there: start an agent, or uncordon a machine, or wait until one is tried again"},
		{"larger than every machine", []*cellstate.MachineView{machine("a", cores(8)), using("b", cores(4), cores(4))}, cores(16), nil, 1,
			"[{full: cpu 2}] | [{a cpu 8000m of 16000m, memory 32Gi of 64Gi} {b cpu 16000m of 16000m, memory 64Gi of 64Gi}]" +
				" | can never fit: the largest machine has cpu 8000m of the 16000m wanted, memory 32Gi of the 64Gi wanted"},
		{"as large as the largest", []*cellstate.MachineView{using("a", cores(8), cellstate.Resources{CPUMilli: 1})}, cores(8), nil, 1,
			"[{full: cpu 1}] | [{a cpu 1m of 8000m}] | 1 of 1 machines take claims but lack cpu: free cpu 1m on a, or lower cpu to 7999m"},
		{"what is too small cannot be freed", []*cellstate.MachineView{machine("a", cellstate.Resources{CPUMilli: 1900, MemBytes: 8 * gi}), using("b", cores(8), cellstate.Resources{CPUMilli: 7000})}, cores(2), nil, 1,
			"[{full: cpu 2}] | [{a cpu 100m of 2000m} {b cpu 1000m of 2000m}] | 2 of 2 machines take claims but lack cpu: free cpu 1000m on b, or lower cpu to 1000m"},
		{"too much of everything together", []*cellstate.MachineView{machine("a", cellstate.Resources{CPUMilli: 8000, MemBytes: gi}),
			machine("b", cellstate.Resources{CPUMilli: 1000, MemBytes: 8 * gi})}, cellstate.Resources{CPUMilli: 8000, MemBytes: 8 * gi}, nil, 1,
			"[{full: cpu 1} {full: memory 1}] | [{a memory 7Gi of 8Gi} {b cpu 7000m of 8000m}]" +
				" | can never fit: no single machine has as much as is wanted of every resource: lower cpu 8000m, memory 8Gi"},
		{"no device", []*cellstate.MachineView{holding(machine("a", cellstate.Resources{GPUMilli: 2000}), sharing(0, 500), sharing(1, 700))},
			cellstate.Resources{GPUMilli: 600}, nil, 1,
			"[{gpu-device 1}] | [{a gpu 100m of 600m on one device}] | 1 of 1 machines take claims but lack gpu: free gpu 100m on one device on a, or lower gpu to 500m"},
		{"no whole devices", []*cellstate.MachineView{holding(machine("a", cellstate.Resources{GPUMilli: 4000}), sharing(0, 500), sharing(1, 500), sharing(2, 500))},
			cellstate.Resources{GPUMilli: 2000}, nil, 1,
			"[{gpu-device 1}] | [{a gpu 1000m of 2000m in whole devices}] | 1 of 1 machines take claims but lack gpu: free gpu 1000m in whole devices on a, or lower gpu to 1000m"},
		{"claims limit", []*cellstate.MachineView{using("a", cores(8), cores(1))}, cores(1), func(r *Request) { r.Limits.ClaimsPerMachine = 1 }, 1,
			"[{too-many-claims 1}] | [] | 1 machine has as many claims as the limit of 1 allows: end some, or add machines"},
		{"max skew", []*cellstate.MachineView{machine("a", cores(8), "rack", "r1"), using("b", cores(4), cores(4), "rack", "r2"), using("c", cores(8), cores(8), "rack", "r1")}, cores(1),
			func(r *Request) { r.Job.Spread = []cellstate.Spread{{Attribute: "rack", MaxSkew: 1}} }, 2,
			"[{full: cpu 2} {spread rack 1}] | [{b cpu 1000m of 1000m, memory 4Gi of 4Gi}] | 1 of 3 machines take claims but lack cpu, memory: free cpu 1000m, memory 4Gi on b"},
		{"max skew alone", []*cellstate.MachineView{machine("a", cores(8))}, cores(1),
			func(r *Request) { r.Job.Spread = []cellstate.Spread{{Attribute: "rack", MaxSkew: 1}} }, 1,
			"[{spread rack 1}] | [] | 1 machine has room but would exceed the max skew of a spread: raise it, or free room where fewer tasks of the job run"},
		{"gang", []*cellstate.MachineView{machine("a", cores(3))}, cores(1), func(r *Request) { r.Min = 4 }, 4,
			"[{full: cpu 1}] | [{a cpu 1000m of 1000m, memory 4Gi of 4Gi}] | room for 3 of the 4 tasks that the gang needs: 1 of 1 machines take claims but lack cpu, memory: free cpu 1000m, memory 4Gi on a"},
		{"fewer tasks than the gang", []*cellstate.MachineView{machine("a", cores(3))}, cores(1), func(r *Request) { r.Min = 3 }, 2,
			"[] | [] | the gang needs 3 tasks at once and only 2 were asked for"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req := request(job(tt.res), tt.tasks)
			if tt.change != nil {
				tt.change(&req)
			}
			for seed := range uint64(3) {
				e := Place(newCell(tt.machines...), req, seeded(seed)).Explanation
				if e == nil {
					t.Fatal("all placed")
				}
				if got := fmt.Sprintf("%v | %v | %s", e.Rules, e.NearMisses, e.Unblock); got != tt.want {
					t.Errorf("seed %d:\ngot  %s\nwant %s", seed, got, tt.want)
				}
				if e.At != now || e.Rev != 7 || int(e.Looked) != len(tt.machines) {
					t.Errorf("at %v, revision %d, looked at %d", e.At, e.Rev, e.Looked)
				}
			}
		})
	}
}

func TestNearMissesAreFew(t *testing.T) {
	for _, n := range []int{nearMisses, nearMisses + 1} {
		var all []*cellstate.MachineView
		for i := range n {
			all = append(all, machine(fmt.Sprintf("m%d", n-i), cores(1)))
		}
		e := Place(newCell(all...), request(job(cores(2)), 1), seeded(1)).Explanation
		if len(e.NearMisses) != nearMisses || e.NearMisses[0].Machine != "m1" {
			t.Errorf("of %d machines, near misses %v", n, e.NearMisses)
		}
	}
}

func TestFewValuesAreListed(t *testing.T) {
	for n, want := range map[int]string{5: "v0, v1, v2, v3, v4", 6: "v0, v1, v2, v3, v4 and 1 more"} {
		var all []*cellstate.MachineView
		for i := range n {
			all = append(all, machine(fmt.Sprintf("m%d", i), cores(1), "zone", fmt.Sprintf("v%d", i)))
		}
		req := request(job(cores(1)), 1)
		req.Job.Constraints = []cellstate.Constraint{{Attribute: "zone", Op: cellstate.OpEqual, Values: []string{"w"}}}
		if got := Place(newCell(all...), req, seeded(1)).Explanation.Unblock; !strings.HasSuffix(got, " is "+want) {
			t.Errorf("%q does not end with %q", got, want)
		}
	}
}
