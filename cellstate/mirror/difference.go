package mirror

import (
	"maps"
	"slices"

	"github.com/omegacell/omegacell/cellstate"
)

// difference returns the batch that leads from the present snapshot to a listing: what was written since, and what is gone.
func (im *image) difference(l cellstate.Listing) cellstate.Batch {
	b := cellstate.Batch{Rev: l.Rev}
	if im.now.hosts.n == 0 {
		b.Events = make([]cellstate.Event, 0, len(l.Records)) // most are new
	}
	seen := keysListed(im.now)
	for i := range l.Records {
		r := &l.Records[i]
		seen.add(r)
		if !im.has(r) {
			b.Events = append(b.Events, cellstate.Event{Record: *r})
		}
	}
	gone := len(b.Events)
	for k := range im.now.keys() {
		if !seen.has(k) {
			b.Events = append(b.Events, cellstate.Event{Record: cellstate.Record{Key: k, Rev: l.Rev}, Deleted: true})
		}
	}
	slices.SortFunc(b.Events[gone:], func(a, b cellstate.Event) int { return a.Record.Key.Compare(b.Record.Key) })
	for _, name := range slices.Sorted(maps.Keys(im.now.bad)) {
		q := im.now.bad[name]
		if q.Key.Kind == 0 && !seen.raw[q.Raw] || q.Key.Kind != 0 && !seen.has(q.Key) && !im.shows(q.Key) {
			b.Events = append(b.Events, cellstate.Event{Record: cellstate.Record{Key: q.Key, Rev: l.Rev, Raw: q.Raw}, Deleted: true})
		}
	}
	return b
}

// listedKeys is the set of keys of a listing, as far as a snapshot knows them.
type listedKeys struct {
	now   *snapshot
	hosts [][hostKinds]bool      // by slot and kind
	rest  map[cellstate.Key]bool // of names without a slot, and kinds that describe no machine
	raw   map[string]bool        // keys that cannot be read
}

func keysListed(s *snapshot) listedKeys {
	return listedKeys{s, make([][hostKinds]bool, s.hosts.n), make(map[cellstate.Key]bool), make(map[string]bool)}
}

func (l *listedKeys) add(r *cellstate.Record) {
	switch {
	case r.Key.Kind == 0:
		l.raw[r.Raw] = true
	case ofHost(r.Key.Kind):
		if slot, ok := l.now.names.find(r.Key.Name); ok {
			l.hosts[slot][r.Key.Kind-1] = true
		} else if len(l.now.bad) > 0 {
			l.rest[r.Key] = true
		}
	default:
		l.rest[r.Key] = true
	}
}

func (l *listedKeys) has(k cellstate.Key) bool {
	if ofHost(k.Kind) {
		if slot, ok := l.now.names.find(k.Name); ok {
			return l.hosts[slot][k.Kind-1]
		}
	}
	return l.rest[k]
}

// shows reports whether the image shows any version of a record: of a bad one, the last that could be read.
func (im *image) shows(k cellstate.Key) bool {
	v, _ := im.now.record(k)
	return v != nil
}

// has reports whether the image shows this version of a record already.
func (im *image) has(r *cellstate.Record) bool {
	if len(im.now.bad) > 0 {
		if q, bad := im.now.bad[badName(r)]; bad {
			return q.Rev == r.Rev
		}
	}
	if r.Key.Kind == 0 {
		return false
	}
	v, rev := im.now.record(r.Key)
	return v != nil && rev == r.Rev
}
