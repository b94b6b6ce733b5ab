package perf

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/etcdstore/etcdtest"
	"github.com/omegacell/omegacell/cellstate/wire"
)

// BenchmarkRun is the whole measurement, for its profile: with -cpuprofile it says what bounds the ratio.
func BenchmarkRun(b *testing.B) {
	for _, packing := range []cellstate.Packing{cellstate.SpreadLoad, cellstate.Pack} {
		b.Run("packing="+packing.String(), func(b *testing.B) {
			m := etcdtest.Start(b, func(c *embed.Config) { c.UnsafeNoFsync = false })
			for b.Loop() {
				r, err := Run(b.Context(), Config{Dial: dialer(b, m), Packing: packing, Rounds: 6})
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(r.RawPuts, "raw-puts/s")
				b.ReportMetric(r.Claims, "claims/s")
				b.ReportMetric(r.Ratio, "ratio")
				b.ReportMetric(r.CPUMicros, "cpu-us/claim")
			}
		})
	}
}

func dialer(tb testing.TB, m *etcdtest.Member) func(context.Context) (*clientv3.Client, error) {
	return func(context.Context) (*clientv3.Client, error) { return m.Client(), nil }
}

// What the raw half puts is exactly what the whole path put, and every round has all its claims.
func TestRoundsAreOfTheSameBytes(t *testing.T) {
	m := etcdtest.Start(t)
	r, err := Run(t.Context(), Config{Dial: dialer(t, m), Machines: 100, PerMachine: 3, Tasks: 10, Rounds: 3, Packing: cellstate.Pack})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Rounds) != 3 || r.Jobs != 18 {
		t.Fatalf("%d rounds of %d jobs, want 3 of 18", len(r.Rounds), r.Jobs)
	}
	for _, n := range r.Rounds {
		if n.Placed != 180 || n.Puts < 60 || n.Puts > 180 {
			t.Errorf("a round has %d claims in %d puts; want 180, in 60 to 180", n.Placed, n.Puts)
		}
	}
}

// A run leaves etcd alone whose quota others need: a full etcd takes no writes of anybody.
func TestQuotaIsLeftToOthers(t *testing.T) {
	m := etcdtest.Start(t, func(c *embed.Config) { c.QuotaBackendBytes = 32 << 10 })
	_, err := Run(t.Context(), Config{Dial: dialer(t, m), Machines: 100, Tasks: 10, Rounds: 1})
	if err == nil || !strings.Contains(err.Error(), "more than half of its quota") {
		t.Errorf("%v, want a word about the quota", err)
	}
}

func TestTransactionsPutNoKeyTwice(t *testing.T) {
	s := scratch{name: "x"}
	var puts []put
	for _, m := range []string{"a", "b", "a", "c", "d", "e", "f"} {
		puts = append(puts, put{m, "v" + m})
	}
	var got []string
	for _, ops := range s.transactions(puts, 3) {
		var keys []string
		for _, op := range ops {
			keys = append(keys, strings.TrimPrefix(string(op.KeyBytes()), "/omegacell/x/ledgers/"))
		}
		got = append(got, strings.Join(keys, ""))
	}
	if want := []string{"ab", "acd", "ef"}; !slices.Equal(got, want) {
		t.Errorf("transactions of %q, want %q", got, want)
	}
}

func TestCheckLedger(t *testing.T) {
	claim := func(task uint32, cpu int64) cellstate.Claim {
		return cellstate.Claim{
			ID:         cellstate.ClaimID{Scheduler: "s", Job: "j", Run: 1, Task: task},
			JobVersion: 1, Resources: cellstate.Resources{CPUMilli: cpu},
		}
	}
	for _, tt := range []struct {
		name   string
		claims []cellstate.Claim
		want   string // of the error; "" for none
	}{
		{"full to the last", []cellstate.Claim{claim(0, 600), claim(1, 400)}, ""},
		{"one over", []cellstate.Claim{claim(0, 600), claim(1, 401)}, "I1: claim s/j@1/1.0 does not fit on m"},
		{"there already", []cellstate.Claim{claim(7, 1)}, "I4: claim s/j@1/7.0 is there twice"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := cellstate.NewLedger("m", cellstate.Resources{CPUMilli: 1000})
			l.Claims = tt.claims
			b, err := wire.Marshal(l.Sum())
			if err != nil {
				t.Fatal(err)
			}
			err = checkLedger("x", wire.KeyString("x", l.Key()), b, map[cellstate.ClaimID]bool{claim(7, 0).ID: true})
			if got := fmt.Sprint(err); tt.want == "" && err != nil || !strings.Contains(got, tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

// A claim that was committed and is not there is an error, and so is one too many.
func TestCheckCountsClaims(t *testing.T) {
	m := etcdtest.Start(t)
	s := scratch{m.Client(), "x"}
	l := cellstate.NewLedger("m", cellstate.Resources{CPUMilli: 1000})
	for task := range uint32(2) {
		l.Claims = append(l.Claims, cellstate.Claim{ID: cellstate.ClaimID{Scheduler: "s", Job: "j", Run: 1, Task: task}, JobVersion: 1})
	}
	if err := s.write(t.Context(), []cellstate.Value{l.Sum()}); err != nil {
		t.Fatal(err)
	}
	for want, ok := range map[int]bool{1: false, 2: true, 3: false} {
		if err := s.check(t.Context(), want); (err == nil) != ok {
			t.Errorf("%d claims: %v", want, err)
		}
	}
}

func TestPercentiles(t *testing.T) {
	var all []time.Duration
	for i := range 200 {
		all = append(all, time.Duration(200-i)*time.Millisecond)
	}
	if p50, p99 := percentiles(all); p50 != 100 || p99 != 198 {
		t.Errorf("of 1 … 200 ms: %v and %v, want 100 and 198", p50, p99)
	}
	if p50, p99 := percentiles([]time.Duration{time.Millisecond}); p50 != 1 || p99 != 1 {
		t.Errorf("of one: %v and %v, want 1 and 1", p50, p99)
	}
}

func TestScanCPU(t *testing.T) {
	for _, tt := range []struct {
		text string
		want time.Duration
		ok   bool
	}{
		{"# HELP process_cpu_seconds_total of it\nprocess_cpu_seconds_total 1.25\n", 1250 * time.Millisecond, true},
		{"process_cpu_seconds_total 1.5e+03\n", 1500 * time.Second, true},
		{"process_cpu_seconds 1\n", 0, false},
		{"process_cpu_seconds_total much\n", 0, false},
	} {
		if got, err := scanCPU(strings.NewReader(tt.text)); got != tt.want || (err == nil) != tt.ok {
			t.Errorf("%q: %v, %v; want %v", tt.text, got, err, tt.want)
		}
	}
}
