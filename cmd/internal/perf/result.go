package perf

import (
	"fmt"
	"slices"
	"time"
)

// Result is what a run found. Rates are medians over the rounds, times are over all transactions of all rounds.
type Result struct {
	Machines         int    `json:"machines"`
	ClaimsPerMachine int    `json:"claims_a_machine"`
	Tasks            int    `json:"tasks_a_job"`
	Jobs             int    `json:"jobs_a_round"`
	Packing          string `json:"packing"`
	Mode             string `json:"mode"`
	ConflictRule     string `json:"conflict_rule"`
	Schedulers       int    `json:"schedulers"`
	Workers          int    `json:"workers"`
	Stores           int    `json:"stores"`

	RawPuts          float64 `json:"raw_puts_per_second"`
	Claims           float64 `json:"claims_per_second"`
	Ratio            float64 `json:"ratio"` // claims_per_second / raw_puts_per_second
	CommitP50        float64 `json:"commit_p50_ms"`
	CommitP99        float64 `json:"commit_p99_ms"`
	MirrorLagP50     float64 `json:"mirror_lag_p50_ms"`
	MirrorLagP99     float64 `json:"mirror_lag_p99_ms"`
	CPUMicros        float64 `json:"cpu_us_per_claim"`
	Bytes            float64 `json:"bytes_per_claim"`   // keys and values put
	ConflictFraction float64 `json:"conflict_fraction"` // transactions with a conflict, for each job placed (Omega, EuroSys 2013, §4)
	RawCPUMicros     float64 `json:"raw_cpu_us_per_put"`
	CPURatio         float64 `json:"cpu_ratio"` // raw_cpu_us_per_put / cpu_us_per_claim: the ratio that is steady on a busy machine
	PlanP50          float64 `json:"plan_p50_ms"`
	PlanP99          float64 `json:"plan_p99_ms"`
	RefusedFraction  float64 `json:"refused_fraction"` // claims refused, for each placed
	ResentFraction   float64 `json:"resent_fraction"`  // ledgers sent again after a lost race, for each claim placed
	Rounds           []Round `json:"rounds"`
	Note             string  `json:"note"`

	all round
}

// Round is what one round found.
type Round struct {
	RawPuts float64 `json:"raw_puts_per_second"`
	Claims  float64 `json:"claims_per_second"`
	Ratio   float64 `json:"ratio"`
	Placed  int     `json:"claims"`
	Puts    int     `json:"puts"` // ledgers that the claims took, and the raw half put
}

// round is one round, or all of them, while it is counted.
type round struct {
	tally
	from, to   int64 // revisions that the whole path wrote: after from, up to to
	seconds    float64
	cpu        time.Duration
	puts       int
	bytes      int
	rawSeconds float64
	rawCPU     time.Duration
}

// take adds what one scheduler saw.
func (r *round) take(t *tally) {
	r.to = max(r.to, t.newest)
	for _, d := range [...]struct{ to, from *int }{
		{&r.transactions, &t.transactions}, {&r.conflicted, &t.conflicted}, {&r.refused, &t.refused}, {&r.resent, &t.resent},
	} {
		*d.to += *d.from
	}
	r.plan, r.commit, r.lag = append(r.plan, t.plan...), append(r.commit, t.commit...), append(r.lag, t.lag...)
}

func newResult(c *Config) Result {
	return Result{
		Machines: c.Machines, ClaimsPerMachine: c.PerMachine, Tasks: c.Tasks, Jobs: c.jobs(), Packing: c.Packing.String(),
		Mode: c.Mode.String(), ConflictRule: c.Rule.String(), Schedulers: c.Schedulers, Workers: c.Workers, Stores: c.Stores,
	}
}

func (r *Result) note(format string, args ...any) {
	if r.Note != "" {
		r.Note += "; "
	}
	r.Note += fmt.Sprintf(format, args...)
}

// add takes in a round that counts.
func (r *Result) add(o round) {
	placed := r.Jobs * r.Tasks
	n := Round{RawPuts: float64(o.puts) / o.rawSeconds, Claims: float64(placed) / o.seconds, Placed: placed, Puts: o.puts}
	n.Ratio = n.Claims / n.RawPuts
	r.Rounds = append(r.Rounds, n)
	r.all.take(&o.tally)
	r.all.cpu += o.cpu
	r.all.bytes += o.bytes
	r.all.puts += o.puts
	r.all.rawCPU += o.rawCPU
}

// sum computes the figures of all rounds.
func (r *Result) sum() {
	r.RawPuts = median(r.Rounds, func(n Round) float64 { return n.RawPuts })
	r.Claims = median(r.Rounds, func(n Round) float64 { return n.Claims })
	r.Ratio = r.Claims / r.RawPuts
	placed := float64(len(r.Rounds) * r.Jobs * r.Tasks)
	r.CPUMicros = float64(r.all.cpu.Microseconds()) / placed
	r.RawCPUMicros = float64(r.all.rawCPU.Microseconds()) / float64(r.all.puts)
	r.CPURatio = r.RawCPUMicros / r.CPUMicros
	r.Bytes = float64(r.all.bytes) / placed
	r.ConflictFraction = float64(r.all.conflicted) / float64(len(r.Rounds)*r.Jobs)
	r.RefusedFraction = float64(r.all.refused) / placed
	r.ResentFraction = float64(r.all.resent) / placed
	r.CommitP50, r.CommitP99 = percentiles(r.all.commit)
	r.MirrorLagP50, r.MirrorLagP99 = percentiles(r.all.lag)
	r.PlanP50, r.PlanP99 = percentiles(r.all.plan)
}

// median returns the middle one, or the mean of the middle two.
func median(rounds []Round, of func(Round) float64) float64 {
	var all []float64
	for _, r := range rounds {
		all = append(all, of(r))
	}
	slices.Sort(all)
	return (all[(len(all)-1)/2] + all[len(all)/2]) / 2
}

// percentiles returns the 50th and the 99th, by the nearest rank, in milliseconds.
func percentiles(all []time.Duration) (p50, p99 float64) {
	slices.Sort(all)
	at := func(p int) float64 {
		return float64(all[(len(all)*p+99)/100-1].Nanoseconds()) / 1e6
	}
	return at(50), at(99)
}
