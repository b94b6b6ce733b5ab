// Package mirror keeps a local copy of a cell that follows any [cellstate.Store].
//
// It lists the cell at one revision and watches everything from the next one on. It promises (I9): a snapshot at revision r
// is the cell at r, batches are applied whole and in order, revisions never go back, and nothing is skipped. When the history
// it needs has been compacted it lists again and applies what differs as one batch, so observers see exactly that, and nobody
// ever sees an empty cell in between. While the store cannot be reached it keeps serving the last snapshot.
//
// Batches that wait when one is applied go into the next snapshot together. A snapshot says as of when it was the newest state.
//
// Taking a snapshot copies nothing. Machines lie in a persistent vector, because a planner goes over all of them for every
// decision, so that an update copies a few short arrays. All else lies in go-memdb tables: jobs, each with its status and the
// machines that hold its claims, tenants, schedulers, leaders.
//
// A record that cannot be read is quarantined: it is logged, counted and listed by [Mirror.Quarantined], and is healed by the
// next good value. Until then the last version that this mirror could read is shown, of a ledger a cordoned copy, since
// tasks do not end because a byte flipped; a record of which it never read any counts as absent.
//
// It never writes to the store and never changes what it handed out, nor what the store handed to it: other mirrors of the
// process may share it.
package mirror
