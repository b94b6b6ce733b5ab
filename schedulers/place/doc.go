// Package place holds the pure kernels of placement: which machines may take a task, which of them are best, and whom to
// evict where none has room.
//
// [Place] is a function of a snapshot, a request and a seeded source of randomness: the same three give the same answer, so
// that any decision can be replayed. It promises that every claim it returns fits the snapshot together with the others
// (by the one fit rule, [cellstate.Ledger.Fit]), and that a task is left unplaced only where no machine takes it; then it
// explains why.
//
// It does not look at every machine where the cell is roomy: it probes at random and draws among the best of what it found,
// so that equal planners that decide at the same time seldom choose the same machine. [NextWidth] says how widely to draw.
// What a task costs then does not depend on the size of the cell. Only where nothing is found is every machine looked at, once
// to place and once to explain.
//
// What it never does: commit anything, read a clock, keep state between calls, or decide by a fit rule of its own.
package place
