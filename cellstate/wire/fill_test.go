package wire

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"time"

	"github.com/omegacell/omegacell/cellstate"
)

// filler makes values by reflection, so that a field added to cellstate is filled without anybody thinking of it. Each
// optional part is left out with probability sparse; at 0 no exported field is zero.
type filler struct {
	rng    *rand.Rand
	sparse float64
}

// enums gives the last enumerator of every enumeration.
func enums() map[reflect.Type]uint64 {
	return map[reflect.Type]uint64{
		reflect.TypeFor[cellstate.Phase]():        uint64(cellstate.PhaseEnded),
		reflect.TypeFor[cellstate.Health]():       uint64(cellstate.Unhealthy),
		reflect.TypeFor[cellstate.Outcome]():      uint64(cellstate.OutcomeLost),
		reflect.TypeFor[cellstate.Band]():         uint64(cellstate.BandMonitoring),
		reflect.TypeFor[cellstate.RestartWhen]():  uint64(cellstate.RestartAlways),
		reflect.TypeFor[cellstate.Op]():           uint64(cellstate.OpVersion),
		reflect.TypeFor[cellstate.Packing]():      uint64(cellstate.SpreadLoad),
		reflect.TypeFor[cellstate.JobPhase]():     uint64(cellstate.JobStopped),
		reflect.TypeFor[cellstate.RolloutPhase](): uint64(cellstate.RolloutHalted),
	}
}

func (f *filler) value(kind cellstate.Kind) cellstate.Value {
	var v cellstate.Value
	switch kind {
	case cellstate.KindLedger:
		v = new(cellstate.Ledger)
	case cellstate.KindReport:
		v = new(cellstate.Report)
	case cellstate.KindSession:
		v = new(cellstate.Session)
	case cellstate.KindMachine:
		v = new(cellstate.Machine)
	case cellstate.KindTenant:
		v = new(cellstate.Tenant)
	case cellstate.KindJob:
		v = new(cellstate.Job)
	case cellstate.KindStatus:
		v = new(cellstate.JobStatus)
	case cellstate.KindScheduler:
		v = new(cellstate.Scheduler)
	case cellstate.KindLeader:
		v = new(cellstate.Leader)
	default:
		panic(fmt.Sprintf("fill: %s is new: add it here", kind))
	}
	f.fill(reflect.ValueOf(v).Elem())
	return v
}

func (f *filler) leaveOut() bool { return f.rng.Float64() < f.sparse }

func (f *filler) fill(v reflect.Value) {
	if last, ok := enums()[v.Type()]; ok {
		v.SetUint(1 + f.rng.Uint64N(last))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				f.fill(v.Field(i))
			}
		}
		f.makeLegal(v.Addr().Interface())
	case reflect.Pointer:
		if !f.leaveOut() {
			v.Set(reflect.New(v.Type().Elem()))
			f.fill(v.Elem())
		}
	case reflect.Slice:
		if !f.leaveOut() {
			n := 1 + f.rng.IntN(3)
			v.Set(reflect.MakeSlice(v.Type(), n, n))
			for i := range n {
				f.fill(v.Index(i))
			}
		}
	case reflect.Map:
		if !f.leaveOut() {
			v.Set(reflect.MakeMap(v.Type()))
			for range 1 + f.rng.IntN(3) {
				key, elem := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
				f.fill(key)
				f.fill(elem)
				v.SetMapIndex(key, elem)
			}
		}
	case reflect.String:
		v.SetString(fmt.Sprintf("n%x", f.rng.Uint64N(1<<20)))
	case reflect.Bool:
		v.SetBool(!f.leaveOut())
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(1 + f.rng.Uint64N(1<<(v.Type().Bits()-1)))
	case reflect.Int32, reflect.Int64:
		v.SetInt(1 + f.rng.Int64N(1<<(v.Type().Bits()-2)))
	default:
		panic(fmt.Sprintf("fill: no rule for %s", v.Type()))
	}
}

