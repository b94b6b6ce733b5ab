// Package schedulers is the SDK on which scheduler teams build: a team writes a [Planner], the [Loop] around it does the rest.
//
// A planner is a pure function of a snapshot of the whole cell, one job and a source of randomness; the loop mirrors the
// cell, queues jobs, commits plans as optimistic transactions, repairs just what conflicted, backs off, parks jobs that wait
// for room with an explanation, elects which process works on which jobs, and measures. A whole binary is
// cmd/schedmain.Main around a planner.
//
// What it promises: while several copies of one scheduler run, each job is worked on by one of them, and what a deposed copy
// still sends is refused (I3, I4); an end that an agent reported is written into the job's status before the claim that
// shows it is removed (I5); no task is forgotten (I10).
//
// What it never does: talk to an agent or to another scheduler; they meet only in cell state.
package schedulers
