package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/schedulers"
)

// meter is a scheduler's store, whose commits of new claims are counted.
type meter struct {
	cellstate.Store
	mu sync.Mutex
	t  tally
}

// tally is what a meter counted.
type tally struct {
	conflicted int // transactions with at least one claim refused
	refused    int // claims
	resent     int
	took       []time.Duration
	steps      []step
}

// step is one commit of claims.
type step struct {
	scheduler int
	at        time.Time // when it was answered
	rev       int64
	claims    int
}

func (m *meter) Commit(ctx context.Context, t *cellstate.Txn) (cellstate.Verdict, error) {
	began := time.Now()
	v, err := m.Store.Commit(ctx, t)
	if err != nil || len(t.Add) == 0 {
		return v, err
	}
	at := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(v.Conflicts) > 0 {
		m.t.conflicted++
	}
	m.t.refused += len(v.Conflicts)
	m.t.resent += v.Resent
	m.t.took = append(m.t.took, at.Sub(began))
	if len(v.Committed) > 0 {
		m.t.steps = append(m.t.steps, step{at: at, rev: v.Rev, claims: len(v.Committed)})
	}
	return v, err
}

func (m *meter) read() tally {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.t
	t.steps = slices.Clone(t.steps)
	slices.SortFunc(t.steps, func(a, b step) int { return a.at.Compare(b.at) })
	return t
}

func (m *meter) reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.t = tally{}
}

func (t *tally) add(o *tally) {
	t.conflicted += o.conflicted
	t.refused += o.refused
	t.resent += o.resent
	t.took = append(t.took, o.took...)
}

// stamp is a moment, and the CPU time that the process had used by then.
type stamp struct {
	at  time.Time
	cpu time.Duration
}

func stampNow() stamp {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(fmt.Sprintf("getrusage of the process itself: %v", err))
	}
	return stamp{time.Now(), time.Duration(u.Utime.Nano() + u.Stime.Nano())}
}

// gate is a planner that plans nothing before it is opened, and notes how long its plans took.
type gate struct {
	schedulers.Planner
	once   sync.Once
	opened chan struct{}
	at     stamp // when; read it only after that
	mu     sync.Mutex
	sum    time.Duration
}

func newGate(p schedulers.Planner) *gate { return &gate{Planner: p, opened: make(chan struct{})} }

func (g *gate) open() {
	g.once.Do(func() {
		g.at = stampNow()
		close(g.opened)
	})
}

func (g *gate) Plan(snap cellstate.Snapshot, job schedulers.Job, rng *rand.Rand) schedulers.Plan {
	<-g.opened
	began := time.Now()
	plan := g.Planner.Plan(snap, job, rng)
	took := time.Since(began)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sum += took
	return plan
}

func (g *gate) took() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.sum
}

// watched is a mirror that notes when it came to each revision, and counts the claims that it sees appear.
type watched struct {
	cellstate.Mirror
	mu    sync.Mutex
	revs  []int64
	at    []time.Time
	live  int
	want  int
	ready chan stamp
}

// watchMirror runs a scheduler's mirror until it is stopped. Claims that are there when it first lists the cell do not count.
func watchMirror(tb testing.TB, s cellstate.Store, scheduler string) (_ *watched, stop func()) {
	tb.Helper()
	m, stop := runMirror(tb, s, scheduler)
	w := &watched{Mirror: m}
	listed := false
	w.Observe(func(snap cellstate.Snapshot, changes []cellstate.Change) {
		at := time.Now()
		w.mu.Lock()
		defer w.mu.Unlock()
		w.revs, w.at = append(w.revs, snap.Rev()), append(w.at, at)
		if !listed {
			listed = snap.Rev() > 0
			return
		}
		for _, c := range changes {
			w.live += claimsIn(c.New) - claimsIn(c.Old)
		}
		w.tell()
	})
	return w, stop
}

func claimsIn(v cellstate.Value) int {
	if l, ok := v.(*cellstate.Ledger); ok {
		return len(l.Claims)
	}
	return 0
}

func (w *watched) tell() {
	if w.ready != nil && w.live >= w.want {
		w.ready <- stampNow()
		w.ready = nil
	}
}

// reach tells when so many claims have appeared.
func (w *watched) reach(claims int) <-chan stamp {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := make(chan stamp, 1)
	w.want, w.ready = claims, c
	w.tell()
	return c
}

func (w *watched) now() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.live
}

// sawAt is when the mirror came to a revision, which it has.
func (w *watched) sawAt(rev int64) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	i, _ := slices.BinarySearch(w.revs, rev)
	return w.at[i]
}

// percentiles returns the 50th and the 99th, by the nearest rank, in milliseconds.
func percentiles(all []time.Duration) (p50, p99 float64) {
	slices.Sort(all)
	at := func(p int) float64 { return float64(all[(len(all)*p+99)/100-1].Nanoseconds()) / 1e6 }
	return at(50), at(99)
}

// memory reads what the process takes, after a garbage collection that returns what is free to the system.
func memory(tb testing.TB, f figures) {
	tb.Helper()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	f["heap-MiB"] = float64(m.HeapAlloc) / (1 << 20)
	file, err := os.Open("/proc/self/status")
	if err != nil {
		tb.Fatal(err)
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		for name, unit := range map[string]string{"VmRSS:": "rss-MiB", "VmHWM:": "peak-rss-MiB"} {
			if text, ok := strings.CutPrefix(lines.Text(), name); ok {
				var kib float64
				if _, err := fmt.Sscanf(text, "%f kB", &kib); err != nil {
					tb.Fatal(err)
				}
				f[unit] = kib / 1024
			}
		}
	}
}

func decode(tb testing.TB, text string, into any) {
	tb.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		tb.Fatalf("%v: %s", err, text)
	}
}
