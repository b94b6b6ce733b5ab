package agent

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/omegacell/omegacell/cellstate"
)

// Do is a kind of action.
type Do uint8

const (
	DoFetch  Do = iota + 1 // read the claim's job and make its order
	DoStart                // start the task; a further incarnation where Hold.Last is set
	DoStop                 // send the stop signal
	DoEnd                  // the claim has come to its end: Action.End is its final state
	DoForget               // the end stands in the cell: let the driver clear away what is left
	DoDrop                 // the claim is gone and nothing of it runs: forget it, and report it no more
)

func (d Do) String() string {
	switch d {
	case DoFetch:
		return "fetch"
	case DoStart:
		return "start"
	case DoStop:
		return "stop"
	case DoEnd:
		return "end"
	case DoForget:
		return "forget"
	case DoDrop:
		return "drop"
	}
	return fmt.Sprintf("Do(%d)", uint8(d))
}

// Action is one thing to do about one claim.
type Action struct {
	Do      Do
	ID      cellstate.ClaimID
	Why     string    // of DoStop: the message to report
	Restart uint32    // of DoStart: 0 for the first start
	End     TaskState // of DoEnd
}

// Situation is what the agent knows when it decides.
type Situation struct {
	Ledger *cellstate.Ledger // nil until the cell was first reached: then nothing is started, and nothing stopped for it
	Holds  map[cellstate.ClaimID]*Hold
	// Disconnected is when the agent lost its session; 0 while it has one.
	Disconnected cellstate.Instant
	Closing      bool // the agent ends and takes its tasks with it
}

// Reconcile decides what brings the tasks on the host in line with the ledger: at most one action for each claim, by ID, and
// when to decide again if nothing happens before (Forever: not by time alone). It changes nothing that it is given.
//
// A task is started when its claim's time has come, those it waits for have ended, and the room is really free: a process
// that has to go, but has not ended yet, still counts. Claims that began earlier go first.
//
// A task is stopped when its claim is gone, or the claim's end, its eviction's deadline or the machine's drain deadline
// has come: that is when the stop signal goes out, whatever asked for it; the task's grace runs from there. An eviction or
// drain that still has time only keeps the task from being started, also again. A claim evicted before it ever started
// ends at once: there is nothing to save and somebody waits for the room. Cordoning changes nothing for claims that are here.
//
// Out of touch with the cell it starts no task that has not run before, because its scheduler may have replaced it, and
// stops those whose job says so.
func Reconcile(s Situation, now cellstate.Instant) ([]Action, cellstate.Instant) {
	d := decision{Situation: s, now: now, wake: cellstate.Forever}
	if s.Ledger != nil {
		for i := range s.Ledger.Claims {
			d.claim(&s.Ledger.Claims[i])
		}
	}
	for _, id := range slices.SortedFunc(maps.Keys(s.Holds), cellstate.ClaimID.Compare) {
		h := s.Holds[id]
		switch {
		case s.Ledger == nil:
			d.outOfReach(id, h)
		case s.Ledger.Find(id) == nil:
			d.gone(id, h)
		}
	}
	d.startAll()
	slices.SortFunc(d.actions, func(a, b Action) int { return a.ID.Compare(b.ID) })
	return d.actions, d.wake
}

// decision is the state of one Reconcile.
type decision struct {
	Situation
	now     cellstate.Instant
	wake    cellstate.Instant
	actions []Action
	ready   []ready
}

// ready is a claim that may start if there is room.
type ready struct {
	start     cellstate.Instant
	resources cellstate.Resources
	gpus      []cellstate.GPUShare
	act       Action
}

func (d *decision) do(a Action) { d.actions = append(d.actions, a) }

// due reports whether at has come; if not, it is a time to decide again.
func (d *decision) due(at cellstate.Instant) bool {
	if at <= d.now {
		return true
	}
	d.wake = min(d.wake, at)
	return false
}

const closingDown = "the machine's agent closes down"

// overdue says why the claim has to end now, or "".
func (d *decision) overdue(c *cellstate.Claim) string {
	switch l := d.Ledger; {
	case d.Closing:
		return closingDown
	case c.Evict != nil && d.due(c.Evict.Deadline):
		return clip("evicted: " + c.Evict.Reason)
	case c.End != 0 && d.due(c.End):
		return "end of its claim reached"
	case l.Drain != nil && d.due(l.Drain.Deadline):
		return clip("drained: " + l.Drain.Reason)
	}
	return ""
}

// claim decides about a claim that is in the ledger.
func (d *decision) claim(c *cellstate.Claim) {
	h := d.Holds[c.ID]
	if h == nil {
		h = &Hold{Status: cellstate.ClaimStatus{ID: c.ID, Phase: cellstate.PhasePending}}
	}
	if c.Ended {
		d.marked(c, h)
		return
	}
	switch h.Status.Phase {
	case cellstate.PhasePending:
		d.pending(c, h)
	case cellstate.PhaseStarting:
		switch {
		case h.Busy:
		case h.Last != nil:
			d.between(c, h)
		default:
			d.pending(c, h)
		}
	case cellstate.PhaseRunning, cellstate.PhaseStopping:
		why := d.overdue(c)
		if why == "" {
			why = d.cutOff(h)
		}
		d.stop(c.ID, h, why)
		if why == "" && h.Order == nil && h.Failed == "" && d.Disconnected == 0 && !h.Asked && d.due(h.RetryAt) {
			d.do(Action{Do: DoFetch, ID: c.ID}) // adopted, and its order was lost
		}
	}
}

