package mirror

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are kept whether or not anybody reads them.
type metrics struct {
	revision       prometheus.Gauge
	lastBatch      prometheus.Gauge
	batches        prometheus.Counter
	events         prometheus.Counter
	rebuilds       prometheus.Counter
	retries        prometheus.Counter
	quarantined    *prometheus.CounterVec
	quarantinedNow prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	name := func(n string) string { return "omegacell_mirror_" + n }
	gauge := func(n, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name(n), Help: help})
	}
	counter := func(n, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name(n), Help: help})
	}
	m := &metrics{
		revision:  gauge("revision", "Revision of the newest snapshot."),
		lastBatch: gauge("last_batch_timestamp_seconds", "When the store was last heard of, in seconds since 1970."),
		batches:   counter("batches_total", "Batches applied, empty ones too."),
		events:    counter("events_total", "Changes of keys applied."),
		rebuilds:  counter("rebuilds_total", "Times the whole cell was listed."),
		retries:   counter("retries_total", "Times a list or watch failed or ended and was tried again."),
		quarantined: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: name("quarantined_total"), Help: "Records that became unreadable, by kind."}, []string{"kind"}),
		quarantinedNow: gauge("quarantined", "Records that cannot be read at present."),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{
		m.revision, m.lastBatch, m.batches, m.events, m.rebuilds, m.retries, m.quarantined, m.quarantinedNow,
	} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("mirror: register metrics: %w", err)
		}
	}
	return m, nil
}

// applied counts news, after which bad records are quarantined.
func (m *metrics) applied(n *news, o *outcome, bad int) {
	m.revision.Set(float64(n.Rev))
	m.lastBatch.Set(float64(n.at) / 1000)
	m.batches.Add(float64(n.batches))
	m.events.Add(float64(n.events))
	m.quarantinedNow.Set(float64(bad))
	for _, q := range o.fresh {
		m.quarantined.WithLabelValues(q.Key.Kind.String()).Inc()
	}
}
