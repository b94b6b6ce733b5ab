package schedulers

import (
	"fmt"
	"slices"

	"github.com/omegacell/omegacell/cellstate"
)

// hold takes out of a plan the claims that are not to be sent, and has the explanation say why: the scheduler may not place
// the job, it lost too many races in a row, or its last plan could not be carried out. Everything else in the plan stands, so
// that ends are acknowledged, and a job stopped, whatever keeps it from growing (I10).
func (l *Loop) hold(snap cellstate.Snapshot, job *Job, p *Plan, st *jobState) {
	why := st.refused
	if len(p.Add) > 0 && why == "" {
		why = l.forbidden(snap, job)
	}
	if len(p.Add) > 0 && why == "" && st.conflicts >= l.cfg.Attempts {
		why = fmt.Sprintf("other schedulers were faster %d times in a row; it is tried again when the cell changes", st.conflicts)
	}
	attempts := uint32(st.conflicts)
	if why != "" {
		st.conflicts = 0
		unplaced := uint32(len(p.Add))
		if p.Explanation != nil {
			unplaced += p.Explanation.Unplaced
		}
		p.Explanation = &cellstate.Explanation{At: job.Now, Rev: snap.Rev(), Unplaced: unplaced, Unblock: why}
		p.Add = nil
		p.Evict = slices.DeleteFunc(p.Evict, makesRoom)
	}
	if p.Explanation != nil {
		p.Explanation.Parked, p.Explanation.Attempts = true, attempts
	}
}

// forbidden says why this scheduler may not place the job now, or "".
func (l *Loop) forbidden(snap cellstate.Snapshot, job *Job) string {
	s, ok := snap.Scheduler(l.cfg.Name)
	switch {
	case !ok:
		return ""
	case s.Disabled:
		return "an operator disabled the scheduler"
	case job.Precedence > s.MaxPrecedence:
		return fmt.Sprintf("precedence %d is above the %d that the scheduler may use", job.Precedence, s.MaxPrecedence)
	}
	return ""
}
