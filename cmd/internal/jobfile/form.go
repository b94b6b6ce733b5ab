package jobfile

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"golang.org/x/sys/unix"

	"github.com/omegacell/omegacell/cellstate"
)

// job reads one document.
func (f *form) job(n ast.Node) *cellstate.Job {
	j := &cellstate.Job{Tenant: cellstate.DefaultTenant, Precedence: -1, Tasks: 1}
	start := f.doc.lineOf(n)
	gang, task := start, start
	maxTasks := int64(cellstate.Limits{}.WithDefaults().TasksPerJob)
	f.fields(n, "the job", readers{
		"name":       f.checked("name", &j.Name, cellstate.CheckName),
		"scheduler":  f.checked("scheduler", &j.Scheduler, cellstate.CheckName),
		"tenant":     f.checked("tenant", &j.Tenant, cellstate.CheckName),
		"precedence": f.precedence(&j.Precedence),
		"tasks":      f.count("tasks", 1, maxTasks, func(v int64) { j.Tasks = uint32(v) }),
		"gang": func(n ast.Node) {
			gang = f.doc.lineOf(n)
			f.fields(n, "gang", readers{"min": f.count("gang.min", 1, maxTasks, func(v int64) { j.GangMin = uint32(v) })})
			if f.err == nil && j.GangMin == 0 {
				f.fail(n, "gang: min is missing")
			}
		},
		"task": func(n ast.Node) {
			task = f.doc.lineOf(n)
			f.task(n, &j.Task)
		},
		"constraints": func(n ast.Node) {
			f.items(n, "constraints", func(n ast.Node) { j.Constraints = append(j.Constraints, f.constraint(n, "a constraint", nil)) })
		},
		"affinities": func(n ast.Node) {
			f.items(n, "affinities", func(n ast.Node) { j.Affinities = append(j.Affinities, f.affinity(n)) })
		},
		"spread":     func(n ast.Node) { f.items(n, "spread", func(n ast.Node) { j.Spread = append(j.Spread, f.spread(n)) }) },
		"packing":    choice(f, "packing", []cellstate.Packing{cellstate.Pack, cellstate.SpreadLoad}, &j.Packing),
		"retries":    f.uint("retries", 0, &j.Retries),
		"update":     func(n ast.Node) { f.update(n, &j.Update) },
		"disconnect": func(n ast.Node) { f.disconnect(n, &j.Disconnect) },
	})
	for _, required := range []struct{ field, value string }{{"name", j.Name}, {"scheduler", j.Scheduler}} {
		if required.value == "" {
			f.failAt(start, "the job has no %s", required.field)
		}
	}
	if j.GangMin > j.Tasks {
		f.failAt(gang, "gang.min: %d is more than the job's %d tasks", j.GangMin, j.Tasks)
	}
	if len(j.Task.Command) == 0 && j.Task.Driver != "emulated" {
		f.failAt(task, "the task has no command")
	}
	fillDefaults(j)
	return j
}

// fillDefaults sets what the form leaves out, to what the comments in cellstate state.
func fillDefaults(j *cellstate.Job) {
	if j.Precedence < 0 {
		j.Precedence = cellstate.BandBatch.Lowest()
		if j.Scheduler == "service" {
			j.Precedence = cellstate.BandProduction.Lowest()
		}
	}
	t := &j.Task
	t.StopSignal = cmp.Or(t.StopSignal, "SIGTERM")
	t.StopGrace = cmp.Or(t.StopGrace, 10*time.Second)
	t.Restart.BackoffMin = cmp.Or(t.Restart.BackoffMin, min(time.Second, cmp.Or(t.Restart.BackoffMax, time.Second)))
	t.Restart.BackoffMax = cmp.Or(t.Restart.BackoffMax, max(time.Minute, t.Restart.BackoffMin))
	if h := t.Health; h != nil {
		h.Interval = cmp.Or(h.Interval, 5*time.Second)
		h.Timeout = cmp.Or(h.Timeout, 2*time.Second)
		h.Failures = cmp.Or(h.Failures, 3)
	}
	t.Logs.MaxBytes = cmp.Or(t.Logs.MaxBytes, 10<<20)
	t.Logs.Files = cmp.Or(t.Logs.Files, 2)
	for i := range j.Spread {
		j.Spread[i].Weight = cmp.Or(j.Spread[i].Weight, 50)
	}
	j.Update.MaxParallel = cmp.Or(j.Update.MaxParallel, 1)
	j.Update.HealthyFor = cmp.Or(j.Update.HealthyFor, 5*time.Second)
	j.Update.HealthTimeout = cmp.Or(j.Update.HealthTimeout, 5*time.Minute)
	j.Disconnect.ReplaceAfter = cmp.Or(j.Disconnect.ReplaceAfter, time.Minute)
}

