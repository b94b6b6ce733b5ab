package memstore

import (
	"context"
	"fmt"
	"time"

	"github.com/omegacell/omegacell/cellstate"
)

// Config configures a cell. Zero means the default that a field's comment states.
type Config struct {
	Limits   cellstate.Limits // default: those of cellstate.Limits
	Progress time.Duration    // a watch without changes says so as often; default 1s
}

// Store is one client of a cell in memory. More clients of the same cell come from [Store.Client].
type Store struct {
	cell *cell
	// The rest is guarded by cell.mu.
	cut    bool
	closed bool
	leases map[int64]*lease // this client's
}

var _ cellstate.Store = (*Store)(nil)

// New returns the first client of a new, empty cell.
func New(cfg Config) *Store {
	if cfg.Progress <= 0 {
		cfg.Progress = time.Second
	}
	c := &cell{
		progress: cfg.Progress, limits: cfg.Limits.WithDefaults(), rev: 1, compacted: 1, logFrom: 2,
		keys: make(map[cellstate.Key]*history), leases: make(map[int64]*lease), wake: make(chan struct{}),
	}
	return &Store{cell: c, leases: make(map[int64]*lease)}
}

// Client returns another client of the same cell. Cutting one off does not touch the others.
func (s *Store) Client() *Store {
	return &Store{cell: s.cell, leases: make(map[int64]*lease)}
}

// SetAvailable cuts this client off from the cell, or lets it back. While cut off its methods and watches return
// ErrUnavailable and its leases run out.
func (s *Store) SetAvailable(ok bool) {
	c := s.cell
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.closed || s.cut == !ok {
		return
	}
	s.cut = !ok
	for _, l := range s.leases {
		if ok {
			l.keep()
		} else {
			l.runOut()
		}
	}
	c.wakeAll()
}

// Close ends this client for good: its watches end, and its leases run out as if its process had died. The cell and its
// other clients go on.
func (s *Store) Close() {
	s.SetAvailable(false)
	s.cell.mu.Lock()
	s.closed = true
	s.cell.mu.Unlock()
}

// enter takes the cell's mutex. The caller unlocks it, unless there is an error.
func (s *Store) enter(ctx context.Context, op, on string) error {
	if err := ctx.Err(); err != nil {
		return &cellstate.OpError{Op: op, On: on, Err: fmt.Errorf("%w: %w", cellstate.ErrUnavailable, err)}
	}
	s.cell.mu.Lock()
	if s.cut {
		s.cell.mu.Unlock()
		return &cellstate.OpError{Op: op, On: on, Err: cellstate.ErrUnavailable}
	}
	return nil
}

// Commit implements [cellstate.Store]: one call of [cellstate.Commit] on the present state.
func (s *Store) Commit(ctx context.Context, t *cellstate.Txn) (cellstate.Verdict, error) {
	if err := t.Check(); err != nil {
		return cellstate.Verdict{}, err
	}
	if err := s.enter(ctx, "commit", t.ID); err != nil {
		return cellstate.Verdict{}, err
	}
	c := s.cell
	defer c.mu.Unlock()
	if f := t.Fence; f != nil && c.now(f.Key).CreateRev != f.CreateRev {
		v := cellstate.Verdict{Rev: c.rev}
		for _, p := range t.Parts() {
			v.Conflicts = append(v.Conflicts, p.Refuse(cellstate.ReasonFenced).Conflicts...)
		}
		return v, nil
	}
	d, err := cellstate.Commit(c, t, c.limits)
	if err != nil {
		return cellstate.Verdict{}, err
	}
	var w []write
	for _, l := range d.Ledgers {
		w = append(w, write{key: l.Key(), value: l})
	}
	c.apply(w)
	return cellstate.Verdict{Rev: c.rev, Committed: d.Committed, Conflicts: d.Conflicts}, nil
}

