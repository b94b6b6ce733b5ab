// Package cellstate is the state of a cell and the rules by which it changes.
//
// It holds the one fit rule ([Ledger.Fit]), the one commit rule ([Commit]), admission against quota ([Tenant.Admit]) and
// the values that the keys of the cell store. Planners, stores, agents and the auditor all call the same functions with the
// same arguments, so they cannot disagree.
//
// It is pure: standard library only; no I/O, clock, goroutine, logger or package-level variable that changes. Time comes in
// as an [Instant]. Values handed out are shared and immutable: whoever wants another one makes a copy ([Ledger.Clone]).
//
// What it never does: store anything (see [Store] for the port and cellstate/etcdstore for the real thing), choose a
// machine (see schedulers/place), or run a task (see agent).
package cellstate
