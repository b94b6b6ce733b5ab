// Package agent runs on every host: it registers the machine, watches its one ledger key, brings the tasks on the host in
// line with it, and reports what it observes.
//
// What to do is decided by [Reconcile], a function of the ledger, the tasks as they are and the time. The [Agent] around it
// does the I/O, through a [Driver].
//
// It never imports a scheduler: they meet only in cell state. It never ends a task because it lost sight of the cell, unless
// the job says so, and never recognises a task by its PID alone.
package agent