// Swap implements [cellstate.Store].
func (s *Store) Swap(ctx context.Context, sw cellstate.Swap) (cellstate.Swapped, error) {
	w, err := writesOf(sw)
	if err != nil {
		return cellstate.Swapped{}, err
	}
	if err := s.enter(ctx, "swap", swapName(sw)); err != nil {
		return cellstate.Swapped{}, err
	}
	c := s.cell
	defer c.mu.Unlock()
	for _, p := range sw.Put {
		if p.Lease != 0 && c.leases[p.Lease] == nil {
			return cellstate.Swapped{}, badSwap(sw, "lease %x of %s is not there", p.Lease, p.Value.Key())
		}
	}
	if !c.holds(sw) {
		out := cellstate.Swapped{Rev: c.rev}
		for _, g := range sw.Guards {
			out.Now = append(out.Now, c.now(g.Key))
		}
		return out, nil
	}
	c.apply(w)
	return cellstate.Swapped{OK: true, Rev: c.rev}, nil
}

// List implements [cellstate.Store].
func (s *Store) List(ctx context.Context, r cellstate.Range, rev int64) (cellstate.Listing, error) {
	on := cellstate.Key(r).String()
	if err := s.enter(ctx, "list", on); err != nil {
		return cellstate.Listing{}, err
	}
	c := s.cell
	defer c.mu.Unlock()
	switch {
	case rev == 0:
		rev = c.rev
	case rev < c.compacted:
		return cellstate.Listing{}, &cellstate.OpError{Op: "list", On: on, Err: cellstate.ErrCompacted}
	case rev > c.rev:
		return cellstate.Listing{}, &cellstate.OpError{Op: "list", On: on,
			Err: fmt.Errorf("revision %d is later than the latest, %d: %w", rev, c.rev, cellstate.ErrInvalid)}
	}
	return cellstate.Listing{Rev: rev, Records: c.list(r, rev)}, nil
}

// Corrupt puts a record at k that cannot be read.
func (s *Store) Corrupt(k cellstate.Key, why error) {
	s.cell.mu.Lock()
	defer s.cell.mu.Unlock()
	s.cell.apply([]write{{key: k, err: why}})
}

// Compact forgets what was before rev: it can neither be listed nor watched any more.
func (s *Store) Compact(rev int64) {
	s.cell.mu.Lock()
	defer s.cell.mu.Unlock()
	s.cell.compact(rev)
}

func writesOf(sw cellstate.Swap) ([]write, error) {
	w := make([]write, 0, len(sw.Put)+len(sw.Delete))
	seen := make(map[cellstate.Key]bool, cap(w))
	for _, p := range sw.Put {
		if p.Value == nil {
			return nil, badSwap(sw, "a value to put is nil")
		}
		w = append(w, write{key: p.Value.Key(), value: p.Value, lease: p.Lease})
	}
	for _, k := range sw.Delete {
		w = append(w, write{key: k, deleted: true})
	}
	for i := range w {
		k := w[i].key
		if seen[k] {
			return nil, badSwap(sw, "%s is written twice", k)
		}
		seen[k] = true
		if err := cellstate.CheckName(k.Name); err != nil {
			return nil, badSwap(sw, "%s: %v", k, err)
		}
	}
	return w, nil
}

func badSwap(sw cellstate.Swap, format string, args ...any) error {
	return &cellstate.OpError{Op: "swap", On: swapName(sw), Err: fmt.Errorf(format+": %w", append(args, cellstate.ErrInvalid)...)}
}

// swapName names a swap by the first key that it is about.
func swapName(sw cellstate.Swap) string {
	switch {
	case len(sw.Put) > 0 && sw.Put[0].Value != nil:
		return sw.Put[0].Value.Key().String()
	case len(sw.Delete) > 0:
		return sw.Delete[0].String()
	case len(sw.Guards) > 0:
		return sw.Guards[0].Key.String()
	}
	return "nothing"
}
