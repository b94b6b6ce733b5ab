package wire

import (
	"errors"
	"strings"
	"testing"

	"github.com/omegacell/omegacell/cellstate"
)

func TestKeySpelling(t *testing.T) {
	for _, tt := range []struct {
		key cellstate.Key
		raw string
	}{
		{cellstate.LedgerKey("m1"), "/omegacell/c1/ledgers/m1"},
		{cellstate.ReportKey("m1"), "/omegacell/c1/reports/m1"},
		{cellstate.SessionKey("m1"), "/omegacell/c1/sessions/m1"},
		{cellstate.MachineKey("m1"), "/omegacell/c1/machines/m1"},
		{cellstate.TenantKey("default"), "/omegacell/c1/tenants/default"},
		{cellstate.JobKey("batch", "hello"), "/omegacell/c1/jobs/batch/hello"},
		{cellstate.JobKey("batch", "status"), "/omegacell/c1/jobs/batch/status"},
		{cellstate.StatusKey("batch", "hello"), "/omegacell/c1/jobs/batch/hello/status"},
		{cellstate.StatusKey("status", "status"), "/omegacell/c1/jobs/status/status/status"},
		{cellstate.SchedulerKey("batch"), "/omegacell/c1/schedulers/batch"},
		{cellstate.LeaderKey("batch", 0), "/omegacell/c1/leaders/batch/0"},
		{cellstate.LeaderKey("batch", 1<<32-1), "/omegacell/c1/leaders/batch/4294967295"},
	} {
		if got := KeyString("c1", tt.key); got != tt.raw {
			t.Errorf("KeyString(%v) = %s, want %s", tt.key, got, tt.raw)
		}
		if got, err := ParseKey("c1", tt.raw); err != nil || got != tt.key {
			t.Errorf("ParseKey(%s) = %v, %v, want %v", tt.raw, got, err, tt.key)
		}
	}
}

func TestParseKeyRefuses(t *testing.T) {
	for _, raw := range []string{
		"", "/omegacell/c1", "/omegacell/c1/", "/omegacell/c2/ledgers/m1", "ledgers/m1",
		"/omegacell/c1/ledgers", "/omegacell/c1/ledgers/", "/omegacell/c1/ledgers/m1/x", "/omegacell/c1/ledgers/-m", "/omegacell/c1/ledgers/m 1",
		"/omegacell/c1/ledgers/" + strings.Repeat("m", 129),
		"/omegacell/c1/wishes/m1", "/omegacell/c1/m1",
		"/omegacell/c1/jobs/batch", "/omegacell/c1/jobs/batch/", "/omegacell/c1/jobs//hello",
		"/omegacell/c1/jobs/batch/hello/", "/omegacell/c1/jobs/batch/hello/log", "/omegacell/c1/jobs/batch/hello/status/status", "/omegacell/c1/jobs/batch//status",
		"/omegacell/c1/leaders/batch", "/omegacell/c1/leaders/batch/x", "/omegacell/c1/leaders/batch/01", "/omegacell/c1/leaders/batch/+1",
		"/omegacell/c1/leaders/batch/4294967296", "/omegacell/c1/leaders/batch/0/status",
	} {
		k, err := ParseKey("c1", raw)
		if !errors.Is(err, cellstate.ErrInvalid) || !strings.Contains(err.Error(), raw) {
			t.Errorf("ParseKey(%q) = %v, %v, want an error that is ErrInvalid and names it", raw, k, err)
		}
	}
}

func TestCheckKey(t *testing.T) {
	for _, k := range []cellstate.Key{
		{}, {Kind: cellstate.KindLeader + 1, Name: "x"}, {Kind: cellstate.KindLedger}, {Kind: cellstate.KindLedger, Scope: "s", Name: "m"},
		{Kind: cellstate.KindJob, Name: "j"}, {Kind: cellstate.KindJob, Scope: "s/t", Name: "j"}, {Kind: cellstate.KindLeader, Scope: "s", Name: "-1"},
	} {
		if err := CheckKey(k); !errors.Is(err, cellstate.ErrInvalid) {
			t.Errorf("CheckKey(%#v) = %v, want ErrInvalid", k, err)
		}
	}
}

// A range's prefix covers every key that the range contains, and is as long as it can be.
func TestRangePrefix(t *testing.T) {
	for _, tt := range []struct {
		r      cellstate.Range
		prefix string
		exact  bool
	}{
		{cellstate.Range{}, "", false},
		{cellstate.Range{Kind: cellstate.KindLedger}, "ledgers/", false},
		{cellstate.LedgerKey("m1").Only(), "ledgers/m1", true},
		{cellstate.Range{Kind: cellstate.KindJob}, "jobs/", false},
		{cellstate.Range{Kind: cellstate.KindStatus}, "jobs/", false},
		{cellstate.Range{Kind: cellstate.KindJob, Scope: "batch"}, "jobs/batch/", false},
		{cellstate.Range{Kind: cellstate.KindStatus, Scope: "batch"}, "jobs/batch/", false},
		{cellstate.JobKey("batch", "hello").Only(), "jobs/batch/hello", true},
		{cellstate.StatusKey("batch", "hello").Only(), "jobs/batch/hello/status", true},
		{cellstate.Range{Kind: cellstate.KindJob, Name: "hello"}, "jobs/", false}, // hello of any scheduler
		{cellstate.Range{Name: "m1"}, "", false},                                  // m1 of any kind
		{cellstate.Range{Scope: "batch"}, "", false},                              // anything of batch
		{cellstate.LeaderKey("batch", 3).Only(), "leaders/batch/3", true},
	} {
		prefix, exact := RangePrefix("c1", tt.r)
		if prefix != "/omegacell/c1/"+tt.prefix || exact != tt.exact {
			t.Errorf("RangePrefix(%v) = %s, %v, want …%s, %v", tt.r, prefix, exact, tt.prefix, tt.exact)
		}
		for _, k := range []cellstate.Key{
			cellstate.LedgerKey("m1"), cellstate.LedgerKey("m2"), cellstate.JobKey("batch", "hello"), cellstate.StatusKey("batch", "hello"),
			cellstate.JobKey("service", "hello"), cellstate.LeaderKey("batch", 3), cellstate.MachineKey("m1"), cellstate.SchedulerKey("batch"),
		} {
			raw := KeyString("c1", k)
			covered := strings.HasPrefix(raw, prefix) && (!exact || raw == prefix)
			if tt.r.Contains(k) && !covered {
				t.Errorf("RangePrefix(%v) = %s, %v leaves out %v", tt.r, prefix, exact, k)
			}
		}
	}
}
