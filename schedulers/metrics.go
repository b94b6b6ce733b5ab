package schedulers

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/omegacell/omegacell/cellstate"
)

// Metrics are a loop's figures, by Omega's measures (EuroSys 2013, §4): think time is what a plan takes; busyness is the rate
// of omegacell_scheduler_busy_seconds_total; the conflict fraction is conflicts over plans committed.
type Metrics struct {
	plans     prometheus.Counter
	commits   prometheus.Counter
	conflicts *prometheus.CounterVec // transactions that had a conflict, by the first reason
	placed    prometheus.Counter
	refused   *prometheus.CounterVec // claims, by reason
	retries   prometheus.Counter
	busy      prometheus.Counter
	think     prometheus.Histogram
	commit    prometheus.Histogram
	wait      prometheus.Histogram
	queued    prometheus.Gauge
	parked    prometheus.Gauge
	shards    prometheus.Gauge
	stale     prometheus.Histogram
	age       prometheus.Histogram
	replaced  prometheus.Counter
	blind     prometheus.Gauge
}

// NewMetrics makes the figures of one scheduler and registers them.
func NewMetrics(reg prometheus.Registerer, scheduler string) *Metrics {
	label := prometheus.Labels{"scheduler": scheduler}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "omegacell", Subsystem: "scheduler", Name: name, Help: help, ConstLabels: label})
	}
	byReason := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "omegacell", Subsystem: "scheduler", Name: name, Help: help, ConstLabels: label}, []string{"reason"})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "omegacell", Subsystem: "scheduler", Name: name, Help: help, ConstLabels: label})
	}
	histogram := func(name, help string, from float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "omegacell", Subsystem: "scheduler", Name: name, Help: help,
			ConstLabels: label, Buckets: prometheus.ExponentialBuckets(from, 2, 20)})
	}
	m := &Metrics{
		plans:     counter("plans_total", "Plans made."),
		commits:   counter("transactions_total", "Transactions sent."),
		conflicts: byReason("conflicting_transactions_total", "Transactions with at least one conflict, by the first one's reason."),
		placed:    counter("placed_total", "Claims committed."),
		refused:   byReason("refused_claims_total", "Claims refused, by reason."),
		retries:   counter("retries_total", "Plans made again because of a conflict."),
		busy:      counter("busy_seconds_total", "Time spent planning, over all workers."),
		think:     histogram("think_seconds", "Time one plan took.", 1e-6),
		commit:    histogram("commit_seconds", "Time one transaction took.", 1e-5),
		wait:      histogram("wait_seconds", "From a job's submission to its first plan.", 1e-3),
		queued:    gauge("queued_jobs", "Jobs in the queue, due or not."),
		parked:    gauge("parked_jobs", "Jobs that wait for a change."),
		shards:    gauge("shards", "Shards that this process leads."),
		stale:     histogram("stale_seconds", "Time a job that was due waited for the mirror to show what was written for it.", 1e-6),
		age:       histogram("snapshot_age_seconds", "Age of the snapshot that a plan was made on.", 1e-4),
		replaced:  counter("revalidated_claims_total", "Claims placed anew before they were sent, as their machine had changed."),
		blind:     gauge("blind", "1 while nothing is planned because the mirror is too old, else 0."),
	}
	reg.MustRegister(m.plans, m.commits, m.conflicts, m.placed, m.refused, m.retries, m.busy, m.think, m.commit, m.wait,
		m.queued, m.parked, m.shards, m.stale, m.age, m.replaced, m.blind)
	return m
}

func (m *Metrics) verdict(v cellstate.Verdict, took time.Duration) {
	m.commits.Inc()
	m.commit.Observe(took.Seconds())
	m.placed.Add(float64(len(v.Committed)))
	if len(v.Conflicts) > 0 {
		m.conflicts.WithLabelValues(v.Conflicts[0].Reason.String()).Inc()
	}
	for _, c := range v.Conflicts {
		m.refused.WithLabelValues(c.Reason.String()).Inc()
	}
}
