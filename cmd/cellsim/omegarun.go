package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cmd/internal/cliconf"
	"github.com/omegacell/omegacell/schedulers/sim"
)

// setting is one combination of what the flags list.
type setting struct {
	rule            cellstate.Rule
	mode            cellstate.Mode
	serviceTJob     time.Duration
	batchSchedulers int
}

// settings lists all combinations.
func (cfg *omegaConfig) settings() ([]setting, error) {
	if len(cfg.Rule) == 0 || len(cfg.Mode) == 0 || len(cfg.ServiceTJob) == 0 || len(cfg.BatchSchedulers) == 0 {
		return nil, cliconf.Usagef("--rule, --mode, --service-t-job and --batch-schedulers name at least one each")
	}
	if _, err := pick("architecture", cfg.Architecture, sim.Architectures()); err != nil {
		return nil, err
	}
	var all []setting
	for _, r := range cfg.Rule {
		rule, err := pick("rule", r, []cellstate.Rule{cellstate.FitRule, cellstate.SeqRule})
		if err != nil {
			return nil, err
		}
		for _, m := range cfg.Mode {
			mode, err := pick("mode", m, []cellstate.Mode{cellstate.Incremental, cellstate.AllOrNothing})
			if err != nil {
				return nil, err
			}
			for _, n := range cfg.BatchSchedulers {
				for _, t := range cfg.ServiceTJob {
					all = append(all, setting{rule, mode, t, n})
				}
			}
		}
	}
	return all, nil
}

// config is that of a run with this setting.
func (cfg *omegaConfig) config(machines []cellstate.Resources, s setting, seed uint64) (sim.Config, error) {
	architecture, err := pick("architecture", cfg.Architecture, sim.Architectures())
	google := cfg.Compat == "google"
	serviceTTask := cfg.ServiceTTask
	switch {
	case serviceTTask == 0 && google:
		serviceTTask = 10 * time.Millisecond
	case serviceTTask == 0:
		serviceTTask = 5 * time.Millisecond
	}
	c := sim.Config{
		Machines: machines, Horizon: cfg.Horizon, Architecture: architecture,
		Schedulers: sim.PerClass[int]{Batch: s.batchSchedulers, Service: cfg.ServiceSchedulers},
		Think: sim.PerClass[sim.Think]{
			Batch:   sim.Think{Job: cfg.BatchTJob, Task: cfg.BatchTTask},
			Service: sim.Think{Job: s.serviceTJob, Task: serviceTTask},
		},
		Rule: s.rule, Mode: s.mode, Repair: sim.Repair{Revalidate: cfg.Revalidate, Losers: cfg.Repair}, Width: cfg.Width, Seed: seed,
	}
	if google {
		c.Compat = sim.CompatGoogle
	}
	return c, err
}

// compareRuns runs every setting with every seed and prints what they gave.
func compareRuns(ctx context.Context, cfg omegaConfig, stdout, stderr io.Writer) error {
	settings, err := cfg.settings()
	if err != nil {
		return err
	}
	machines, err := cfg.machines()
	if err != nil {
		return err
	}
	jobs, err := cfg.source()
	if err != nil {
		return err
	}
	var runs []simulation
	for _, s := range settings {
		for i := range cfg.Seeds {
			c, err := cfg.config(machines, s, cfg.Seed+uint64(i))
			if err != nil {
				return err
			}
			runs = append(runs, simulation{config: c, jobs: jobs})
		}
	}
	show, step, done := sweepProgress(stderr, len(runs))
	show("runs")
	results, err := simulate(ctx, cfg.workers(), runs, step)
	done()
	if err != nil {
		return err
	}
	var reports []runReport
	for i, s := range settings {
		var ofSetting []runReport
		for j := range cfg.Seeds {
			at := i*cfg.Seeds + j
			ofSetting = append(ofSetting, report(&cfg, runs[at].config, s, results[at]))
		}
		reports = append(append(reports, ofSetting...), meanReport(ofSetting))
	}
	if cfg.WriteOut == "json" {
		return printReports(stdout, reports)
	}
	return printTable(stdout, reports)
}

