package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/cellpb"
)

// Everything that cellstate can say survives: a field that is added there and forgotten here is lost, and seen.
func TestRoundTrip(t *testing.T) {
	for _, kind := range cellstate.Kinds() {
		t.Run(kind.String(), func(t *testing.T) {
			for seed := uint64(1); seed <= 200; seed++ {
				f := filler{rng: rand.New(rand.NewPCG(seed, 1))}
				if seed > 20 {
					f.sparse = 0.5
				}
				want := f.value(kind)
				if z := zeros("", reflect.ValueOf(want)); f.sparse == 0 && len(z) > 0 {
					t.Fatalf("seed %d: the filler left %v zero, so this proves nothing of it", seed, z)
				}
				rev := reflect.ValueOf(want).Elem().FieldByName("Rev")
				b, err := Marshal(want)
				if err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				again, _ := Marshal(want)
				if !bytes.Equal(b, again) {
					t.Fatalf("seed %d: two encodings of one value differ", seed)
				}
				at := int64(0)
				if rev.IsValid() {
					at = rev.Int()
				}
				got, err := Unmarshal(want.Key(), b, at)
				if err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				if !reflect.DeepEqual(got, want) {
					t.Fatalf("seed %d: came back different:\n%s", seed, cmp.Diff(want, got, cmp.AllowUnexported(cellstate.Ledger{})))
				}
			}
		})
	}
}

// What a newer writer adds is passed over, at the top and inside.
func TestUnknownFieldsArePassedOver(t *testing.T) {
	extra := protowire.AppendString(protowire.AppendTag(nil, 999, protowire.BytesType), "from the future")
	m := ledgerTo(someLedger(2))
	m.ProtoReflect().SetUnknown(extra)
	m.GetClaims()[0].ProtoReflect().SetUnknown(extra)
	m.GetClaims()[0].GetResources().ProtoReflect().SetUnknown(extra)
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Unmarshal(cellstate.LedgerKey("rack-12-machine-07"), b, 0)
	if err != nil {
		t.Fatal(err)
	}
	if want := someLedger(2); !reflect.DeepEqual(got, want) {
		t.Errorf("came back different:\n%s", cmp.Diff(want, got, cmp.AllowUnexported(cellstate.Ledger{})))
	}
}

// Another writer's order is put right; a doubled claim is not.
func TestOrderOfClaims(t *testing.T) {
	m := ledgerTo(someLedger(2))
	m.Claims[0], m.Claims[1] = m.Claims[1], m.Claims[0]
	got := decodeMessage(t, cellstate.LedgerKey(m.GetMachine()), m)
	if want := someLedger(2); !reflect.DeepEqual(got, want) {
		t.Errorf("ledger came back different:\n%s", cmp.Diff(want, got, cmp.AllowUnexported(cellstate.Ledger{})))
	}
	r := &cellstate.Report{Machine: "m1", Claims: []cellstate.ClaimStatus{
		{ID: cellstate.ClaimID{Scheduler: "a", Job: "j"}, Phase: cellstate.PhaseRunning},
		{ID: cellstate.ClaimID{Scheduler: "b", Job: "j"}, Phase: cellstate.PhaseRunning},
	}}
	rm := reportTo(r)
	rm.Claims[0], rm.Claims[1] = rm.Claims[1], rm.Claims[0]
	if got := decodeMessage(t, r.Key(), rm); !reflect.DeepEqual(got, r) {
		t.Errorf("report came back different:\n%s", cmp.Diff(r, got))
	}
}