// precedence reads a band's name, which stands for the lowest of the band, or a number.
func (f *form) precedence(to *cellstate.Precedence) func(ast.Node) {
	return func(n ast.Node) {
		s, _ := text(n)
		var names []string
		for _, b := range cellstate.Bands() {
			if s == b.String() {
				*to = b.Lowest()
				return
			}
			names = append(names, b.String())
		}
		v, ok := whole(n)
		if !ok || v < 0 || v > int64(cellstate.MaxPrecedence) {
			f.fail(n, "precedence: want %s or a number from 0 to %d, not %s", strings.Join(names, ", "), cellstate.MaxPrecedence, describe(n))
			return
		}
		*to = cellstate.Precedence(v)
	}
}

// choice reads one of a few values by its name.
func choice[T fmt.Stringer](f *form, what string, values []T, to *T) func(ast.Node) {
	return func(n ast.Node) {
		s, _ := text(n)
		var names []string
		for _, v := range values {
			if s == v.String() {
				*to = v
				return
			}
			names = append(names, v.String())
		}
		f.fail(n, "%s: want one of %s, not %s", what, strings.Join(names, ", "), describe(n))
	}
}

func (f *form) task(n ast.Node, t *cellstate.TaskSpec) {
	f.fields(n, "task", readers{
		"driver":     f.checked("task.driver", &t.Driver, cellstate.CheckName),
		"command":    f.command("task.command", &t.Command),
		"env":        func(n ast.Node) { f.env(n, t) },
		"dir":        f.word("task.dir", &t.Dir),
		"user":       f.word("task.user", &t.User),
		"resources":  func(n ast.Node) { f.resources(n, &t.Resources) },
		"maxRunTime": f.duration("task.maxRunTime", &t.MaxRunTime),
		"stop": func(n ast.Node) {
			f.fields(n, "task.stop", readers{
				"signal": f.signal(&t.StopSignal),
				"grace":  f.duration("task.stop.grace", &t.StopGrace),
			})
		},
		"restart": func(n ast.Node) { f.restart(n, &t.Restart) },
		"health":  func(n ast.Node) { f.health(n, t) },
		"logs": func(n ast.Node) {
			f.fields(n, "task.logs", readers{
				"maxSize": f.atLeast(4096, "task.logs.maxSize", &t.Logs.MaxBytes),
				"files":   f.uint("task.logs.files", 1, &t.Logs.Files),
			})
		},
	})
	size := 0
	for _, w := range t.Command {
		size += len(w) + 1
	}
	for k, v := range t.Env {
		size += len(k) + 1 + len(v) + 1
	}
	if size > MaxCommandBytes {
		f.fail(n, "task: command and env have %d bytes together, more than the limit of %d", size, MaxCommandBytes)
	}
}

// command reads an argument vector. A single string would leave open who splits it.
func (f *form) command(what string, to *[]string) func(ast.Node) {
	return func(n ast.Node) {
		if s, ok := text(n); ok {
			f.fail(n, `%s: want a list such as [sleep, "10"], or ["sh", "-c", …] for a shell line, not the text %s`, what, describe(&ast.StringNode{Value: s}))
			return
		}
		f.words(what, to)(n)
		if f.err == nil && (len(*to) == 0 || (*to)[0] == "") {
			f.fail(n, "%s: it names no program", what)
		}
	}
}

func (f *form) env(n ast.Node, t *cellstate.TaskSpec) {
	t.Env = make(map[string]string)
	f.entries(n, "task.env", func(key string, k, v ast.Node) {
		switch {
		case key == "" || strings.ContainsAny(key, "=\x00"):
			f.fail(k, "task.env: %q is no name for a variable", key)
		case strings.HasPrefix(key, "OMEGACELL_"):
			f.fail(k, "task.env: %s: names that begin with OMEGACELL_ are set by the agent", key)
		default:
			var s string
			f.text("task.env."+key, &s)(v)
			t.Env[key] = s
		}
	})
}

func (f *form) resources(n ast.Node, r *cellstate.Resources) {
	f.fields(n, "task.resources", readers{
		"cpu":     f.amount("task.resources.cpu", milliUnits(), &r.CPUMilli),
		"memory":  f.amount("task.resources.memory", byteUnits(), &r.MemBytes),
		"disk":    f.amount("task.resources.disk", byteUnits(), &r.DiskBytes),
		"network": f.amount("task.resources.network", bitUnits(), &r.NetBitsPerSecond),
		"gpu": func(n ast.Node) {
			f.amount("task.resources.gpu", milliUnits(), &r.GPUMilli)(n)
			if g := (cellstate.Resources{GPUMilli: r.GPUMilli}); f.err == nil && g.Check() != nil {
				f.fail(n, "task.resources: %s", message(g.Check()))
			}
		},
		"extended": func(n ast.Node) {
			amounts := make(map[string]int64)
			f.entries(n, "task.resources.extended", func(key string, k, v ast.Node) {
				if key == "" {
					f.fail(k, "task.resources.extended: a name is empty")
				}
				f.count("task.resources.extended."+key, 1, cellstate.MaxAmount, func(n int64) { amounts[key] = n })(v)
			})
			for _, name := range sortedKeys(amounts) {
				r.Extended = append(r.Extended, cellstate.Extended{Name: name, Amount: amounts[name]})
			}
		},
	})
}