// runReport is what one run gave, or several on average, in the terms that google/cluster-scheduler-simulator's results are
// told in. Times are in seconds. All numbers are floats, as means of counts have fractions.
type runReport struct {
	CSV         string        `json:"csv,omitempty"`
	Machines    int           `json:"machines"`
	RunTime     float64       `json:"run_time"`
	Conflict    string        `json:"conflict"` // sequence-numbers or resource-fit
	Tx          string        `json:"tx"`       // all-or-nothing or incremental
	TJobService float64       `json:"t_job_service"`
	TJobBatch   float64       `json:"t_job_batch"`
	Seed        *uint64       `json:"seed,omitempty"`    // nil: a mean
	MeanOf      int           `json:"mean_of,omitempty"` // runs
	CPUUtil     float64       `json:"cpu_util"`
	MemUtil     float64       `json:"mem_util"`
	BatchSched  schedReport   `json:"batch_sched"`
	ServiceSchd schedReport   `json:"service_sched"`
	Batch       classedReport `json:"batch"`
	Service     classedReport `json:"service"`
	WallS       float64       `json:"wall_s"`
}

// schedReport tells of the schedulers of one class: shares of time as means over them, counts as sums.
type schedReport struct {
	N                int     `json:"n"`
	Busy             float64 `json:"busy"`
	BusyNoConflict   float64 `json:"busy_no_conflict"`
	Wasted           float64 `json:"wasted"`
	TxOK             float64 `json:"tx_ok"`
	TxFailed         float64 `json:"tx_failed"`
	ConflictFraction float64 `json:"conflict_fraction"`
	TaskOK           float64 `json:"task_ok"`
	TaskFailed       float64 `json:"task_failed"`
	NoFit            float64 `json:"no_fit"`
	Abandoned        float64 `json:"abandoned"`
	QueueEnd         float64 `json:"queue_end"`
}

// classedReport tells of the jobs of one class.
type classedReport struct {
	Jobs         float64 `json:"jobs"`
	Scheduled    float64 `json:"scheduled"` // whose wait is over, so that it counts below
	Placed       float64 `json:"placed"`    // with all their tasks
	WaitFirstAvg float64 `json:"wait_first_avg"`
	WaitFirstP90 float64 `json:"wait_first_p90"`
	WaitFullAvg  float64 `json:"wait_full_avg"`
	WaitFullP90  float64 `json:"wait_full_p90"`
	AttemptsAvg  float64 `json:"attempts_avg"`
}

func report(cfg *omegaConfig, c sim.Config, s setting, r simulated) runReport {
	conflict := "resource-fit"
	if s.rule == cellstate.SeqRule {
		conflict = "sequence-numbers"
	}
	out := runReport{
		Machines: len(c.Machines), RunTime: c.Horizon.Seconds(), Conflict: conflict, Tx: s.mode.String(),
		TJobService: s.serviceTJob.Seconds(), TJobBatch: cfg.BatchTJob.Seconds(), Seed: &c.Seed, CPUUtil: r.CPU, MemUtil: r.Memory,
		BatchSched: schedulersReport(&r.Classes.Batch), ServiceSchd: schedulersReport(&r.Classes.Service),
		Batch: jobsReport(&r.Classes.Batch), Service: jobsReport(&r.Classes.Service), WallS: r.took.Seconds(),
	}
	if cfg.Jobs != "" {
		out.CSV = filepath.Base(cfg.Jobs)
	}
	return out
}

func schedulersReport(c *sim.ClassResult) schedReport {
	return schedReport{
		N: c.Schedulers, Busy: c.Busy.Whole, BusyNoConflict: c.NoConflict.Whole, Wasted: c.Wasted.Whole,
		TxOK: float64(c.TxOK), TxFailed: float64(c.TxFailed), ConflictFraction: c.ConflictFraction,
		TaskOK: float64(c.TasksOK), TaskFailed: float64(c.TasksLost), NoFit: float64(c.NoFit),
		Abandoned: float64(c.Abandoned), QueueEnd: float64(c.QueueEnd),
	}
}