// makeLegal puts right what random fields cannot be, and nothing else.
func (f *filler) makeLegal(v any) {
	switch v := v.(type) {
	case *cellstate.Resources:
		for _, n := range []*int64{&v.CPUMilli, &v.MemBytes, &v.DiskBytes, &v.NetBitsPerSecond} {
			*n = 1 + *n%cellstate.MaxAmount
		}
		v.GPUMilli = 1000 * (1 + v.GPUMilli%8)
		for i := range v.Extended {
			v.Extended[i].Amount = 1 + v.Extended[i].Amount%cellstate.MaxAmount
		}
		v.Extended = uniq(v.Extended, func(e cellstate.Extended) string { return e.Name }, cmp.Compare[string])
	case *cellstate.Claim:
		v.Precedence = 1 + v.Precedence%cellstate.MaxPrecedence
		v.Start %= 1 << 40
		v.End = v.Start + 1 + v.End%(1<<40)
		if len(v.GPUs) > 0 {
			n := int(v.Resources.GPUMilli / 1000)
			v.GPUs = make([]cellstate.GPUShare, n)
			for i := range v.GPUs {
				v.GPUs[i] = cellstate.GPUShare{Device: uint16(i + 1), Milli: 1000}
			}
		}
	case *cellstate.Ledger:
		v.Claims = uniq(v.Claims, func(c cellstate.Claim) cellstate.ClaimID { return c.ID }, cellstate.ClaimID.Compare)
		v.Sum()
	case *cellstate.Report:
		v.Claims = uniq(v.Claims, func(c cellstate.ClaimStatus) cellstate.ClaimID { return c.ID }, cellstate.ClaimID.Compare)
	case *cellstate.Tenant:
		v.Bands = uniq(v.Bands, func(q cellstate.BandQuota) cellstate.Band { return q.Band }, cmp.Compare[cellstate.Band])
	case *cellstate.Job:
		v.Precedence = 1 + v.Precedence%cellstate.MaxPrecedence
	case *cellstate.Scheduler:
		v.MaxPrecedence = 1 + v.MaxPrecedence%cellstate.MaxPrecedence
	case *cellstate.JobStatus:
		for i := range v.Done {
			v.Done[i] = cellstate.TaskRange{From: uint32(3*i + 1), To: uint32(3*i + 3)}
		}
		v.Tasks = uniq(v.Tasks, func(t cellstate.TaskState) uint32 { return t.Task }, cmp.Compare[uint32])
	case *cellstate.UpdatePolicy, *cellstate.DisconnectPolicy, *cellstate.TaskSpec:
		// Durations may be anything.
	}
}

// uniq sorts by key and drops what is doubled.
func uniq[T, K any](s []T, key func(T) K, compare func(a, b K) int) []T {
	slices.SortFunc(s, func(a, b T) int { return compare(key(a), key(b)) })
	return slices.CompactFunc(s, func(a, b T) bool { return compare(key(a), key(b)) == 0 })
}

// zeros lists the exported fields below v that are zero, by path.
func zeros(path string, v reflect.Value) []string {
	var out []string
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			return zeros(path, v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				out = append(out, zeros(path+"."+f.Name, v.Field(i))...)
			}
		}
		return out
	case reflect.Slice:
		for i := range v.Len() {
			out = append(out, zeros(fmt.Sprintf("%s[%d]", path, i), v.Index(i))...)
		}
	}
	if v.IsZero() {
		out = append(out, path)
	}
	return out
}

// someLedger has n claims, as a busy machine has them: a few jobs, the odd reservation and eviction.
func someLedger(n int) *cellstate.Ledger {
	start := cellstate.InstantOf(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	l := cellstate.NewLedger("rack-12-machine-07", cellstate.Resources{CPUMilli: 128_000, MemBytes: 1 << 40, GPUMilli: 8000})
	for i := range n {
		c := cellstate.Claim{
			ID:         cellstate.ClaimID{Scheduler: "batch", Job: fmt.Sprintf("nightly-report-%d", i/4), Run: 0x9e3779b9, Task: uint32(i)},
			JobVersion: 1,
			Precedence: 150,
			Resources:  cellstate.Resources{CPUMilli: 1500, MemBytes: 2 << 30},
			Start:      start,
		}
		if i%10 == 9 {
			c.End = start.Add(time.Hour)
			c.Evict = &cellstate.Eviction{Deadline: start.Add(time.Minute), Reason: "preempted by service/web", By: c.ID}
		}
		l.Claims = append(l.Claims, c)
	}
	return l.Sum()
}
