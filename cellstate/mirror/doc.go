// Package mirror keeps a local copy of a cell that follows any [cellstate.Store].
//
// It lists the cell at one revision and watches everything from the next one on. It promises (I9): a snapshot at revision r
// is the cell at r, batches are applied whole and in order, revisions never go back, and nothing is skipped. When the history
// it needs has been compacted it lists again and applies what differs as one batch, so observers see exactly that, and nobody
// ever sees an empty cell in between. While the store cannot be reached it keeps serving the last snapshot.
//
// Jobs, tenants and the like lie in go-memdb tables, which also index claims by job; machines lie beside them in a
// persistent vector, because a planner goes over all of them for every decision: taking a snapshot copies nothing and
// reading a machine by slot is two loads.
//
// A record that cannot be read is quarantined: it is logged, counted and listed by [Mirror.Quarantined], and is healed by the
// next good value. Until then the last version that this mirror could read is shown, of a ledger a cordoned copy, since
// tasks do not end because a byte flipped; a record of which it never read any counts as absent.
//
// It never writes to the store and never changes what it handed out.
package mirror
