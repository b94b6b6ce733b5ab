package cellstate

import (
	"cmp"
	"strconv"
	"strings"
)

// Kind is a kind of record in the cell: one part of the key space.
type Kind uint8

const (
	KindLedger Kind = iota + 1
	KindReport
	KindSession
	KindMachine
	KindTenant
	KindJob
	KindStatus
	KindScheduler
	KindLeader
)

// Kinds lists all kinds.
func Kinds() []Kind {
	return []Kind{KindLedger, KindReport, KindSession, KindMachine, KindTenant, KindJob, KindStatus, KindScheduler, KindLeader}
}

func (k Kind) String() string {
	switch k {
	case KindLedger:
		return "ledger"
	case KindReport:
		return "report"
	case KindSession:
		return "session"
	case KindMachine:
		return "machine"
	case KindTenant:
		return "tenant"
	case KindJob:
		return "job"
	case KindStatus:
		return "status"
	case KindScheduler:
		return "scheduler"
	case KindLeader:
		return "leader"
	}
	return "unknown"
}

// Key names one record of the cell. How it is spelt in a store is wire's business.
type Key struct {
	Kind  Kind
	Scope string // the scheduler, of jobs, statuses and leaders; else ""
	Name  string // of the machine, tenant, job or scheduler; of a leader the shard's number
}

func LedgerKey(machine string) Key        { return Key{Kind: KindLedger, Name: machine} }
func ReportKey(machine string) Key        { return Key{Kind: KindReport, Name: machine} }
func SessionKey(machine string) Key       { return Key{Kind: KindSession, Name: machine} }
func MachineKey(machine string) Key       { return Key{Kind: KindMachine, Name: machine} }
func TenantKey(tenant string) Key         { return Key{Kind: KindTenant, Name: tenant} }
func SchedulerKey(scheduler string) Key   { return Key{Kind: KindScheduler, Name: scheduler} }
func JobKey(scheduler, job string) Key    { return Key{Kind: KindJob, Scope: scheduler, Name: job} }
func StatusKey(scheduler, job string) Key { return Key{Kind: KindStatus, Scope: scheduler, Name: job} }
func LeaderKey(scheduler string, shard uint32) Key {
	return Key{Kind: KindLeader, Scope: scheduler, Name: strconv.FormatUint(uint64(shard), 10)}
}

// Compare orders keys by kind, scope and name.
func (k Key) Compare(o Key) int {
	return cmp.Or(cmp.Compare(k.Kind, o.Kind), strings.Compare(k.Scope, o.Scope), strings.Compare(k.Name, o.Name))
}

// String gives the key for people: "ledger m1", "job batch/hello".
func (k Key) String() string {
	if k.Scope != "" {
		return k.Kind.String() + " " + k.Scope + "/" + k.Name
	}
	return k.Kind.String() + " " + k.Name
}

// Range is a set of keys: the whole cell where Kind is 0; all of a kind where Scope and Name are empty; all of one
// scheduler's where only Name is; else the one key.
type Range struct {
	Kind  Kind
	Scope string
	Name  string
}

// Only returns the range that holds just k.
func (k Key) Only() Range { return Range(k) }

// Contains reports whether k lies in r.
func (r Range) Contains(k Key) bool {
	return (r.Kind == 0 || r.Kind == k.Kind) && (r.Scope == "" || r.Scope == k.Scope) && (r.Name == "" || r.Name == k.Name)
}

// Value is what a key can hold: one of the pointer types below.
type Value interface {
	// Key returns the key that the value belongs under.
	Key() Key
}

func (l *Ledger) Key() Key    { return LedgerKey(l.Machine) }
func (r *Report) Key() Key    { return ReportKey(r.Machine) }
func (s *Session) Key() Key   { return SessionKey(s.Machine) }
func (m *Machine) Key() Key   { return MachineKey(m.Name) }
func (t *Tenant) Key() Key    { return TenantKey(t.Name) }
func (s *Scheduler) Key() Key { return SchedulerKey(s.Name) }
func (l *Leader) Key() Key    { return LeaderKey(l.Scheduler, l.Shard) }

// Record is one key of the cell with what it holds.
type Record struct {
	Key       Key
	Rev       int64  // revision that wrote it last
	CreateRev int64  // revision that created it
	Lease     int64  // 0: none
	Value     Value  // nil where Err is set
	Err       error  // what stands there cannot be read: quarantine it, and go on
	Raw       string // the key as the store spells it, where Err is set
}

// WithRev returns v, of whose type it makes a shallow copy where it keeps its revision, with that revision. Stores call it.
func WithRev(v Value, rev int64) Value {
	switch v := v.(type) {
	case *Ledger:
		n := *v
		n.Rev = rev
		return &n
	case *Job:
		n := *v
		n.Rev = rev
		return &n
	case *JobStatus:
		n := *v
		n.Rev = rev
		return &n
	case *Tenant:
		n := *v
		n.Rev = rev
		return &n
	}
	return v
}
