// Package memstore is the reference implementation of [cellstate.Store]: a whole cell in memory, behind one mutex.
//
// It promises what cellstate/storetest asks of every store, and carries out a transaction with exactly [cellstate.Commit] on
// its present state. It keeps its history until [Store.Compact], so that any revision since can be listed and watched. Time
// is package time's, so in a testing/synctest bubble leases run out by the bubble's clock; it starts no goroutine.
//
// Tests can cut a client off ([Store.SetAvailable]), take its lease away ([Store.ExpireLease]) and put a record that nobody
// can read ([Store.Corrupt]).
//
// What it never does: keep anything on disk, open a socket, or copy a value. What is put and what is read is shared.
package memstore