func decodeMessage(t *testing.T, k cellstate.Key, m proto.Message) cellstate.Value {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	v, err := Unmarshal(k, b, 0)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// corrupt is what no value may be, as messages under a key, with what the error has to name. Both directions refuse what
// cellstate's own types can hold.
func corrupt() []struct {
	name    string
	key     cellstate.Key
	m       proto.Message
	message string
} {
	claim := func(change func(*cellpb.Claim)) *cellpb.Ledger {
		m := ledgerTo(someLedger(1))
		m.Machine = "m1"
		change(m.Claims[0])
		return m
	}
	ledger := func(change func(*cellpb.Ledger)) *cellpb.Ledger {
		m := ledgerTo(someLedger(2))
		m.Machine = "m1"
		change(m)
		return m
	}
	report := func(s ...*cellpb.ClaimStatus) *cellpb.Report { return &cellpb.Report{Machine: "m1", Claims: s} }
	id := &cellpb.ClaimID{Scheduler: "s", Job: "j"}
	job := func(change func(*cellpb.Job)) *cellpb.Job {
		m := &cellpb.Job{Scheduler: "s", Name: "j", Version: 1, Tasks: 1}
		change(m)
		return m
	}
	m1, sj := cellstate.LedgerKey("m1"), cellstate.JobKey("s", "j")
	return []struct {
		name    string
		key     cellstate.Key
		m       proto.Message
		message string
	}{
		{"another machine's", cellstate.LedgerKey("m2"), ledger(func(*cellpb.Ledger) {}), "the value is that of ledger m1"},
		{"no name", cellstate.MachineKey("m1"), &cellpb.Machine{}, "the value is that of machine "},
		{"another job's status", cellstate.StatusKey("s", "j2"), &cellpb.JobStatus{Scheduler: "s", Job: "j", Phase: 1}, "status s/j"},
		{"another shard's leader", cellstate.LeaderKey("s", 1), &cellpb.Leader{Scheduler: "s", Shard: 2}, "leader s/2"},

		{"negative capacity", m1, ledger(func(m *cellpb.Ledger) { m.Capacity.CpuMilli = -1 }), "capacity: cpu -1"},
		{"half a device", m1, ledger(func(m *cellpb.Ledger) { m.Capacity.GpuMilli = 500 }), "capacity: gpu 500m"},
		{"devices beyond an index", m1, ledger(func(m *cellpb.Ledger) { m.Capacity.GpuMilli = 65_537_000 }), "capacity: gpu"},
		{"negative drain", m1, ledger(func(m *cellpb.Ledger) { m.Drain = &cellpb.Drain{DeadlineUnixMillis: -1} }), "drain: deadline"},
		{"doubled claim", m1, ledger(func(m *cellpb.Ledger) { m.Claims[1].Task = m.Claims[0].Task }), "doubled"},
		{"bad scheduler", m1, claim(func(c *cellpb.Claim) { c.Scheduler = "a/b" }), `name "a/b"`},
		{"bad job", m1, claim(func(c *cellpb.Claim) { c.Job = "" }), `name ""`},
		{"negative resources", m1, claim(func(c *cellpb.Claim) { c.Resources.MemBytes = -5 }), "memory -5"},
		{"too much", m1, claim(func(c *cellpb.Claim) { c.Resources.DiskBytes = cellstate.MaxAmount + 1 }), "disk"},
		{"extended out of order", m1, claim(func(c *cellpb.Claim) {
			c.Resources.Extended = []*cellpb.ExtendedAmount{{Name: "b", Amount: 1}, {Name: "a", Amount: 1}}
		}), `extended resource "a"`},
		{"precedence off the scale", m1, claim(func(c *cellpb.Claim) { c.Precedence = 400 }), "precedence 400"},
		{"ends before it starts", m1, claim(func(c *cellpb.Claim) { c.EndUnixMillis = c.StartUnixMillis }), "interval"},
		{"device too high", m1, claim(func(c *cellpb.Claim) { c.Gpus = []*cellpb.GPUShare{{Device: 65536, Milli: 1}} }), "gpu device 65536"},
		{"share too large", m1, claim(func(c *cellpb.Claim) { c.Gpus = []*cellpb.GPUShare{{Milli: 65537}} }), "65537m"},
		{"shares that do not add up", m1, claim(func(c *cellpb.Claim) { c.Gpus = []*cellpb.GPUShare{{Milli: 5}} }), "add up to 5m"},
		{"after nobody", m1, claim(func(c *cellpb.Claim) { c.After = []*cellpb.ClaimID{{}} }), "after: scheduler"},
		{"evicted without a deadline", m1, claim(func(c *cellpb.Claim) { c.Evict = &cellpb.Eviction{} }), "evict: deadline 0"},
		{"evicted by half a claim", m1, claim(func(c *cellpb.Claim) {
			c.Evict = &cellpb.Eviction{DeadlineUnixMillis: 1, By: &cellpb.ClaimID{Scheduler: "s"}}
		}), "evict: by: job"},

		{"status of nobody", cellstate.ReportKey("m1"), report(&cellpb.ClaimStatus{Phase: 1}), "claim 0: scheduler"},
		{"no phase", cellstate.ReportKey("m1"), report(&cellpb.ClaimStatus{Id: id}), "phase is missing"},
		{"unknown phase", cellstate.ReportKey("m1"), report(&cellpb.ClaimStatus{Id: id, Phase: 6}), "phase: there is no enumerator 6"},
		{"a phase that would wrap round", cellstate.ReportKey("m1"), report(&cellpb.ClaimStatus{Id: id, Phase: 257}), "enumerator 257"},
		{"negative health", cellstate.ReportKey("m1"), report(&cellpb.ClaimStatus{Id: id, Phase: 1, Health: -1}), "health: there is no"},
		{"unknown outcome", cellstate.ReportKey("m1"), report(&cellpb.ClaimStatus{Id: id, Phase: 1, Outcome: 7}), "outcome: there is no"},
		{"doubled status", cellstate.ReportKey("m1"), report(&cellpb.ClaimStatus{Id: id, Phase: 1}, &cellpb.ClaimStatus{Id: id, Phase: 2}), "doubled"},

		{"no band", cellstate.TenantKey("t"), &cellpb.Tenant{Name: "t", Bands: []*cellpb.BandQuota{{}}}, "bands: there is no Band(0)"},
		{"doubled band", cellstate.TenantKey("t"), &cellpb.Tenant{Name: "t", Bands: []*cellpb.BandQuota{{Band: 2}, {Band: 2}}}, "doubled"},
		{"negative quota", cellstate.TenantKey("t"),
			&cellpb.Tenant{Name: "t", Bands: []*cellpb.BandQuota{{Band: 2, Limit: &cellpb.Resources{GpuMilli: -1}}}}, "limit: an amount"},

		{"bad tenant", sj, job(func(m *cellpb.Job) { m.Tenant = "ä" }), "tenant"},
		{"job off the scale", sj, job(func(m *cellpb.Job) { m.Precedence = -1 }), "precedence -1"},
		{"job of negative size", sj, job(func(m *cellpb.Job) { m.Task = &cellpb.TaskSpec{Resources: &cellpb.Resources{CpuMilli: -1}} }), "task resources"},
		{"no operator", sj, job(func(m *cellpb.Job) { m.Constraints = []*cellpb.Constraint{{Attribute: "os"}} }), "constraint 0: op"},
		{"affinity of nothing", sj, job(func(m *cellpb.Job) { m.Affinities = []*cellpb.Affinity{{}} }), "affinity 0: op"},
		{"unknown packing", sj, job(func(m *cellpb.Job) { m.Packing = 3 }), "packing"},
		{"unknown restart", sj, job(func(m *cellpb.Job) { m.Task = &cellpb.TaskSpec{Restart: &cellpb.RestartPolicy{When: 4}} }), "restart when"},

		{"status without phase", cellstate.StatusKey("s", "j"), &cellpb.JobStatus{Scheduler: "s", Job: "j"}, "phase: there is no 0"},
		{"empty range", cellstate.StatusKey("s", "j"),
			&cellpb.JobStatus{Scheduler: "s", Job: "j", Phase: 1, Done: []*cellpb.TaskRange{{From: 1, To: 1}}}, "done: tasks [1, 1)"},
		{"adjacent ranges", cellstate.StatusKey("s", "j"),
			&cellpb.JobStatus{Scheduler: "s", Job: "j", Phase: 1, Done: []*cellpb.TaskRange{{To: 1}, {From: 1, To: 2}}}, "done: tasks [1, 2)"},
		{"doubled task", cellstate.StatusKey("s", "j"),
			&cellpb.JobStatus{Scheduler: "s", Job: "j", Phase: 1, Tasks: []*cellpb.TaskState{{}, {}}}, "tasks: 0 is doubled"},
		{"unknown rollout", cellstate.StatusKey("s", "j"),
			&cellpb.JobStatus{Scheduler: "s", Job: "j", Phase: 1, Rollout: &cellpb.Rollout{}}, "rollout phase"},

		{"scheduler operator", cellstate.SchedulerKey("operator"), &cellpb.Scheduler{Name: "operator"}, "operator"},
		{"scheduler off the scale", cellstate.SchedulerKey("s"), &cellpb.Scheduler{Name: "s", MaxPrecedence: 400}, "max precedence"},
	}
}

func TestUnmarshalRefuses(t *testing.T) {
	for _, tt := range corrupt() {
		t.Run(tt.name, func(t *testing.T) {
			b, err := proto.Marshal(tt.m)
			if err != nil {
				t.Fatal(err)
			}
			v, err := Unmarshal(tt.key, b, 7)
			if v != nil || !errors.Is(err, cellstate.ErrInvalid) {
				t.Fatalf("Unmarshal = %v, %v, want an error that is ErrInvalid", v, err)
			}
			if !strings.Contains(err.Error(), tt.key.String()) || !strings.Contains(err.Error(), tt.message) {
				t.Errorf("error %q does not name %q and %q", err, tt.key, tt.message)
			}
		})
	}
}

func TestUnmarshalRefusesBytes(t *testing.T) {
	good, err := Marshal(someLedger(3))
	if err != nil {
		t.Fatal(err)
	}
	k := cellstate.LedgerKey("rack-12-machine-07")
	for _, tt := range []struct {
		name string
		b    []byte
	}{
		{"nothing", nil},
		{"text", []byte("not a message")},
		{"one byte too few", good[:len(good)-1]},
		{"not UTF-8", append([]byte{0x0a, 1}, 0xff)},
		{"a group that does not end", append(bytes.Clone(good), 0xfb, 0x01)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if v, err := Unmarshal(k, tt.b, 7); v != nil || !errors.Is(err, cellstate.ErrInvalid) {
				t.Errorf("Unmarshal = %v, %v, want an error that is ErrInvalid", v, err)
			}
		})
	}
}