// marked decides about a claim whose end the ledger knows.
func (d *decision) marked(c *cellstate.Claim, h *Hold) {
	switch {
	case h.live():
		d.stop(c.ID, h, "its claim has ended")
	case h.Status.Phase != cellstate.PhaseEnded && h.Last != nil:
		d.do(Action{Do: DoEnd, ID: c.ID, End: *h.Last})
	case h.Status.Phase != cellstate.PhaseEnded:
		d.do(Action{Do: DoEnd, ID: c.ID, End: TaskState{ID: c.ID, Phase: cellstate.PhaseEnded, EndedAt: d.now,
			Outcome: cellstate.OutcomeLost, Message: "ended; how is not known"}})
	case h.Kept && !h.Asked && d.due(h.RetryAt):
		d.do(Action{Do: DoForget, ID: c.ID})
	}
}

// pending decides about a claim whose task never ran.
func (d *decision) pending(c *cellstate.Claim, h *Hold) {
	end := func(o cellstate.Outcome, why string) {
		d.do(Action{Do: DoEnd, ID: c.ID, End: TaskState{ID: c.ID, Phase: cellstate.PhaseEnded, EndedAt: d.now, Outcome: o, Message: why}})
	}
	why := d.overdue(c)
	switch {
	case why != "":
		end(cellstate.OutcomeStopped, "never started: "+why)
	case c.Evict != nil:
		end(cellstate.OutcomeStopped, clip("never started: evicted: "+c.Evict.Reason))
	case h.Failed != "":
		end(cellstate.OutcomeFailed, h.Failed)
	case d.Ledger.Drain != nil, d.Disconnected != 0, !d.due(c.Start), !d.Ledger.AllEnded(c.After), h.Asked, !d.due(h.RetryAt):
	case h.Order == nil:
		d.do(Action{Do: DoFetch, ID: c.ID})
	default:
		d.ready = append(d.ready, ready{c.Start, c.Resources, c.GPUs, Action{Do: DoStart, ID: c.ID}})
	}
}

// between decides about a claim whose task has ended: whether it is started again.
func (d *decision) between(c *cellstate.Claim, h *Hold) {
	leaving := h.Stopped || d.overdue(c) != "" || c.Evict != nil || d.Ledger.Drain != nil || d.cutOff(h) != ""
	var at cellstate.Instant
	again := false
	if !leaving && h.Failed == "" {
		if h.Order == nil { // adopted, and its order was lost: only the job can say whether it is started again
			if d.Disconnected == 0 && !h.Asked && d.due(h.RetryAt) {
				d.do(Action{Do: DoFetch, ID: c.ID})
			}
			return
		}
		at, again = h.Order.again(h.Last)
	}
	switch {
	case !again:
		d.do(Action{Do: DoEnd, ID: c.ID, End: *h.Last})
	case d.due(at) && d.due(h.RetryAt):
		d.ready = append(d.ready, ready{h.Last.StartedAt, h.Order.Resources, h.Order.GPUs,
			Action{Do: DoStart, ID: c.ID, Restart: h.Last.Restart + 1}})
	}
}

// gone decides about a claim that is no longer in the ledger.
func (d *decision) gone(id cellstate.ClaimID, h *Hold) {
	switch {
	case h.live():
		d.stop(id, h, "its claim is gone")
	case !h.Asked && d.due(h.RetryAt):
		d.do(Action{Do: DoDrop, ID: id})
	}
}

// outOfReach decides about a task while the ledger was never seen: after a start without the cell.
func (d *decision) outOfReach(id cellstate.ClaimID, h *Hold) {
	why := d.cutOff(h)
	if d.Closing {
		why = closingDown
	}
	d.stop(id, h, why)
}

// cutOff says why a task has to stop because the agent is out of touch with the cell, or "".
func (d *decision) cutOff(h *Hold) string {
	if d.Disconnected == 0 || h.Order == nil || h.Order.StopAfter <= 0 || !d.due(d.Disconnected.Add(h.Order.StopAfter)) {
		return ""
	}
	return fmt.Sprintf("out of touch with the cell for %s", h.Order.StopAfter)
}

// stop stops a running task, if there is a reason, or repeats a call of Stop that failed.
func (d *decision) stop(id cellstate.ClaimID, h *Hold, why string) {
	if (h.Status.Phase == cellstate.PhaseRunning && why != "" || h.Restop) && d.due(h.RetryAt) {
		d.do(Action{Do: DoStop, ID: id, Why: why})
	}
}

// startAll starts what is ready, the earliest first, as far as there is room that nothing on the host takes up (I1).
func (d *decision) startAll() {
	if len(d.ready) == 0 {
		return
	}
	free := d.Ledger.Capacity
	gpus := make(map[uint16]int64)
	take := func(r cellstate.Resources, shares []cellstate.GPUShare) {
		free = free.Sub(r)
		for _, g := range shares {
			gpus[g.Device] += int64(g.Milli)
		}
	}
	for id, h := range d.Holds {
		if !h.live() {
			continue
		}
		if h.Order != nil {
			take(h.Order.Resources, h.Order.GPUs)
		} else if c := d.Ledger.Find(id); c != nil {
			take(c.Resources, c.GPUs)
		} else {
			return // how much it takes is not known: it has to go first
		}
	}
	slices.SortFunc(d.ready, func(a, b ready) int { return cmp.Or(cmp.Compare(a.start, b.start), a.act.ID.Compare(b.act.ID)) })
	for _, r := range d.ready {
		device := func(g cellstate.GPUShare) bool { return gpus[g.Device]+int64(g.Milli) > cellstate.GPUDevice }
		if r.resources.Fits(&free) && !slices.ContainsFunc(r.gpus, device) {
			take(r.resources, r.gpus)
			d.do(r.act)
		}
	}
}
