package etcdstore

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/omegacell/omegacell/cellstate"
)

// metrics counts what a store does. Stores that share a registry share them.
type metrics struct {
	commits   *prometheus.CounterVec // by mode and outcome
	seconds   prometheus.Histogram
	claims    *prometheus.CounterVec // by outcome
	conflicts *prometheus.CounterVec // by reason
	txns      prometheus.Counter
	parts     prometheus.Histogram
	resent    prometheus.Counter
	coalesced prometheus.Counter
	settled   *prometheus.CounterVec // by outcome
	swaps     *prometheus.CounterVec // by outcome
	corrupt   prometheus.Counter
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	name := func(n, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: "omegacell", Subsystem: "store", Name: n, Help: help}
	}
	var errs []error
	vec := func(n, help, label string, more ...string) *prometheus.CounterVec {
		return register(r, &errs, prometheus.NewCounterVec(name(n, help), append([]string{label}, more...)))
	}
	count := func(n, help string) prometheus.Counter {
		return register(r, &errs, prometheus.NewCounter(name(n, help)))
	}
	histogram := func(n, help string, buckets []float64) prometheus.Histogram {
		return register(r, &errs, prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "omegacell", Subsystem: "store", Name: n, Help: help, Buckets: buckets}))
	}
	m := &metrics{
		commits:   vec("commits_total", "Transactions committed, by mode and outcome (verdict or the kind of error).", "mode", "outcome"),
		seconds:   histogram("commit_seconds", "Time from a commit's call to its answer.", prometheus.ExponentialBuckets(0.0005, 2, 16)),
		claims:    vec("claims_total", "Claims answered, by outcome.", "outcome"),
		conflicts: vec("conflicts_total", "Claims refused, by reason.", "reason"),
		txns:      count("etcd_txns_total", "etcd Txns sent for commits."),
		parts:     histogram("etcd_txn_parts", "Parts in one etcd Txn.", prometheus.ExponentialBuckets(1, 2, 13)),
		resent:    count("resent_total", "Parts sent again because a guard had failed."),
		coalesced: count("coalesced_total", "Transactions, and swaps, that shared an etcd Txn with others, counted in each."),
		settled:   vec("unknown_settled_total", "Parts whose outcome was unknown and then settled, by outcome.", "outcome"),
		swaps:     vec("swaps_total", "Swaps, by outcome.", "outcome"),
		corrupt:   count("corrupt_values_total", "Values met in etcd that cannot be read."),
	}
	return m, errors.Join(errs...)
}

// register returns c, or what is registered under its name already.
func register[C prometheus.Collector](r prometheus.Registerer, errs *[]error, c C) C {
	if r == nil {
		return c
	}
	err := r.Register(c)
	var already prometheus.AlreadyRegisteredError
	if errors.As(err, &already) {
		if same, ok := already.ExistingCollector.(C); ok {
			return same
		}
	}
	if err != nil {
		*errs = append(*errs, err)
	}
	return c
}

// kindOf names the kind of an error for a label.
func kindOf(err error) string {
	switch {
	case errors.Is(err, cellstate.ErrInvalid):
		return "invalid"
	case errors.Is(err, cellstate.ErrUnknown):
		return "unknown"
	case errors.Is(err, cellstate.ErrCompacted):
		return "compacted"
	}
	return "unavailable"
}

func (m *metrics) answered(mode cellstate.Mode, v cellstate.Verdict, err error, seconds float64) {
	outcome := "verdict"
	if err != nil {
		outcome = kindOf(err)
	}
	m.commits.WithLabelValues(mode.String(), outcome).Inc()
	m.seconds.Observe(seconds)
	m.claims.WithLabelValues("committed").Add(float64(len(v.Committed)))
	m.claims.WithLabelValues("refused").Add(float64(len(v.Conflicts)))
	for _, c := range v.Conflicts {
		m.conflicts.WithLabelValues(c.Reason.String()).Inc()
	}
}