// What could not be read is not written either.
func TestMarshalRefuses(t *testing.T) {
	unsorted := someLedger(2)
	unsorted.Claims[0], unsorted.Claims[1] = unsorted.Claims[1], unsorted.Claims[0]
	unsummed := someLedger(1)
	unsummed.Claims[0].Machine = ""
	negative := someLedger(1)
	negative.Claims[0].Resources.CPUMilli = -1
	latin := someLedger(0)
	latin.Drain = &cellstate.Drain{Reason: "caf\xe9"}
	latinEviction := someLedger(1)
	latinEviction.Claims[0].Evict = &cellstate.Eviction{Deadline: 1, Reason: "caf\xe9"}
	latinResource := someLedger(1)
	latinResource.Claims[0].Resources.Extended = []cellstate.Extended{{Name: "caf\xe9", Amount: 1}}
	for _, tt := range []struct {
		name    string
		v       cellstate.Value
		message string
	}{
		{"bad name", cellstate.NewLedger("a b", cellstate.Resources{}), "ledger a b"},
		{"unsorted", unsorted, "out of order"},
		{"unsummed", unsummed, "Ledger.Sum"},
		{"negative", negative, "cpu -1"},
		{"not UTF-8", latin, "drain: reason"},
		{"eviction not UTF-8", latinEviction, "evict: reason"},
		{"resource not UTF-8", latinResource, "extended resource"},
		{"session not UTF-8", &cellstate.Session{Machine: "m1", Address: "caf\xe9"}, "UTF-8"},
		{"phase", &cellstate.Report{Machine: "m1", Claims: []cellstate.ClaimStatus{{ID: cellstate.ClaimID{Scheduler: "s", Job: "j"}, Phase: 9}}}, "phase"},
		{"restart", &cellstate.Job{Scheduler: "s", Name: "j", Task: cellstate.TaskSpec{Restart: cellstate.RestartPolicy{When: 9}}}, "restart"},
		{"packing", &cellstate.Job{Scheduler: "s", Name: "j", Packing: 9}, "packing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, err := Marshal(tt.v)
			if b != nil || !errors.Is(err, cellstate.ErrInvalid) || !strings.Contains(err.Error(), tt.message) {
				t.Errorf("Marshal = %d bytes, %v, want an error that is ErrInvalid and names %q", len(b), err, tt.message)
			}
		})
	}
}

