package sim

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/omegacell/omegacell/cellstate"
)

// Run simulates the jobs on the cell. Jobs may be in any order; among those submitted at one time the order given counts, and
// so it does where jobs are dealt out: one counter deals all batch jobs round robin, then all service jobs. It ends early
// only when ctx does, with its error.
func Run(ctx context.Context, cfg Config, jobs []Job) (Result, error) {
	w, err := newWorld(cfg, jobs)
	if err != nil {
		return Result{}, err
	}
	for w.step() {
		if w.events%1024 == 0 && ctx.Err() != nil {
			return Result{}, ctx.Err()
		}
	}
	return w.result(), nil
}

// world is the state of one run.
type world struct {
	cfg        Config
	horizon    clock
	now        clock
	agenda     agenda
	jobs       []job // by submission
	submitted  int
	schedulers []*scheduler
	classes    PerClass[tally]
	rules      rules
	endings    endings
	use        use
	placements int64
	events     int64
}

// rules are what differs between architectures and their imitations.
type rules interface {
	// wake is called when a scheduler that is not deciding has a job in its queue.
	wake(s *scheduler)
	// decide is called at the end of the decision time that a scheduler took.
	decide(s *scheduler)
	// offer is called when the allocator's time for an offer is over.
	offer()
	// free gives back what the tasks held that end now.
	free(e *ending)
	// fill lets a task run on machine i if it has room there, before the run begins.
	fill(i int, demand *cellstate.Resources) (task, bool)
}

func newWorld(cfg Config, jobs []Job) (*world, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if len(jobs) > MaxJobs {
		return nil, fmt.Errorf("sim: %d jobs, more than %d: %w", len(jobs), MaxJobs, cellstate.ErrInvalid)
	}
	w := &world{cfg: cfg, horizon: clockOf(cfg.Horizon), use: newUse(&cfg), schedulers: newSchedulers(&cfg)}
	if w.jobs, err = deal(jobs, w.schedulers); err != nil {
		return nil, err
	}
	for i := range cfg.Prefill {
		if err := cfg.Prefill[i].Check(); err != nil {
			return nil, fmt.Errorf("prefill: %w", err)
		}
	}
	switch {
	case cfg.Compat == CompatGoogle:
		w.rules = newGoogle(w)
	case cfg.Architecture == TwoLevel:
		w.rules = newOffers(w)
	default:
		w.rules = newShared(w)
	}
	w.prefill()
	return w, nil
}

// prefill lets the tasks run that are there from the beginning on, each on a random machine of those with room.
func (w *world) prefill() {
	rng := rand.New(rand.NewPCG(w.cfg.Seed, math.MaxUint64))
	for i := range w.cfg.Prefill {
		j := &w.cfg.Prefill[i]
		id, e := w.endings.begin(-1, j.Demand)
		machines := rng.Perm(len(w.cfg.Machines))
		for n := 0; n < j.Tasks && len(machines) > 0; {
			k := rng.IntN(len(machines))
			if t, ok := w.rules.fill(machines[k], &j.Demand); ok {
				e.tasks = append(e.tasks, t)
				n++
				continue
			}
			machines[k] = machines[len(machines)-1]
			machines = machines[:len(machines)-1]
		}
		slices.SortFunc(e.tasks, func(a, b task) int { return int(a.machine - b.machine) })
		w.use.change(0, &j.Demand, int64(len(e.tasks)))
		if j.Duration < 0 {
			w.endings.release(id)
		} else {
			w.agenda.add(clockOf(j.Duration), ended, id)
		}
	}
}

// step lets the next event happen; false where there is none within the run.
func (w *world) step() bool {
	at, more := w.agenda.next()
	if w.submitted < len(w.jobs) {
		j := &w.jobs[w.submitted]
		if submit := clockOf(j.Submit); !more || submit <= at {
			if !w.advance(submit) {
				return false
			}
			w.submitted++
			w.submit(j)
			return true
		}
	}
	if !more || !w.advance(at) {
		return false
	}
	switch e := w.agenda.pop(); e.kind {
	case decided:
		w.rules.decide(w.schedulers[e.id])
	case requeue:
		w.enqueue(&w.jobs[e.id])
	case ended:
		x := w.endings.of(e.id)
		w.use.change(w.now, &x.demand, -int64(len(x.tasks)))
		w.rules.free(x)
		w.endings.release(e.id)
	case offered:
		w.rules.offer()
	}
	return true
}

// advance sets the clock; false where that is after the run.
func (w *world) advance(to clock) bool {
	if to > w.horizon {
		return false
	}
	w.now = to
	w.events++
	return true
}

func (w *world) submit(j *job) {
	s := w.schedulers[j.scheduler]
	alone := w.think(s, j).over(j.Tasks)
	w.count(s, j, func(t *tally) { t.noConflict.add(w.now, alone, w.horizon) })
	w.enqueue(j)
}

// result sums the run up.
func (w *world) result() Result {
	h := w.horizon
	w.use.upTo(h)
	for _, s := range w.schedulers {
		if s.job != nil && w.cfg.Compat != CompatGoogle { // which counts decisions when they end
			w.count(s, s.job, func(t *tally) { t.busy.add(s.began, h-s.began, h) })
		}
	}
	out := Result{
		Horizon: w.cfg.Horizon, Usage: w.use.samples, Placements: w.placements, Events: w.events,
		CPU: share(w.use.cpuTime, w.use.cpuAll*float64(h)), Memory: share(w.use.memTime, w.use.memAll*float64(h)),
	}
	for _, s := range w.schedulers {
		out.Schedulers = append(out.Schedulers, SchedulerResult{Name: s.name, Class: s.class, Tally: s.result(h, 1), QueueEnd: s.queue.len()})
	}
	for _, c := range Classes() {
		*out.Classes.Of(c) = w.classResult(c)
	}
	return out
}

func (w *world) classResult(c Class) ClassResult {
	var out ClassResult
	for _, s := range w.schedulers {
		if s.class == c || s.class == 0 {
			out.Schedulers++
			for _, j := range s.queue.list[s.queue.head:] {
				if j.Class == c {
					out.QueueEnd++
				}
			}
		}
	}
	out.Tally = w.classes.Of(c).result(w.horizon, out.Schedulers)
	var first, full []clock
	attempts := 0
	for i := range w.jobs[:w.submitted] {
		j := &w.jobs[i]
		if j.Class != c {
			continue
		}
		out.Jobs++
		if j.left == 0 {
			out.Placed++
		}
		if j.attempts > 0 {
			out.Attempted++
			attempts += j.attempts
			first, full = append(first, j.first), append(full, j.queued)
		}
	}
	out.WaitFirst, out.WaitFull = waitOf(first), waitOf(full)
	if out.Attempted > 0 {
		out.AttemptsMean = float64(attempts) / float64(out.Attempted)
	}
	return out
}
