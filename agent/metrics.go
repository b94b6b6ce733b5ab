package agent

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/omegacell/omegacell/cellstate"
)

// Metrics is what the agents of one process count. They share it; what is about one machine carries its name.
type Metrics struct {
	tasks      *prometheus.GaugeVec   // by phase
	starts     *prometheus.CounterVec // by result
	ends       *prometheus.CounterVec // by outcome
	reconciles prometheus.Histogram   // seconds
	writes     *prometheus.CounterVec // of reports, by result
	sessions   *prometheus.CounterVec // by what happened to them
	epoch      *prometheus.GaugeVec   // by machine
	unreadable prometheus.Counter
}

// NewMetrics registers the agents' collectors. With nil they count for nobody.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "omegacell", Subsystem: "agent", Name: name, Help: help}
	}
	counter := func(name, help, label string) *prometheus.CounterVec {
		return f.NewCounterVec(prometheus.CounterOpts(opts(name, help)), []string{label})
	}
	gauge := func(name, help, label string) *prometheus.GaugeVec {
		return f.NewGaugeVec(prometheus.GaugeOpts(opts(name, help)), []string{label})
	}
	return &Metrics{
		tasks:  gauge("claims", "Claims on the agents' machines, by the phase reported of them.", "phase"),
		starts: counter("starts_total", "Tasks started, by result: ok or error.", "result"),
		ends:   counter("ends_total", "Claims that came to their end, by outcome.", "outcome"),
		reconciles: f.NewHistogram(prometheus.HistogramOpts{Namespace: "omegacell", Subsystem: "agent", Name: "reconcile_seconds",
			Help: "Time to decide what to do on one machine.", Buckets: prometheus.ExponentialBuckets(1e-6, 4, 10)}),
		writes:     counter("report_writes_total", "Writes of reports, by result: ok, raced (sent again) or error.", "result"),
		sessions:   counter("sessions_total", "Sessions, by event: made or lost.", "event"),
		epoch:      gauge("session_epoch", "Epoch of the machine's session.", "machine"),
		unreadable: f.NewCounter(prometheus.CounterOpts(opts("unreadable_total", "Ledgers and reports in the cell that could not be read."))),
	}
}

// phases moves the gauge of claims by phase from what it was to what it is for one machine.
func (m *Metrics) phases(was, is []cellstate.ClaimStatus) {
	var d [cellstate.PhaseEnded + 1]int
	for i := range was {
		d[was[i].Phase]--
	}
	for i := range is {
		d[is[i].Phase]++
	}
	for p, n := range d {
		if n != 0 {
			m.tasks.WithLabelValues(cellstate.Phase(p).String()).Add(float64(n))
		}
	}
}
