package mirror

import "github.com/omegacell/omegacell/cellstate"

// host is what a snapshot holds of one machine name: the view that it hands out once there is a ledger, and when each part of
// it was written.
type host struct {
	cellstate.MachineView
	name string
	revs [hostKinds]int64 // by kind, the first being KindLedger
}

// hostKinds is the number of kinds that describe a machine, the first ones of all.
const hostKinds = 4

// ofHost reports whether records of the kind lie in a host and not in a table.
func ofHost(k cellstate.Kind) bool { return k-1 < hostKinds }

// value returns what the host holds of a kind, and its revision; nil where it holds nothing.
func (h *host) value(k cellstate.Kind) (cellstate.Value, int64) {
	rev := h.revs[k-1]
	switch {
	case k == cellstate.KindLedger && h.Ledger != nil:
		return h.Ledger, rev
	case k == cellstate.KindReport && h.Report != nil:
		return h.Report, rev
	case k == cellstate.KindSession && h.Session != nil:
		return h.Session, rev
	case k == cellstate.KindMachine && h.Machine != nil:
		return h.Machine, rev
	}
	return nil, 0
}

// empty reports whether nothing describes the machine any more.
func (h *host) empty() bool {
	return h.Ledger == nil && h.Report == nil && h.Session == nil && h.Machine == nil
}

// put sets the part of a kind, to nothing where v is nil. at is when that was seen.
func (h *host) put(k cellstate.Kind, v cellstate.Value, rev int64, at cellstate.Instant) {
	switch k {
	case cellstate.KindLedger:
		h.Ledger, _ = v.(*cellstate.Ledger)
	case cellstate.KindReport:
		h.Report, _ = v.(*cellstate.Report)
	case cellstate.KindSession:
		h.Session, _ = v.(*cellstate.Session)
	case cellstate.KindMachine:
		h.Machine, _ = v.(*cellstate.Machine)
	}
	h.revs[k-1] = rev
	switch {
	case h.Session != nil || h.Ledger == nil:
		h.LostAt = 0
	case h.LostAt == 0:
		h.LostAt = at
	}
}
