// Package schedulers is the SDK on which scheduler teams build: a team writes a [Planner], the [Loop] around it does the rest.
//
// A planner is a pure function of a snapshot of the whole cell, one job and a source of randomness; the loop mirrors the
// cell, queues jobs, commits plans as optimistic transactions, repairs just what conflicted, backs off, parks jobs that wait
// for room with an explanation, elects which process works on which jobs, and measures. A whole binary is
// cmd/schedmain.Main around a planner.
//
// Planning and committing overlap: a loop plans one job after the other, each on the newest snapshot with what it has in flight
// drawn over it (flights.go, covers.go), checks a plan against the newest state right before it is sent and places anew what
// does not fit any more (pass.go), and lets many commits wait for the store side by side. Of parked jobs that ask for the same one
// looks for all (lots.go).
//
// What it promises: while several copies of one scheduler run, each job is worked on by one of them, and what a deposed copy
// still sends is refused (I3, I4); an end that an agent reported is written into the job's status before the claim that
// shows it is removed (I5); no task is forgotten (I10). Two jobs of one loop do not conflict with each other, unless a plan
// evicts, or the cell changes faster than a plan can be repaired; and room that a transaction of unknown outcome may have taken is left alone until that is known.
//
// What it never does: talk to an agent or to another scheduler; they meet only in cell state.
package schedulers
