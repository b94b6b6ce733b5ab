// Package daemon is what every long-running binary has beside its own work: a logger whose level can be changed at run time,
// metrics, liveness, readiness, profiles on request, an orderly end on a signal, and a version.
//
// One HTTP server carries it all, and what the binary itself mounts: /metrics, /livez, /readyz, /loglevel, and with --pprof
// /debug/pprof/. It listens where --metrics-listen says, and not at all where that is empty.
//
// It keeps no global state: the Prometheus registry, the logger and the mux are the daemon's own.
package daemon