func jobsReport(c *sim.ClassResult) classedReport {
	return classedReport{
		Jobs: float64(c.Jobs), Scheduled: float64(c.Attempted), Placed: float64(c.Placed),
		WaitFirstAvg: c.WaitFirst.Mean.Seconds(), WaitFirstP90: c.WaitFirst.P90.Seconds(),
		WaitFullAvg: c.WaitFull.Mean.Seconds(), WaitFullP90: c.WaitFull.P90.Seconds(), AttemptsAvg: c.AttemptsMean,
	}
}

// meanReport averages everything measured, over runs of one setting.
func meanReport(runs []runReport) runReport {
	mean := runs[0]
	mean.Seed, mean.MeanOf = nil, len(runs)
	sums := mean.measured()
	for _, r := range runs[1:] {
		for i, v := range r.measured() {
			*sums[i] += *v
		}
	}
	for _, v := range sums {
		*v /= float64(len(runs))
	}
	return mean
}

// measured lists what means are taken of.
func (r *runReport) measured() []*float64 {
	all := []*float64{&r.CPUUtil, &r.MemUtil, &r.WallS}
	for _, s := range []*schedReport{&r.BatchSched, &r.ServiceSchd} {
		all = append(all, &s.Busy, &s.BusyNoConflict, &s.Wasted, &s.TxOK, &s.TxFailed, &s.ConflictFraction, &s.TaskOK, &s.TaskFailed,
			&s.NoFit, &s.Abandoned, &s.QueueEnd)
	}
	for _, c := range []*classedReport{&r.Batch, &r.Service} {
		all = append(all, &c.Jobs, &c.Scheduled, &c.Placed, &c.WaitFirstAvg, &c.WaitFirstP90, &c.WaitFullAvg, &c.WaitFullP90, &c.AttemptsAvg)
	}
	return all
}

func printReports(w io.Writer, reports []runReport) error {
	enc := json.NewEncoder(w)
	for _, r := range reports {
		if err := enc.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

// printTable prints two lines for each run, one for each class.
func printTable(w io.Writer, reports []runReport) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	// A tabwriter keeps its first error until Flush.
	_, _ = fmt.Fprintln(t, "RULE\tMODE\tT_JOB S\tSEED\tCLASS\tN\tBUSY\tWASTED\tTX OK\tTX FAILED\tCONFLICT FRACTION\tNO FIT\tABANDONED\tQUEUE END\tWAIT S\tP90 S\tFULL WAIT S\tP90 S\tATTEMPTS\tCPU")
	for _, r := range reports {
		seed := "mean"
		if r.Seed != nil {
			seed = fmt.Sprint(*r.Seed)
		}
		rule := cellstate.FitRule
		if r.Conflict == "sequence-numbers" {
			rule = cellstate.SeqRule
		}
		for _, c := range []struct {
			class sim.Class
			tJob  float64
			sched schedReport
			jobs  classedReport
		}{{sim.Batch, r.TJobBatch, r.BatchSched, r.Batch}, {sim.Service, r.TJobService, r.ServiceSchd, r.Service}} {
			_, _ = fmt.Fprintf(t, "%s\t%s\t%g\t%s\t%s\t%d\t%.4f\t%.4f\t%.6g\t%.6g\t%.4f\t%.6g\t%.6g\t%.6g\t%.4f\t%.4f\t%.4f\t%.4f\t%.3f\t%.4f\n",
				rule, r.Tx, c.tJob, seed, c.class, c.sched.N, c.sched.Busy, c.sched.Wasted, c.sched.TxOK, c.sched.TxFailed,
				c.sched.ConflictFraction, c.sched.NoFit, c.sched.Abandoned, c.sched.QueueEnd,
				c.jobs.WaitFirstAvg, c.jobs.WaitFirstP90, c.jobs.WaitFullAvg, c.jobs.WaitFullP90, c.jobs.AttemptsAvg, r.CPUUtil)
		}
	}
	return t.Flush()
}
