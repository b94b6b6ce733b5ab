package agent

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/omegacell/omegacell/cellstate"
)

// LogKeeper is implemented by drivers that keep what tasks print.
type LogKeeper interface {
	// LogFiles returns the files that hold a task's output, oldest first; stream is "stdout" or "stderr". Before each rotation
	// the last of them is copied to what becomes the one before it, and cut to nothing.
	LogFiles(id cellstate.ClaimID, stream string) ([]string, error)
}

// LogIndex is implemented by drivers that can say which tasks they still have logs of, also after Forget.
type LogIndex interface {
	Logged() ([]cellstate.ClaimID, error)
}

// Logs serves what the tasks of some agents print:
//
//	GET /logs                             the claims that there may be logs of, one a line, sorted
//	GET /logs/<scheduler>/<job>/<task>    one task's output, as plain text
//
// with the query attempt= and run= (hexadecimal; without them the latest one), stream=stdout|stderr, tail=N for the last N
// lines only, and follow=1 to go on until the task has ended; an answer that is broken off says that the agent ended before the
// task. The header Omegacell-Claim says whose output it is.
func Logs(agents ...*Agent) http.Handler {
	l := logs(agents)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /logs", l.list)
	mux.HandleFunc("GET /logs/{scheduler}/{job}/{task}", l.show)
	return mux
}

type logs []*Agent

// logged lists the claims that an agent may have logs of, sorted.
func (a *Agent) logged() []cellstate.ClaimID {
	var ids []cellstate.ClaimID
	if r := a.current.Load(); r != nil {
		for i := range r.Claims {
			ids = append(ids, r.Claims[i].ID)
		}
	}
	if x, ok := a.cfg.Driver.(LogIndex); ok {
		if more, err := x.Logged(); err == nil {
			ids = append(ids, more...)
		}
	}
	slices.SortFunc(ids, cellstate.ClaimID.Compare)
	return slices.Compact(ids)
}

func (l logs) list(w http.ResponseWriter, _ *http.Request) {
	var all []cellstate.ClaimID
	for _, a := range l {
		all = append(all, a.logged()...)
	}
	slices.SortFunc(all, cellstate.ClaimID.Compare)
	for _, id := range slices.Compact(all) {
		if _, err := fmt.Fprintln(w, id); err != nil {
			return
		}
	}
}

// query is what was asked for.
type query struct {
	id      cellstate.ClaimID
	anyRun  bool
	anyTry  bool
	stream  string
	tail    int64 // lines; negative: all
	follow  bool
	problem string
}

func parseQuery(r *http.Request) query {
	q := query{stream: "stdout", tail: -1, id: cellstate.ClaimID{Scheduler: r.PathValue("scheduler"), Job: r.PathValue("job")}}
	number := func(name, text string, base, bits int) uint64 {
		n, err := strconv.ParseUint(text, base, bits)
		if err != nil && q.problem == "" {
			q.problem = fmt.Sprintf("%s %q is not a number from 0 to %d", name, text, uint64(1)<<bits-1)
		}
		return n
	}
	q.id.Task = uint32(number("task", r.PathValue("task"), 10, 32))
	v := r.URL.Query()
	if q.anyRun = !v.Has("run"); !q.anyRun {
		q.id.Run = uint32(number("run", v.Get("run"), 16, 32))
	}
	if q.anyTry = !v.Has("attempt"); !q.anyTry {
		q.id.Attempt = uint32(number("attempt", v.Get("attempt"), 10, 32))
	}
	if v.Has("tail") {
		q.tail = int64(number("tail", v.Get("tail"), 10, 31))
	}
	if v.Has("stream") {
		q.stream = v.Get("stream")
	}
	if q.stream != "stdout" && q.stream != "stderr" && q.problem == "" {
		q.problem = fmt.Sprintf("stream %q is neither stdout nor stderr", q.stream)
	}
	q.follow = v.Has("follow") && v.Get("follow") != "0" && v.Get("follow") != "false"
	return q
}

