package main

// target is a measure that was asked for. Its figure is that of a benchmark, or of one over another.
type target struct {
	measure string
	bench   string
	unit    string
	over    string  // the benchmark whose figure it is divided by; "" for none
	scale   float64 // what the figure is multiplied with to be in the unit of the target; 0 for 1
	most    bool    // the figure is to be at most, else at least
	value   float64
	in      string
}

const (
	place10k  = "Place/machines=10000/tasks=10/shape=pack/full=60"
	place100k = "Place/machines=100000/tasks=10/shape=pack/full=60"
)

// targets are those of the issue "Speed and scale".
func targets() []target {
	return []target{
		{measure: "whole path over raw puts of the same bytes, one claim a machine", bench: "CheckPerf/packing=spread", unit: "ratio", value: 0.5},
		{measure: "the same, second step", bench: "CheckPerf/packing=spread", unit: "ratio", value: 0.8},
		{measure: "the same by CPU time", bench: "CheckPerf/packing=spread", unit: "cpu_ratio", value: 0.5},
		{measure: "the same, ten claims to a machine", bench: "CheckPerf/packing=pack", unit: "ratio", value: 3},
		{measure: "placements, jobs of 100, 5,000 machines: 25 × Nomad's", bench: "Workload/jobs-of-100", unit: "placements/s", value: 19_000, in: "/s"},
		{measure: "the same: 50 × Nomad's", bench: "Workload/jobs-of-100", unit: "placements/s", value: 38_000, in: "/s"},
		{measure: "CPU of one of them, etcd included", bench: "Workload/jobs-of-100", unit: "cpu-us/claim", most: true, value: 50, in: "µs"},
		{measure: "10,000 jobs of one task", bench: "Workload/jobs-of-one", unit: "placements/s", value: 10_000, in: "/s"},
		{measure: "CPU of one of them, etcd included", bench: "Workload/jobs-of-one", unit: "cpu-us/claim", most: true, value: 100, in: "µs"},
		{measure: "memory, schedulers and etcd, 5,000 machines, 50,000 claims", bench: "Workload/memory", unit: "rss-MiB", most: true, value: 400, in: "MiB"},
		{measure: "planning with spread over racks, against without, 10 tasks", bench: "Place/machines=10000/tasks=10/shape=spread/full=60",
			over: place10k, unit: "cpu-ns/task", most: true, value: 2, in: "×"},
		{measure: "the same, 1,000 tasks", bench: "Place/machines=10000/tasks=1000/shape=spread/full=60",
			over: "Place/machines=10000/tasks=1000/shape=pack/full=60", unit: "cpu-ns/task", most: true, value: 2, in: "×"},
		{measure: "planning a task of ten, 10,000 machines, 60 % full", bench: place10k, unit: "cpu-ns/task", scale: 1e-3, most: true, value: 20, in: "µs"},
		{measure: "the same at 100,000 machines", bench: place100k, over: place10k, unit: "cpu-ns/task", most: true, value: 2, in: "×"},
		{measure: "the same at 95 % full", bench: "Place/machines=10000/tasks=10/shape=pack/full=95", over: place10k, unit: "cpu-ns/task", most: true, value: 5, in: "×"},
		{measure: "a snapshot", bench: "Snapshot", unit: "ns/op", most: true, value: 1000, in: "ns"},
		{measure: "bytes that a snapshot copies", bench: "Snapshot", unit: "B/op", most: true, value: 0, in: "B"},
		{measure: "mirror: CPU of a ledger's change (30,000/s on one core)", bench: "Apply/machines=10000/tasks=100/index=all", unit: "cpu-ns/ledger",
			scale: 1e-3, most: true, value: 33.3, in: "µs"},
		{measure: "mirror of 100,000 machines and 2 M claims, from nothing", bench: "Workload/big", unit: "rebuild-s", most: true, value: 30, in: "s"},
		{measure: "heap of that mirror", bench: "Workload/big", unit: "mirror-heap-MiB", most: true, value: 1536, in: "MiB"},
		{measure: "commit to visible elsewhere, half load, median", bench: "Workload/visibility", unit: "visible-p50-ms", most: true, value: 2, in: "ms"},
		{measure: "the same, 99th percentile", bench: "Workload/visibility", unit: "visible-p99-ms", most: true, value: 20, in: "ms"},
		{measure: "submit to process running, median", bench: "Workload/submit-to-running", unit: "running-p50-ms", most: true, value: 30, in: "ms"},
		{measure: "the same, 99th percentile", bench: "Workload/submit-to-running", unit: "running-p99-ms", most: true, value: 200, in: "ms"},
		{measure: "conflict fraction, 16 schedulers, 10,000 machines, each 60 % full", bench: "Workload/sixteen-schedulers-60-full", unit: "conflict-fraction", most: true, value: 0.05},
		{measure: "the same, on machines of which some are full", bench: "Workload/sixteen-schedulers-uneven", unit: "conflict-fraction", most: true, value: 0.05},
		{measure: "64 schedulers on 50 hot machines, against apart", bench: "Workload/hot-spot", unit: "goodput-ratio", value: 0.6},
		{measure: "there, when the last is done, against the middle one", bench: "Workload/hot-spot", unit: "last/median", most: true, value: 2, in: "×"},
		{measure: "agent, idle with 50 tasks", bench: "Idle/tasks=50", unit: "agent-RSS-MiB", most: true, value: 40, in: "MiB"},
		{measure: "the same, of a core", bench: "Idle/tasks=50", unit: "agent-%core", most: true, value: 1, in: "%"},
		{measure: "10,000 emulated agents and their etcd, at rest", bench: "Emulated/agents=10000/tasks-per-second=0", unit: "cores", most: true, value: 0.5, in: "cores"},
		{measure: "the same with 500 tasks a second", bench: "Emulated/agents=10000/tasks-per-second=500", unit: "cores", most: true, value: 0.5, in: "cores"},
		{measure: "simulated placements of a second of CPU, jobs of 100", bench: "Run/compat=none/machines=10000/gogc=400/schedulers=16/tasks=100", unit: "placements/cpu-s",
			value: 1_000_000, in: "/s"},
	}
}

// figure returns what the target is about; ok is false where it was not measured.
func (t *target) figure(s summary) (v float64, of *figure, ok bool) {
	of = s.find(t.bench, t.unit)
	if of == nil {
		return 0, nil, false
	}
	v = of.median
	if t.scale != 0 {
		v *= t.scale
	}
	if t.over != "" {
		o := s.find(t.over, t.unit)
		if o == nil || o.median == 0 {
			return 0, nil, false
		}
		v /= o.median
	}
	return v, of, true
}

func (t *target) met(v float64) bool {
	if t.most {
		return v <= t.value
	}
	return v >= t.value
}

func (t *target) want() string {
	sign := "≥ "
	if t.most {
		sign = "≤ "
	}
	return sign + number(t.value) + space(t.in)
}

func space(unit string) string {
	if unit == "" {
		return ""
	}
	return " " + unit
}
