package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cmd/internal/cliconf"
	"github.com/omegacell/omegacell/cmd/internal/member"
	"github.com/omegacell/omegacell/cmd/internal/perf"
)

// perfFlags are the flags of check perf.
type perfFlags struct {
	embedded, pack, spread, gang, incremental bool
	rule                                      string
	perf.Config
}

func (t *tool) perfCmd() *cobra.Command {
	f := &perfFlags{}
	cmd := &cobra.Command{
		Use:   "perf",
		Short: "Measures how fast claims are placed, against what etcd takes of the same bytes",
		Long: "Measures, in turns within one run, (a) plain etcd transactions of 100 puts at most from 4 clients, with the keys and bytes of our ledgers,\n" +
			"and (b) the same claims through the whole path: schedulers with mirrors of their own take a snapshot, plan, commit, and wait until their\n" +
			"mirror shows the commit. cpu_us_per_claim is of (b), of all processes, etcd included.\n\n" +
			"It works on scratch cells that it makes beside the connected cell and deletes at the end, also after Ctrl-C; the cell's own keys\n" +
			"are left alone. But etcd gets as much work as it can take meanwhile, and keeps what was written in its history until that is\n" +
			"compacted: prefer --embedded, an etcd of its own in a temporary directory of $TMPDIR, with fsync.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return coded(t.perf(cmd, f)) },
	}
	f.add(cmd.Flags())
	for _, pair := range [][2]string{{"pack", "spread"}, {"gang", "incremental"}} {
		cmd.MarkFlagsMutuallyExclusive(pair[0], pair[1])
	}
	return cmd
}

func (f *perfFlags) add(fs *pflag.FlagSet) {
	fs.BoolVar(&f.embedded, "embedded", false, "start an etcd in this process, in a temporary directory, and measure that")
	fs.IntVar(&f.Machines, "machines", 10_000, "machines of the scratch cell")
	fs.IntVar(&f.PerMachine, "claims-a-machine", 0, "claims that each machine has room for; 0 stands for 1, or with --pack for 10")
	fs.IntVar(&f.Tasks, "tasks", 100, "tasks of each job")
	fs.IntVar(&f.Fill, "fill", 60, "per cent of the room that each round takes")
	fs.BoolVar(&f.spread, "spread", false, "prefer the emptiest machines; the default")
	fs.BoolVar(&f.pack, "pack", false, "prefer the fullest machines that fit")
	fs.BoolVar(&f.incremental, "incremental", false, "a conflict refuses only what conflicts; the default")
	fs.BoolVar(&f.gang, "gang", false, "a conflict refuses the whole job")
	fs.StringVar(&f.rule, "conflict-rule", "fit", "what counts as a conflict: fit (what no longer fits) or seq (any change of the machine)")
	fs.IntVar(&f.Schedulers, "schedulers", 4, "schedulers, each with a mirror of its own")
	fs.IntVar(&f.Workers, "workers", 2, "jobs that each scheduler has under way at a time")
	fs.IntVar(&f.Stores, "stores", 1, "stores that the schedulers share, as they do in one process; as many as schedulers stand for processes of their own")
	fs.IntVar(&f.Rounds, "rounds", 8, "rounds that count; one more goes before to warm up")
	fs.DurationVar(&f.Duration, "duration", time.Minute, "no round begins after so long")
	fs.Uint64Var(&f.Seed, "seed", 1, "seed of all random choices")
}

// config checks what only the command line can get wrong.
func (f *perfFlags) config() (perf.Config, error) {
	c := f.Config
	if f.pack {
		c.Packing = cellstate.Pack
	}
	if f.gang {
		c.Mode = cellstate.AllOrNothing
	}
	for _, r := range []cellstate.Rule{cellstate.FitRule, cellstate.SeqRule} {
		if r.String() == f.rule {
			c.Rule = r
		}
	}
	if c.Rule == 0 {
		return c, cliconf.Usagef("--conflict-rule %q is not fit or seq", f.rule)
	}
	for _, n := range []struct {
		flag  string
		value int
	}{
		{"machines", c.Machines}, {"tasks", c.Tasks}, {"fill", c.Fill}, {"schedulers", c.Schedulers}, {"workers", c.Workers},
		{"stores", c.Stores}, {"rounds", c.Rounds},
	} {
		if n.value < 1 {
			return c, cliconf.Usagef("--%s must be at least 1", n.flag)
		}
	}
	if c.Duration <= 0 {
		return c, cliconf.Usagef("--duration must be above zero")
	}
	return c, nil
}