func (q *query) matches(id cellstate.ClaimID) bool {
	return id.Scheduler == q.id.Scheduler && id.Job == q.id.Job && id.Task == q.id.Task &&
		(q.anyRun || id.Run == q.id.Run) && (q.anyTry || id.Attempt == q.id.Attempt)
}

// find returns the latest claim that q asks for, and whose it is.
func (l logs) find(q query) (*Agent, cellstate.ClaimID) {
	if !q.anyRun && !q.anyTry { // perhaps nobody lists it any more, but its files are there
		for _, a := range l {
			if k, ok := a.cfg.Driver.(LogKeeper); ok {
				if files, err := k.LogFiles(q.id, q.stream); err == nil && len(files) > 0 {
					return a, q.id
				}
			}
		}
	}
	var owner *Agent
	var best cellstate.ClaimID
	var bestAt cellstate.Instant
	for _, a := range l {
		for _, id := range a.logged() {
			if !q.matches(id) {
				continue
			}
			at := a.lastSeen(id, q.stream)
			if owner == nil || cmp.Or(cmp.Compare(at, bestAt), cmp.Compare(id.Attempt, best.Attempt)) > 0 {
				owner, best, bestAt = a, id, at
			}
		}
	}
	return owner, best
}

// lastSeen orders tasks of one number by time: when it started, or else wrote last.
func (a *Agent) lastSeen(id cellstate.ClaimID, stream string) cellstate.Instant {
	if s := a.current.Load().Find(id); s != nil {
		return s.StartedAt
	}
	if k, ok := a.cfg.Driver.(LogKeeper); ok {
		if files, err := k.LogFiles(id, stream); err == nil && len(files) > 0 {
			if st, err := os.Stat(files[len(files)-1]); err == nil {
				return cellstate.InstantOf(st.ModTime())
			}
		}
	}
	return 0
}

// over reports whether no more output of a task can come.
func (a *Agent) over(id cellstate.ClaimID) bool {
	s := a.current.Load().Find(id)
	return s == nil || s.Phase == cellstate.PhaseEnded
}

func (l logs) show(w http.ResponseWriter, r *http.Request) {
	q := parseQuery(r)
	if q.problem != "" {
		http.Error(w, q.problem, http.StatusBadRequest)
		return
	}
	a, id := l.find(q)
	if a == nil {
		http.Error(w, fmt.Sprintf("no logs of task %s/%s/%d here", q.id.Scheduler, q.id.Job, q.id.Task), http.StatusNotFound)
		return
	}
	k, ok := a.cfg.Driver.(LogKeeper)
	if !ok {
		http.Error(w, fmt.Sprintf("driver %s keeps no logs", a.cfg.Driver.Name()), http.StatusNotFound)
		return
	}
	t := tailer{files: func() ([]string, error) { return k.LogFiles(id, q.stream) }, out: w}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Omegacell-Claim", id.String())
	if err := t.begin(q.tail); err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	out := http.NewResponseController(w)
	_ = out.Flush() // of no use where it cannot
	if q.follow && !a.goOn(r.Context(), &t, id, out) {
		panic(http.ErrAbortHandler) // the way to tell the client that this is not the end
	}
}

// logPoll is the time between two looks at a log that is followed: one stat of each file.
const logPoll = 200 * time.Millisecond

// goOn sends what is written until the task has ended and all of it is sent, or nobody listens. It is false where it ends before that.
func (a *Agent) goOn(ctx context.Context, t *tailer, id cellstate.ClaimID, out *http.ResponseController) bool {
	tick := time.NewTicker(logPoll)
	defer tick.Stop()
	for {
		over := a.over(id)
		sent, err := t.more()
		if err != nil || over && !sent && !t.unsettled() {
			return err == nil
		}
		if sent {
			_ = out.Flush()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return true
		case <-a.done:
			return a.over(id)
		}
	}
}
