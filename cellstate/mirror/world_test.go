package mirror

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/memstore"
)

// contents is a cell by key, in a form that can be compared.
type contents map[cellstate.Key]cellstate.Value

// listed reads a cell from its store: the truth.
func listed(t *testing.T, s cellstate.Store, rev int64) (contents, int64) {
	t.Helper()
	l, err := s.List(t.Context(), cellstate.Range{}, rev)
	if err != nil {
		t.Fatal(err)
	}
	c := contents{}
	for _, r := range l.Records {
		if r.Err == nil {
			c[r.Key] = r.Value
		}
	}
	return c, l.Rev
}

// shown reads a cell from a snapshot, through its public methods as far as they reach, and checks that they agree.
func shown(t *testing.T, snap cellstate.Snapshot) contents {
	t.Helper()
	s := snap.(*snapshot)
	c := contents{}
	for k := range s.keys() {
		c[k], _ = s.record(k)
	}
	machines := 0
	for i := range s.Len() {
		m := s.At(i)
		if m == nil {
			continue
		}
		machines++
		byName, ok := s.Machine(m.Name())
		l, _ := s.Ledger(m.Name())
		if !ok || byName != m || m.Slot != i || l != m.Ledger {
			t.Fatalf("rev %d: slot %d holds %s of slot %d, by name %v", s.Rev(), i, m.Name(), m.Slot, byName)
		}
		same := func(k cellstate.Key, v cellstate.Value, is bool) {
			if have, ok := c[k]; ok != is || ok && have != v {
				t.Fatalf("rev %d: the view of %s shows %v at %s, the tables %v", s.Rev(), m.Name(), v, k, have)
			}
		}
		same(cellstate.MachineKey(m.Name()), m.Machine, m.Machine != nil)
		same(cellstate.SessionKey(m.Name()), m.Session, m.Session != nil)
		same(cellstate.ReportKey(m.Name()), m.Report, m.Report != nil)
		if (m.Session == nil) != (m.LostAt != 0) {
			t.Fatalf("rev %d: %s has session %v and was lost at %v", s.Rev(), m.Name(), m.Session, m.LostAt)
		}
	}
	var jobs []string
	ledgers := 0
	for k, v := range c {
		switch k.Kind {
		case cellstate.KindLedger:
			ledgers++
		case cellstate.KindJob:
			jobs = append(jobs, k.Scope+"/"+k.Name)
			if j, st, ok := s.Job(k.Scope, k.Name); !ok || j != v || st != nil && c[st.Key()] != st {
				t.Fatalf("rev %d: Job(%s) = %v, %v, %v", s.Rev(), k, j, st, ok)
			}
		case cellstate.KindTenant:
			if got, ok := s.Tenant(k.Name); !ok || got != v {
				t.Fatalf("rev %d: Tenant(%s) = %v, %v", s.Rev(), k, got, ok)
			}
		case cellstate.KindScheduler:
			if got, ok := s.Scheduler(k.Name); !ok || got != v {
				t.Fatalf("rev %d: Scheduler(%s) = %v, %v", s.Rev(), k, got, ok)
			}
		}
	}
	if machines != ledgers {
		t.Fatalf("rev %d: %d views and %d ledgers", s.Rev(), machines, ledgers)
	}
	slices.Sort(jobs)
	var got []string
	for j := range s.Jobs("") {
		got = append(got, j.Scheduler+"/"+j.Name)
	}
	if !slices.Equal(got, jobs) {
		t.Fatalf("rev %d: Jobs yields %v, want %v", s.Rev(), got, jobs)
	}
	return c
}

// claimsOf finds a job's claims by looking at every ledger, as "machine/claim/phase".
func claimsOf(c contents, scheduler, job string) []string {
	var out []string
	for _, v := range c {
		l, ok := v.(*cellstate.Ledger)
		if !ok {
			continue
		}
		report, _ := c[cellstate.ReportKey(l.Machine)].(*cellstate.Report)
		for i := range l.Claims {
			if id := l.Claims[i].ID; id.Scheduler == scheduler && id.Job == job {
				out = append(out, spell(l.Machine, id, report.Find(id)))
			}
		}
	}
	slices.Sort(out)
	return out
}

func spell(machine string, id cellstate.ClaimID, s *cellstate.ClaimStatus) string {
	if s == nil {
		return fmt.Sprintf("%s/%s/-", machine, id)
	}
	return fmt.Sprintf("%s/%s/%s", machine, id, s.Phase)
}

// history writes random things to a cell.
type history struct {
	rng   *rand.Rand
	store *memstore.Store
	step  uint64
}

func (h *history) pick(prefix string, n int) string {
	return fmt.Sprintf("%s%d", prefix, h.rng.IntN(n))
}

