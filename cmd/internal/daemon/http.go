package daemon

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/pprof"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"
)

// mount puts up the handlers that every binary has.
func (d *Daemon) mount(profiles bool) {
	d.mux.Handle("GET /metrics", promhttp.HandlerFor(d.Registry, promhttp.HandlerOpts{Registry: d.Registry, ErrorLog: zap.NewStdLog(d.Log.Named("metrics"))}))
	d.mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { writeText(w, http.StatusOK, "ok\n") })
	d.mux.HandleFunc("GET /readyz", d.readyz)
	d.mux.Handle("/loglevel", d.Level) // GET, and PUT {"level":"debug"} or level=debug
	if !profiles {
		return
	}
	d.mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	d.mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	d.mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	d.mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	d.mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
}

// readyz answers 200 where every check passes, else 503, with one line for each that does not: "name: why".
func (d *Daemon) readyz(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	checks := maps.Clone(d.checks)
	d.mu.Unlock()
	ctx, cancel := context.WithTimeout(r.Context(), checkTimeout)
	defer cancel()
	var waits strings.Builder
	for _, name := range slices.Sorted(maps.Keys(checks)) {
		if err := checks[name](ctx); err != nil {
			fmt.Fprintf(&waits, "%s: %s\n", name, strings.Join(strings.Fields(err.Error()), " "))
		}
	}
	if waits.Len() > 0 {
		writeText(w, http.StatusServiceUnavailable, waits.String())
		return
	}
	writeText(w, http.StatusOK, "ok\n")
}

func writeText(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(text)) // an error means that the client has gone
}
