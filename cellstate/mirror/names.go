package mirror

import "maps"

// maxRecent bounds the names in which two successive indexes differ from a map that they share. Where machines come one by
// one, each costs a copy of up to so many names, and one of so many a copy of all: at 100,000 about the same.
const maxRecent = 512

// names finds slots by machine name. It is persistent: copies share maps, which are never changed once an index that holds
// them was handed out.
type names struct {
	all    map[string]int32
	recent map[string]int32 // what differs from all: −1 where the name is gone
}

// find returns the slot of a machine.
func (n *names) find(name string) (slot int, ok bool) {
	s, ok := n.recent[name]
	if !ok {
		s, ok = n.all[name]
	}
	return int(s), ok && s >= 0
}

// namesEdit makes one new index out of another.
type namesEdit struct {
	names
	own bool // recent is this edit's own
}

// set gives a name a slot, or takes it away with −1.
func (e *namesEdit) set(name string, slot int) {
	if !e.own {
		e.recent, e.own = maps.Clone(e.recent), true
		if e.recent == nil {
			e.recent = make(map[string]int32)
		}
	}
	e.recent[name] = int32(slot)
}

// done returns the new index.
func (e *namesEdit) done() names {
	if len(e.recent) <= maxRecent {
		return e.names
	}
	all := e.recent
	if len(e.all) > 0 {
		all = maps.Clone(e.all)
		maps.Copy(all, e.recent)
	}
	maps.DeleteFunc(all, func(_ string, slot int32) bool { return slot < 0 })
	return names{all: all}
}