// FuzzUnmarshal: bytes from anywhere never panic, and what is accepted is a value like any other.
func FuzzUnmarshal(f *testing.F) {
	fill := filler{rng: rand.New(rand.NewPCG(1, 2)), sparse: 0.3}
	for _, kind := range cellstate.Kinds() {
		for range 3 {
			v := fill.value(kind)
			b, err := Marshal(v)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(uint8(kind), v.Key().Scope, v.Key().Name, b)
		}
	}
	f.Fuzz(func(t *testing.T, kind uint8, scope, name string, b []byte) {
		k := cellstate.Key{Kind: cellstate.Kind(kind), Scope: scope, Name: name}
		v, err := Unmarshal(k, b, 7)
		if err != nil {
			if !errors.Is(err, cellstate.ErrInvalid) {
				t.Fatalf("%v is not ErrInvalid", err)
			}
			return
		}
		again, err := Marshal(v)
		if err != nil {
			t.Fatalf("read but not written: %v", err)
		}
		w, err := Unmarshal(k, again, 7)
		if err != nil {
			t.Fatalf("written but not read: %v", err)
		}
		if !reflect.DeepEqual(v, w) {
			t.Fatalf("came back different:\n%s", cmp.Diff(v, w, cmp.AllowUnexported(cellstate.Ledger{})))
		}
	})
}

func TestJSON(t *testing.T) {
	f := filler{rng: rand.New(rand.NewPCG(3, 4))}
	for _, kind := range cellstate.Kinds() {
		v := f.value(kind)
		b, err := JSON(v)
		if err != nil {
			t.Fatal(err)
		}
		if !json.Valid(b) || bytes.ContainsRune(b, '\n') {
			t.Errorf("%s: not one line of JSON: %s", kind, b)
		}
	}
	got, err := JSON(&cellstate.Session{Machine: "m1", Epoch: 3, Drivers: []string{"exec"}, StartedAt: 1})
	want := `{"machine":"m1","epoch":"3","drivers":["exec"],"started_at_unix_millis":"1"}`
	if err != nil || string(got) != want {
		t.Errorf("JSON = %s, %v, want %s", got, err, want)
	}
}
