package mirror

import (
	"context"

	"go.uber.org/zap"

	"github.com/omegacell/omegacell/cellstate"
)

// maxEarlier bounds how many versions of an unreadable record are looked at for one that can be read.
const maxEarlier = 16

// recall shows the image, of each listed record that cannot be read and of which it shows no version, the last version that
// could be read, as far as the store retains it: a mirror that starts while a record is unreadable should see no less than one
// that was there before. The listing itself is applied after it. It returns what changed, of which nobody has been told.
func (m *Mirror) recall(ctx context.Context, l cellstate.Listing) []cellstate.Change {
	var events []cellstate.Event
	for i := range l.Records {
		r := &l.Records[i]
		if r.Err == nil || r.Key.Kind == 0 || m.image.shows(r.Key) {
			continue
		}
		if old, ok := m.earlier(ctx, r); ok {
			m.log.Warn("record cannot be read: going by an earlier version", zap.Stringer("key", r.Key), zap.Int64("rev", r.Rev), zap.Int64("earlier", old.Rev))
			events = append(events, cellstate.Event{Record: old})
		}
	}
	if len(events) == 0 {
		return nil
	}
	return m.image.apply(cellstate.Batch{Rev: m.image.now.rev, Events: events}, m.cfg.Now()).changes
}

// earlier returns the last readable version of a record before r. A store that does not retain it, or does not answer, has none.
func (m *Mirror) earlier(ctx context.Context, r *cellstate.Record) (cellstate.Record, bool) {
	rev := r.Rev
	for range maxEarlier {
		l, err := m.cfg.Store.List(ctx, r.Key.Only(), rev-1)
		if err != nil || len(l.Records) == 0 {
			return cellstate.Record{}, false
		}
		if l.Records[0].Err == nil {
			return l.Records[0], true
		}
		rev = l.Records[0].Rev
	}
	return cellstate.Record{}, false
}
