// Package perf measures what a store takes and what the whole path of a scheduler makes of it, in turns, within one run.
//
// A run makes two scratch cells that only it knows. In each round schedulers with mirrors of their own place claims in the
// first: snapshot, plan, commit, wait until the mirror shows the commit. What that wrote is then read back from etcd's history,
// and in the raw half of the round the same number of keys with the same bytes is put into the second cell by plain etcd
// transactions. The machine's noise thus falls on both halves; what counts is their ratio.
//
// It promises that a figure stands only for claims that are there: after each round every claim is looked for, and every ledger
// held against the fit rule (I1). It deletes both cells when it ends, also when it is interrupted.
//
// What it never does: touch the keys of another cell, or decide by rules of its own.
package perf