// perf runs the measurement on the etcd that the flags ask for, and prints it.
func (t *tool) perf(cmd *cobra.Command, f *perfFlags) error {
	cfg, err := f.config()
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	note := ""
	conn := t.conf.Connection
	if f.embedded {
		m, stop, err := embeddedMember(ctx)
		if err != nil {
			return err
		}
		defer stop()
		conn = cliconf.Connection{Endpoints: m.Endpoints(), DialTimeout: conn.DialTimeout, CommandTimeout: conn.CommandTimeout, Cell: conn.Cell}
	} else {
		cfg.StoreCPU, note = t.storeCPU(ctx)
	}
	cfg.Cell = conn.Cell
	cfg.Dial = func(ctx context.Context) (*clientv3.Client, error) { return conn.Dial(ctx, nil) }
	r, err := perf.Run(ctx, cfg)
	if err != nil {
		return err
	}
	if r.Note = strings.Trim(r.Note+"; "+note, "; "); t.conf.WriteOut == "json" {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(r)
	}
	return t.print(cmd.OutOrStdout(), perfDocument(&r))
}

// embeddedMember starts an etcd that leaves nothing behind. It writes to disk as any other does.
func embeddedMember(ctx context.Context) (*member.Member, func(), error) {
	dir, err := os.MkdirTemp("", "cellctl-perf-")
	if err != nil {
		return nil, nil, err
	}
	m, err := member.Start(ctx, member.Config{
		Name: "perf", DataDir: dir, ListenClientURLs: []string{"http://127.0.0.1:0"}, ListenPeerURLs: []string{"http://127.0.0.1:0"},
		AutoCompaction: -1,
	})
	if err != nil {
		_ = os.RemoveAll(dir) // the error that counts is the other
		return nil, nil, err
	}
	return m, func() {
		_ = m.Stop() // its directory is deleted next
		_ = os.RemoveAll(dir)
	}, nil
}

// storeCPU tells how to learn what CPU time the connected etcd has used, or why that cannot be known.
func (t *tool) storeCPU(ctx context.Context) (func(context.Context) (time.Duration, error), string) {
	const without = "cpu_us_per_claim is without etcd's: "
	var urls []string
	for _, e := range t.conf.Endpoints {
		if !strings.Contains(e, "://") {
			e = "http://" + e
		}
		if !strings.HasPrefix(e, "http://") {
			return nil, without + "its metrics are read over http only"
		}
		urls = append(urls, e)
	}
	sum := func(ctx context.Context) (all time.Duration, err error) {
		for _, u := range urls {
			d, err := perf.EtcdCPU(ctx, u)
			if err != nil {
				return 0, err
			}
			all += d
		}
		return all, nil
	}
	if _, err := sum(ctx); err != nil {
		return nil, without + err.Error()
	}
	return sum, "cpu_us_per_claim holds all that the etcd members at --endpoints used meanwhile, also for others"
}

// perfDocument is the result for people, with the figures that were asked for first.
func perfDocument(r *perf.Result) document {
	round := func(f float64) string {
		switch {
		case f >= 100:
			return fmt.Sprintf("%.0f", f)
		case f >= 1:
			return fmt.Sprintf("%.2f", f)
		}
		return fmt.Sprintf("%.4f", f)
	}
	d := document{head: row{
		{"cell", fmt.Sprintf("%d machines, room for %d claims each", r.Machines, r.ClaimsPerMachine)},
		{"load", fmt.Sprintf("%d jobs of %d tasks a round, %s, %s, rule %s", r.Jobs, r.Tasks, r.Packing, r.Mode, r.ConflictRule)},
		{"schedulers", fmt.Sprintf("%d, %d jobs under way each, %d stores", r.Schedulers, r.Workers, r.Stores)},
		{"note", r.Note},
	}}
	for _, i := range []struct {
		name  string
		value float64
	}{
		{"raw_puts_per_second", r.RawPuts}, {"claims_per_second", r.Claims}, {"ratio", r.Ratio},
		{"commit_p50_ms", r.CommitP50}, {"commit_p99_ms", r.CommitP99}, {"mirror_lag_p50_ms", r.MirrorLagP50}, {"mirror_lag_p99_ms", r.MirrorLagP99},
		{"cpu_us_per_claim", r.CPUMicros}, {"raw_cpu_us_per_put", r.RawCPUMicros}, {"cpu_ratio", r.CPURatio},
		{"bytes_per_claim", r.Bytes}, {"conflict_fraction", r.ConflictFraction},
		{"refused_fraction", r.RefusedFraction}, {"resent_fraction", r.ResentFraction}, {"plan_p50_ms", r.PlanP50}, {"plan_p99_ms", r.PlanP99},
	} {
		d.head = append(d.head, item{i.name, round(i.value)})
	}
	rounds := section{name: "rounds"}
	for _, n := range r.Rounds {
		rounds.rows = append(rounds.rows, row{
			{"raw_puts_per_second", round(n.RawPuts)}, {"claims_per_second", round(n.Claims)}, {"ratio", round(n.Ratio)},
			{"claims", n.Placed}, {"puts", n.Puts},
		})
	}
	d.sections = append(d.sections, rounds)
	return d
}