// signal reads the name of a signal, with or without SIG.
func (f *form) signal(to *string) func(ast.Node) {
	return func(n ast.Node) {
		s, _ := text(n)
		name := strings.ToUpper(s)
		if !strings.HasPrefix(name, "SIG") {
			name = "SIG" + name
		}
		if unix.SignalNum(name) == 0 {
			f.fail(n, "task.stop.signal: want the name of a signal such as SIGTERM, not %s", describe(n))
			return
		}
		*to = name
	}
}

func (f *form) restart(n ast.Node, r *cellstate.RestartPolicy) {
	f.fields(n, "task.restart", readers{
		"when":       choice(f, "task.restart.when", []cellstate.RestartWhen{cellstate.RestartNever, cellstate.RestartOnFailure, cellstate.RestartAlways}, &r.When),
		"max":        f.uint("task.restart.max", 0, &r.Max),
		"backoffMin": f.duration("task.restart.backoffMin", &r.BackoffMin),
		"backoffMax": f.duration("task.restart.backoffMax", &r.BackoffMax),
	})
	if r.BackoffMax != 0 && r.BackoffMin > r.BackoffMax {
		f.fail(n, "task.restart: backoffMin %s is more than backoffMax %s", r.BackoffMin, r.BackoffMax)
	}
}

func (f *form) health(n ast.Node, t *cellstate.TaskSpec) {
	h := &cellstate.HealthCheck{}
	t.Health = h
	f.fields(n, "task.health", readers{
		"command":  f.command("task.health.command", &h.Command),
		"http":     f.checked("task.health.http", &h.HTTP, checkURL),
		"tcp":      f.checked("task.health.tcp", &h.TCP, checkAddress),
		"interval": f.duration("task.health.interval", &h.Interval),
		"timeout":  f.duration("task.health.timeout", &h.Timeout),
		"failures": f.uint("task.health.failures", 1, &h.Failures),
	})
	kinds := 0
	for _, set := range []bool{len(h.Command) > 0, h.HTTP != "", h.TCP != ""} {
		if set {
			kinds++
		}
	}
	if kinds != 1 {
		f.fail(n, "task.health: want exactly one of command, http and tcp, not %d of them", kinds)
	}
}

func checkURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("want a URL such as http://127.0.0.1:8080/health, not %q", s)
	}
	return nil
}

func checkAddress(s string) error {
	host, port, err := net.SplitHostPort(s)
	p, perr := strconv.ParseUint(port, 10, 16)
	if err != nil || host == "" || perr != nil || p == 0 {
		return fmt.Errorf("want an address such as 127.0.0.1:8080, not %q", s)
	}
	return nil
}

// atLeast reads a size from least up.
func (f *form) atLeast(least int64, what string, to *int64) func(ast.Node) {
	read := f.amount(what, byteUnits(), to)
	return func(n ast.Node) {
		if read(n); f.err == nil && *to < least {
			f.fail(n, "%s: want %s at least, not %s", what, cellstate.Bytes(least), describe(n))
		}
	}
}

func (f *form) update(n ast.Node, u *cellstate.UpdatePolicy) {
	f.fields(n, "update", readers{
		"maxParallel":   f.uint("update.maxParallel", 1, &u.MaxParallel),
		"healthyFor":    f.duration("update.healthyFor", &u.HealthyFor),
		"healthTimeout": f.duration("update.healthTimeout", &u.HealthTimeout),
	})
}

func (f *form) disconnect(n ast.Node, d *cellstate.DisconnectPolicy) {
	replace := f.duration("disconnect.replaceAfter", &d.ReplaceAfter)
	f.fields(n, "disconnect", readers{
		"stopAfter": f.duration("disconnect.stopAfter", &d.StopAfter),
		"replaceAfter": func(n ast.Node) {
			if s, _ := text(n); s == never {
				d.ReplaceAfter = neverReplace
				return
			}
			replace(n)
		},
	})
}

// How the form and the cell say that tasks of a lost machine are never replaced.
const (
	never        = "never"
	neverReplace = -time.Second // any negative one
)

// message is what err says, without its kind: here every error is of the one kind.
func message(err error) string {
	s := err.Error()
	if errors.Is(err, cellstate.ErrInvalid) {
		s = strings.TrimSuffix(s, ": "+cellstate.ErrInvalid.Error())
	}
	return s
}
