package jobfile

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/omegacell/omegacell/cellstate"
)

// Format writes a job as a document that [Parse] reads back as the same job, but for what submission decides. What is zero is
// left out. The library's encoder is not used: it writes some texts, such as a lone tab, so that they read back as others.
func Format(j *cellstate.Job) []byte {
	w := &writer{}
	w.text("name", j.Name)
	w.text("scheduler", j.Scheduler)
	w.text("tenant", j.Tenant)
	w.raw("precedence", precedenceName(j.Precedence))
	w.number("tasks", int64(j.Tasks))
	w.group("gang", func() { w.number("min", int64(j.GangMin)) })
	w.group("task", func() { w.task(&j.Task) })
	w.list("constraints", len(j.Constraints), func(i int) { w.constraint(j.Constraints[i]) })
	w.list("affinities", len(j.Affinities), func(i int) {
		w.constraint(j.Affinities[i].Constraint)
		w.number("weight", int64(j.Affinities[i].Weight))
	})
	w.list("spread", len(j.Spread), func(i int) {
		w.text("attribute", j.Spread[i].Attribute)
		w.number("weight", int64(j.Spread[i].Weight))
		w.number("maxSkew", int64(j.Spread[i].MaxSkew))
	})
	if j.Packing != 0 {
		w.raw("packing", j.Packing.String())
	}
	w.number("retries", int64(j.Retries))
	w.group("update", func() {
		w.number("maxParallel", int64(j.Update.MaxParallel))
		w.duration("healthyFor", j.Update.HealthyFor)
		w.duration("healthTimeout", j.Update.HealthTimeout)
	})
	w.group("disconnect", func() {
		w.duration("stopAfter", j.Disconnect.StopAfter)
		if j.Disconnect.ReplaceAfter < 0 {
			w.raw("replaceAfter", never)
		} else {
			w.duration("replaceAfter", j.Disconnect.ReplaceAfter)
		}
	})
	return w.out.Bytes()
}

func precedenceName(p cellstate.Precedence) string {
	if p == p.Band().Lowest() {
		return p.Band().String()
	}
	return strconv.Itoa(int(p))
}

func (w *writer) task(t *cellstate.TaskSpec) {
	w.text("driver", t.Driver)
	w.texts("command", t.Command)
	w.group("env", func() {
		for _, k := range sortedKeys(t.Env) {
			w.raw(scalar(k), scalar(t.Env[k]))
		}
	})
	w.text("dir", t.Dir)
	w.text("user", t.User)
	w.group("resources", func() {
		r := &t.Resources
		w.amount("cpu", r.CPUMilli, formatMilli)
		w.amount("memory", r.MemBytes, cellstate.Bytes)
		w.amount("disk", r.DiskBytes, cellstate.Bytes)
		w.amount("network", r.NetBitsPerSecond, cellstate.Bits)
		w.amount("gpu", r.GPUMilli, formatMilli)
		w.group("extended", func() {
			for _, e := range r.Extended {
				w.number(scalar(e.Name), e.Amount)
			}
		})
	})
	w.group("stop", func() {
		w.text("signal", t.StopSignal)
		w.duration("grace", t.StopGrace)
	})
	w.duration("maxRunTime", t.MaxRunTime)
	w.group("restart", func() {
		if t.Restart.When != 0 {
			w.raw("when", t.Restart.When.String())
		}
		w.number("max", int64(t.Restart.Max))
		w.duration("backoffMin", t.Restart.BackoffMin)
		w.duration("backoffMax", t.Restart.BackoffMax)
	})
	if h := t.Health; h != nil {
		w.group("health", func() {
			w.texts("command", h.Command)
			w.text("http", h.HTTP)
			w.text("tcp", h.TCP)
			w.duration("interval", h.Interval)
			w.duration("timeout", h.Timeout)
			w.number("failures", int64(h.Failures))
		})
	}
	w.group("logs", func() {
		w.amount("maxSize", t.Logs.MaxBytes, cellstate.Bytes)
		w.number("files", int64(t.Logs.Files))
	})
}

func (w *writer) constraint(c cellstate.Constraint) {
	w.text("attribute", c.Attribute)
	w.raw("op", scalar(c.Op.String()))
	switch {
	case c.Op == cellstate.OpIn || c.Op == cellstate.OpNotIn:
		w.texts("values", c.Values)
	case len(c.Values) > 0:
		w.raw("value", scalar(c.Values[0]))
	}
}

// writer writes block YAML. Fields that are zero and groups without fields are left out.
type writer struct {
	out    bytes.Buffer
	indent string // before the next field, used once where it ends in a dash
}

func (w *writer) raw(name, value string) {
	w.out.WriteString(w.indent + name + ": " + value + "\n")
	w.indent = strings.ReplaceAll(w.indent, "-", " ")
}

func (w *writer) text(name, value string) {
	if value != "" {
		w.raw(name, scalar(value))
	}
}

func (w *writer) number(name string, n int64) {
	if n != 0 {
		w.raw(name, strconv.FormatInt(n, 10))
	}
}

func (w *writer) amount(name string, n int64, format func(int64) string) {
	if n != 0 {
		w.raw(name, format(n))
	}
}

func (w *writer) duration(name string, d time.Duration) {
	if d != 0 {
		w.raw(name, formatDuration(d))
	}
}

func (w *writer) texts(name string, list []string) {
	if len(list) == 0 {
		return
	}
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = scalar(s)
	}
	w.raw(name, "["+strings.Join(quoted, ", ")+"]")
}

func (w *writer) group(name string, fields func()) {
	before, indent := w.out.Len(), w.indent
	w.out.WriteString(indent + name + ":\n")
	w.indent = strings.ReplaceAll(indent, "-", " ") + "  "
	empty := w.out.Len()
	fields()
	w.indent = strings.ReplaceAll(indent, "-", " ")
	if w.out.Len() == empty {
		w.out.Truncate(before)
		w.indent = indent
	}
}

func (w *writer) list(name string, n int, item func(i int)) {
	if n == 0 {
		return
	}
	indent := w.indent
	w.out.WriteString(indent + name + ":\n")
	for i := range n {
		w.indent = indent + "  - "
		item(i)
	}
	w.indent = indent
}

// scalar writes a text plain where nobody could take it for anything else, and else as JSON, which YAML includes.
func scalar(s string) string {
	if plain(s) {
		return s
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		panic("jobfile: a string has no JSON form: " + err.Error())
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func plain(s string) bool {
	switch strings.ToLower(s) {
	case "null", "true", "false", "yes", "no", "on", "off", "y", "n":
		return false
	}
	for i, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '_' || r == '/'
		if !letter && (i == 0 || (r < '0' || r > '9') && r != '.' && r != '-') {
			return false
		}
	}
	return s != ""
}

// formatDuration is d.String() without zero units at its end: "10m", not "10m0s".
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