func (h *history) key() cellstate.Key {
	m, s, j := h.pick("m", 6), h.pick("s", 2), h.pick("j", 3)
	switch h.rng.IntN(12) {
	case 0, 1, 2, 3:
		return cellstate.LedgerKey(m)
	case 4:
		return cellstate.ReportKey(m)
	case 5:
		return cellstate.SessionKey(m)
	case 6:
		return cellstate.MachineKey(m)
	case 7:
		return cellstate.TenantKey(h.pick("t", 2))
	case 8:
		return cellstate.JobKey(s, j)
	case 9:
		return cellstate.StatusKey(s, j)
	case 10:
		return cellstate.SchedulerKey(s)
	}
	return cellstate.LeaderKey(s, uint32(h.rng.IntN(2)))
}

// value makes something for a key that is unlike what was made before.
func (h *history) value(k cellstate.Key) cellstate.Value {
	h.step++
	switch k.Kind {
	case cellstate.KindLedger:
		l := cellstate.NewLedger(k.Name, cellstate.Resources{CPUMilli: int64(h.step)})
		for task := range uint32(6) {
			if h.rng.IntN(2) == 0 {
				l.Claims = append(l.Claims, cellstate.Claim{ID: h.claim(task), Resources: cellstate.Resources{CPUMilli: 1}})
			}
		}
		return l.Sum()
	case cellstate.KindReport:
		r := &cellstate.Report{Machine: k.Name, Epoch: h.step}
		for task := range uint32(6) {
			if h.rng.IntN(2) == 0 {
				r.Claims = append(r.Claims, cellstate.ClaimStatus{ID: h.claim(task), Phase: cellstate.PhaseRunning})
			}
		}
		slices.SortFunc(r.Claims, func(a, b cellstate.ClaimStatus) int { return a.ID.Compare(b.ID) })
		return r
	case cellstate.KindSession:
		return &cellstate.Session{Machine: k.Name, Epoch: h.step}
	case cellstate.KindMachine:
		return &cellstate.Machine{Name: k.Name, Attributes: map[string]string{"step": fmt.Sprint(h.step)}}
	case cellstate.KindTenant:
		return &cellstate.Tenant{Name: k.Name}
	case cellstate.KindJob:
		return &cellstate.Job{Scheduler: k.Scope, Name: k.Name, Version: h.step}
	case cellstate.KindStatus:
		return &cellstate.JobStatus{Scheduler: k.Scope, Job: k.Name, Version: h.step}
	case cellstate.KindScheduler:
		return &cellstate.Scheduler{Name: k.Name, Shards: uint32(h.step)}
	case cellstate.KindLeader:
		shard := uint32(k.Name[0] - '0')
		return &cellstate.Leader{Scheduler: k.Scope, Shard: shard, Holder: fmt.Sprint(h.step)}
	}
	panic(fmt.Sprintf("no value for %s", k))
}

// claim belongs to one of a few jobs; the same task may appear on several machines, which is no concern of a mirror.
func (h *history) claim(task uint32) cellstate.ClaimID {
	return cellstate.ClaimID{Scheduler: fmt.Sprintf("s%d", task%2), Job: fmt.Sprintf("j%d", task%3), Task: task, Attempt: uint32(h.rng.IntN(2))}
}

// write makes one revision of up to five writes, or a record that cannot be read.
func (h *history) write(t *testing.T) {
	t.Helper()
	if h.rng.IntN(15) == 0 {
		h.store.Corrupt(h.key(), errors.New("flipped bits"))
		return
	}
	var s cellstate.Swap
	seen := map[cellstate.Key]bool{}
	for range 1 + h.rng.IntN(5) {
		k := h.key()
		switch {
		case seen[k]:
		case h.rng.IntN(3) == 0:
			s.Delete = append(s.Delete, k)
		default:
			s.Put = append(s.Put, cellstate.Put{Value: h.value(k)})
		}
		seen[k] = true
	}
	swap(t, h.store, s)
}

func swap(t *testing.T, store cellstate.Store, s cellstate.Swap) int64 {
	t.Helper()
	got, err := store.Swap(t.Context(), s)
	if err != nil || !got.OK {
		t.Fatalf("swap: %+v, %v", got, err)
	}
	return got.Rev
}

func put(t *testing.T, store cellstate.Store, values ...cellstate.Value) int64 {
	t.Helper()
	var s cellstate.Swap
	for _, v := range values {
		s.Put = append(s.Put, cellstate.Put{Value: v})
	}
	return swap(t, store, s)
}

// running returns a mirror that follows store until the test ends. Call it inside a synctest bubble.
func running(t *testing.T, cfg Config) *Mirror {
	t.Helper()
	if cfg.Now == nil {
		cfg.Now = func() cellstate.Instant { return cellstate.InstantOf(time.Now()) }
	}
	m, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- m.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run ended with %v", err)
		}
	})
	return m
}
