package cellstate

import (
	"context"
	"iter"
)

// View gives ledgers, as far as the commit rule needs to see them.
type View interface {
	// Ledger returns a machine's ledger. It is shared and not to be changed.
	Ledger(machine string) (*Ledger, bool)
}

// Snapshot is the whole cell at one revision. It never changes, costs nothing to take, and may be used by many goroutines.
// Everything it hands out is shared and not to be changed.
type Snapshot interface {
	View
	// Rev is the revision that the snapshot shows.
	Rev() int64
	// AsOf is when the holder last heard that the snapshot was the newest state of the cell; 0 where it never did. Now less
	// AsOf bounds how stale it is, but for the time that the news itself was under way.
	AsOf() Instant
	// Len is the number of slots for machines; some may be empty. A machine keeps its slot for as long as it exists.
	Len() int
	// At returns the machine in slot i, 0 ≤ i < Len, or nil if the slot is empty.
	At(i int) *MachineView
	// Machine returns a machine by name.
	Machine(name string) (*MachineView, bool)
	// Job returns a job of a scheduler, with its status, which is nil until the scheduler wrote one.
	Job(scheduler, name string) (*Job, *JobStatus, bool)
	// Jobs yields the jobs of a scheduler by name; of all schedulers, by scheduler and name, for "".
	Jobs(scheduler string) iter.Seq2[*Job, *JobStatus]
	// Claims yields every claim of a job, live or ended, ordered by machine and ID.
	Claims(scheduler, job string) iter.Seq[ClaimView]
	// Tenant returns a tenant.
	Tenant(name string) (*Tenant, bool)
	// Scheduler returns a registered scheduler.
	Scheduler(name string) (*Scheduler, bool)
}

// MachineView is all that a snapshot holds of one machine. Ledger is never nil in a view that a Snapshot hands out; the
// others are nil where the key is absent.
type MachineView struct {
	Slot    int
	Machine *Machine
	Ledger  *Ledger
	Session *Session
	Report  *Report
	// LostAt is when the holder of the snapshot saw the session go, or first saw the machine without one; 0 while there is
	// a session. It is the one thing in a snapshot that is not in the cell.
	LostAt Instant
}

// Name returns the machine's name.
func (m *MachineView) Name() string { return m.Ledger.Machine }

// ClaimView is a claim with what its machine's agent reports of it.
type ClaimView struct {
	Claim   *Claim
	Status  *ClaimStatus // nil until the agent reported it
	Machine *MachineView
}

// Change is one record that differs between two snapshots. Old or New is nil where the record was not or is no longer there.
type Change struct {
	Key      Key
	Old, New Value
}

// Mirror is a local copy of the cell that follows it. cellstate/mirror is the real one.
type Mirror interface {
	// Snapshot returns the newest snapshot; its Rev is 0 until the mirror has first seen the cell.
	Snapshot() Snapshot
	// Wait returns a snapshot at least as new as rev.
	Wait(ctx context.Context, rev int64) (Snapshot, error)
	// Observe calls f, one call at a time and in order, with each new snapshot and what changed since the one before; first,
	// before Observe returns, with the present snapshot and no changes. f must not block. The result ends it.
	Observe(f func(Snapshot, []Change)) (stop func())
}
