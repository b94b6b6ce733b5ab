package sim

import "github.com/omegacell/omegacell/cellstate"

// googlePause is how long a job waits that was not fully placed, in seconds.
const googlePause = clock(1)

// google imitates Google's cluster-scheduler-simulator (commit b882f26) with schedulers that share state:
//
//   - The private copy of the cell is taken when the decision begins; machines are chosen at its end, then committed.
//   - A task goes to the first machine that has room, drawn uniformly from a list of candidates. One without room is swapped
//     behind the end of the list, which shrinks for the rest of the attempt but keeps its order for the next. All schedulers
//     draw the same sequence of numbers, that of java.util.Random.
//   - Each claim raises the machine's sequence number; the end of a task does not. A claim conflicts by sequence number if the
//     number is not the one that the private copy had, where the attempt's own claims on the machine count too: so one
//     that follows a refused one on the same machine is taken for unchanged, and the machine given more than it has.
//   - All-or-nothing stops at the first conflict. It gives back what was claimed until then and leaves the numbers raised; what
//     was given back counts as refused, and what was not reached as nothing.
//   - A job not fully placed goes to the back of the queue after a second. It is given up after more than 100 attempts with
//     nothing placed, or more than 1,000.
//   - An attempt that finds no machine counts neither as useful nor as wasted time.
type google struct {
	w       *world
	cell    *timeline[bare]
	drawers []drawer // by scheduler

	// The machines that the present attempt has chosen from, with its own claims on them; of which the stamp is the attempt's.
	own     []bare
	stamp   []uint32
	attempt uint32
	chosen  []chosen // scratch
	claimed ending   // scratch
}

// bare is all that this simulator knows of a machine.
type bare struct {
	free cellstate.Resources
	seq  int64
}

// drawer is what a scheduler draws machines from.
type drawer struct {
	rng  javaRand
	list []int32
}

// chosen is a claim to be committed.
type chosen struct {
	machine int32
	seq     int64
}

func newGoogle(w *world) *google {
	n := len(w.cfg.Machines)
	g := &google{
		w: w, cell: newTimeline[bare](n, len(w.schedulers)), drawers: make([]drawer, len(w.schedulers)),
		own: make([]bare, n), stamp: make([]uint32, n),
	}
	for i := range n {
		g.cell.now[i].value.free = w.cfg.Machines[i]
	}
	for i := range g.drawers {
		g.drawers[i] = drawer{newJavaRand(w.cfg.Seed), make([]int32, n)}
		for m := range n {
			g.drawers[i].list[m] = int32(m)
		}
	}
	return g
}

func (g *google) wake(s *scheduler) {
	j := g.w.take(s)
	g.cell.pin(s.id, g.cell.rev)
	g.w.ponder(s, g.w.think(s, j).over(j.left))
}

func (g *google) decide(s *scheduler) {
	w, j := g.w, s.job
	j.attempts++
	g.choose(s, j)
	g.cell.pin(s.id, none)
	refused := 0
	if len(g.chosen) > 0 {
		refused = g.commit(s, j)
	}
	w.count(s, j, func(t *tally) {
		t.TasksLost += refused
		switch {
		case len(g.chosen) == 0:
			t.NoFit++
			t.noRoom.add(s.began, s.took, w.horizon)
			return
		case refused > 0:
			t.TxFailed++
			t.wasted.add(s.began, s.took, w.horizon)
		default:
			t.TxOK++
		}
		t.busy.add(s.began, s.took, w.horizon)
	})
	switch {
	case j.left == 0:
	case j.attempts > 100 && j.left == j.Tasks || j.attempts > 1000:
		w.count(s, j, func(t *tally) { t.Abandoned++ })
	default:
		w.agenda.add(w.now+googlePause, requeue, j.id)
	}
	w.rest(s)
}

// choose finds machines for the job's tasks on the private copy.
func (g *google) choose(s *scheduler, j *job) {
	d := &g.drawers[s.id]
	rev := g.cell.pins[s.id]
	g.attempt++
	g.chosen = g.chosen[:0]
	for n := int32(len(d.list)); len(g.chosen) < j.left && n > 0; {
		i := d.rng.intN(n)
		m := d.list[i]
		b := &g.own[m]
		if g.stamp[m] != g.attempt {
			b = g.cell.at(int(m), rev)
		}
		if !j.Demand.Fits(&b.free) {
			n--
			d.list[i], d.list[n] = d.list[n], m
			continue
		}
		g.chosen = append(g.chosen, chosen{m, b.seq})
		g.own[m] = bare{b.free.Sub(j.Demand), b.seq + 1}
		g.stamp[m] = g.attempt
	}
}

// commit claims what was chosen, as far as it does not conflict.
func (g *google) commit(s *scheduler, j *job) (refused int) {
	g.cell.begin()
	g.claimed.demand, g.claimed.tasks = j.Demand, g.claimed.tasks[:0]
	for _, c := range g.chosen {
		m := &g.cell.now[c.machine].value
		if g.w.cfg.Rule == cellstate.SeqRule && m.seq != c.seq || g.w.cfg.Rule == cellstate.FitRule && !j.Demand.Fits(&m.free) {
			refused++
			if g.w.cfg.Mode == cellstate.AllOrNothing {
				refused += len(g.claimed.tasks)
				g.giveBack(&g.claimed)
				g.claimed.tasks = g.claimed.tasks[:0]
				break
			}
			continue
		}
		m, _ = g.cell.edit(int(c.machine))
		m.free = m.free.Sub(j.Demand)
		m.seq++
		g.claimed.tasks = append(g.claimed.tasks, task{machine: c.machine})
	}
	g.w.started(s, j, len(g.claimed.tasks), func(e *ending) { e.tasks = append(e.tasks, g.claimed.tasks...) })
	return refused
}

func (g *google) free(e *ending) {
	g.cell.begin()
	g.giveBack(e)
}

// giveBack returns what tasks held. It leaves the sequence numbers as they are.
func (g *google) giveBack(e *ending) {
	for _, t := range e.tasks {
		m, _ := g.cell.edit(int(t.machine))
		m.free = m.free.Add(e.demand)
	}
}

func (g *google) fill(i int, demand *cellstate.Resources) (task, bool) {
	m, _ := g.cell.edit(i)
	if !demand.Fits(&m.free) {
		return task{}, false
	}
	m.free = m.free.Sub(*demand)
	return task{machine: int32(i)}, true
}

func (g *google) offer() {}
