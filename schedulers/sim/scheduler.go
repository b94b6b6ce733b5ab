package sim

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
)

// scheduler decides about one job at a time, in the order in which they were queued.
type scheduler struct {
	tally
	id    int
	name  string
	class Class // 0: both
	queue fifo
	rng   *rand.Rand

	job   *job  // being decided about; nil where it is idle
	began clock // when that decision did
	took  clock // so far, and what is left of it
}

// newSchedulers returns those of a run, batch ones first.
func newSchedulers(cfg *Config) []*scheduler {
	var out []*scheduler
	add := func(name string, c Class) {
		id := len(out)
		out = append(out, &scheduler{id: id, name: name, class: c, rng: rand.New(rand.NewPCG(cfg.Seed, uint64(id)))})
	}
	switch cfg.Architecture {
	case MonolithicSinglePath, MonolithicMultiPath:
		add("monolithic", 0)
	default:
		for _, c := range Classes() {
			for i := range *cfg.Schedulers.Of(c) {
				add(fmt.Sprintf("%s-%d", c, i), c)
			}
		}
	}
	return out
}

// job is a Job on its way.
type job struct {
	*Job
	id        int32
	scheduler int32
	left      int // tasks to be placed
	attempts  int
	enqueued  clock // when it last was
	first     clock // time queued until the first decision
	queued    clock // all the time queued
}

// deal gives each job its scheduler, and orders them by submission.
func deal(jobs []Job, schedulers []*scheduler) ([]job, error) {
	of := make(map[Class][]int32)
	for _, s := range schedulers {
		for _, c := range Classes() {
			if s.class == c || s.class == 0 {
				of[c] = append(of[c], int32(s.id))
			}
		}
	}
	out := make([]job, 0, len(jobs))
	for _, c := range Classes() {
		for i := range jobs {
			j := &jobs[i]
			if err := j.Check(); err != nil {
				return nil, err
			}
			if j.Class == c {
				out = append(out, job{Job: j, scheduler: of[c][len(out)%len(of[c])], left: j.Tasks})
			}
		}
	}
	slices.SortStableFunc(out, func(a, b job) int { return cmp.Compare(a.Submit, b.Submit) })
	for i := range out {
		out[i].id = int32(i)
	}
	return out, nil
}

// think is what s takes to decide about j.
func (w *world) think(s *scheduler, j *job) Think {
	if w.cfg.Architecture == MonolithicSinglePath {
		return w.cfg.Think.Service
	}
	return *w.cfg.Think.Of(j.Class)
}

// enqueue puts a job at the end of its scheduler's queue.
func (w *world) enqueue(j *job) {
	s := w.schedulers[j.scheduler]
	j.enqueued = w.now
	s.queue.push(j)
	if s.job == nil {
		w.rules.wake(s)
	}
}

// take lets s begin to decide about the first job of its queue. There must be one.
func (w *world) take(s *scheduler) *job {
	j := s.queue.pop()
	waited := w.now - j.enqueued
	j.queued += waited
	if j.attempts == 0 {
		j.first += waited
	}
	s.job, s.began, s.took = j, w.now, 0
	return j
}

// ponder lets s take d more for its decision.
func (w *world) ponder(s *scheduler, d clock) {
	s.took += d
	w.agenda.add(w.now+d, decided, int32(s.id))
}

// rest makes s idle, and wakes it for the next job.
func (w *world) rest(s *scheduler) {
	s.job = nil
	if !s.queue.empty() {
		w.rules.wake(s)
	}
}

// count lets f count something of s's decision about j, for the scheduler and for the class.
func (w *world) count(s *scheduler, j *job, f func(*tally)) {
	f(&s.tally)
	f(w.classes.Of(j.Class))
}

// fifo is a queue of jobs.
type fifo struct {
	list []*job
	head int
}

func (q *fifo) empty() bool { return q.head == len(q.list) }

func (q *fifo) len() int { return len(q.list) - q.head }

func (q *fifo) push(j *job) { q.list = append(q.list, j) }

func (q *fifo) pop() *job {
	j := q.list[q.head]
	q.list[q.head] = nil
	q.head++
	if q.head >= 64 && 2*q.head >= len(q.list) {
		q.list = q.list[:copy(q.list, q.list[q.head:])]
		q.head = 0
	}
	return j
}

// started counts n tasks of j as placed and lets them end in time; fill says where they run.
func (w *world) started(s *scheduler, j *job, n int, fill func(*ending)) {
	if n == 0 {
		return
	}
	w.count(s, j, func(t *tally) { t.TasksOK += n })
	id, e := w.endings.begin(s.id, j.Demand)
	fill(e)
	j.left -= n
	w.placements += int64(n)
	w.use.change(w.now, &j.Demand, int64(n))
	if j.Duration < 0 {
		w.endings.release(id)
	} else {
		w.agenda.add(w.now+clockOf(j.Duration), ended, id)
	}
}

// tried counts an attempt that sent so many claims, of which so many were refused, after time was wasted on others.
func (w *world) tried(s *scheduler, j *job, sent, refused int, wasted clock) {
	w.count(s, j, func(t *tally) {
		t.TasksLost += refused
		t.busy.add(s.began, s.took, w.horizon)
		switch {
		case sent == 0:
			t.NoFit++
			t.noRoom.add(s.began, s.took, w.horizon)
		case refused > 0:
			t.TxFailed++
			t.wasted.add(s.began, s.took, w.horizon)
		default:
			t.TxOK++
			t.wasted.add(s.began+s.took-wasted, wasted, w.horizon)
		}
	})
}

// givenUp reports whether a job has been tried so often that it is abandoned.
func (w *world) givenUp(s *scheduler, j *job) bool {
	if j.attempts < w.cfg.Attempts && (j.left < j.Tasks || 10*j.attempts < w.cfg.Attempts) {
		return false
	}
	w.count(s, j, func(t *tally) { t.Abandoned++ })
	return true
}
