package integration

import (
	"context"
	"fmt"
	"iter"
	"reflect"
	"sync"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/etcdstore/etcdtest"
)

// cutOff is a store that can be cut off from its cell: then its lists wait, its watches end, and new ones wait.
type cutOff struct {
	cellstate.Store

	asked chan struct{} // gets one when a watch begins to wait

	mu     sync.Mutex
	joined chan struct{} // closed while the cell can be reached
	cut    chan struct{} // closed while it cannot
}

func newCutOff(s cellstate.Store) *cutOff {
	c := &cutOff{Store: s, joined: make(chan struct{}), cut: make(chan struct{}), asked: make(chan struct{}, 1)}
	close(c.joined)
	return c
}

func (c *cutOff) state() (joined, cut chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.joined, c.cut
}

// pause cuts the store off and returns when its watch has noticed.
func (c *cutOff) pause() {
	c.mu.Lock()
	c.joined = make(chan struct{})
	close(c.cut)
	c.mu.Unlock()
	<-c.asked
}

func (c *cutOff) resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = make(chan struct{})
	close(c.joined)
}

func (c *cutOff) wait(ctx context.Context) {
	joined, _ := c.state()
	select {
	case <-joined:
	case <-ctx.Done():
	}
}

func (c *cutOff) List(ctx context.Context, r cellstate.Range, rev int64) (cellstate.Listing, error) {
	c.wait(ctx)
	return c.Store.List(ctx, r, rev)
}

func (c *cutOff) Watch(ctx context.Context, r cellstate.Range, from int64) iter.Seq2[cellstate.Batch, error] {
	return func(yield func(cellstate.Batch, error) bool) {
		joined, _ := c.state()
		select {
		case <-joined:
		default:
			c.asked <- struct{}{}
			c.wait(ctx)
		}
		_, cut := c.state()
		inner, cancel := context.WithCancel(ctx)
		defer cancel()
		go func() {
			select {
			case <-cut:
				cancel()
			case <-inner.Done():
			}
		}()
		for b, err := range c.Store.Watch(inner, r, from) {
			if err != nil && inner.Err() != nil && ctx.Err() == nil {
				err = fmt.Errorf("cut off: %w", cellstate.ErrUnavailable)
			}
			if !yield(b, err) || err != nil {
				return
			}
		}
	}
}

// TestCompactionUnderPausedMirror cuts a mirror off, writes, and compacts what was written away. When it is back it shows the cell as it is,
// and its observers were told of exactly the difference (I9).
func TestCompactionUnderPausedMirror(t *testing.T) {
	member := etcdtest.Start(t)
	client := member.Client()
	writer := openStore(t, client, "gap")
	cut := newCutOff(openStore(t, member.Client(), "gap"))

	put(t, writer, machineRecords(0, 40))
	m := startMirror(t, cut)
	seen := observe(t, m)
	if await(t.Context(), m, func(s cellstate.Snapshot) bool { return s.Len() == 40 }) == nil {
		t.Fatal("the mirror never saw the cell")
	}
	for round := range 3 {
		cut.pause()
		before := m.Snapshot()
		// Some machines change, some go, some come, and one goes and comes back; jobs likewise.
		values := machineRecords(40+10*round, 50+10*round)
		for i := 30; i < 40; i++ {
			l := cellstate.NewLedger(machineName(i), cellstate.Resources{CPUMilli: int64(2000 + round)})
			values = append(values, l, job(i, uint64(round+2)))
		}
		put(t, writer, values)
		gone := cellstate.Swap{}
		for i := range 5 {
			name := machineName(5*round + i)
			gone.Delete = append(gone.Delete, cellstate.LedgerKey(name), cellstate.SessionKey(name), cellstate.MachineKey(name), job(5*round+i, 1).Key())
		}
		if _, err := writer.Swap(t.Context(), gone); err != nil {
			t.Fatal(err)
		}
		put(t, writer, machineRecords(5*round, 5*round+1))
		last, err := client.Get(t.Context(), "/", clientv3.WithCountOnly())
		if err != nil {
			t.Fatal(err)
		}
		rev := last.Header.Revision
		if _, err := client.Compact(t.Context(), rev, clientv3.WithCompactPhysical()); err != nil {
			t.Fatal(err)
		}
		if s := m.Snapshot(); s.Rev() != before.Rev() {
			t.Fatalf("the mirror went from revision %d to %d while it was cut off: this tests nothing", before.Rev(), s.Rev())
		}
		cut.resume()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		s, err := m.Wait(ctx, rev)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		list, err := writer.List(t.Context(), cellstate.Range{}, s.Rev())
		if err != nil {
			t.Fatal(err)
		}
		want := make(map[cellstate.Key]cellstate.Value)
		for _, r := range list.Records {
			want[r.Key] = r.Value
		}
		same(t, fmt.Sprintf("round %d: the observer", round), seen.at(t, s.Rev()), want)
		same(t, fmt.Sprintf("round %d: the snapshot", round), contents(s), want)
	}
	if seen.leaps < 3 {
		t.Errorf("only %d of the gaps were bridged by a new list: this tests nothing", seen.leaps)
	}
}

func machineName(i int) string { return fmt.Sprintf("m%03d", i) }

func job(i int, version uint64) *cellstate.Job {
	return &cellstate.Job{
		Scheduler: "batch", Name: fmt.Sprintf("job%03d", i), Run: 1, Version: version, Tenant: cellstate.DefaultTenant, Tasks: 1,
		Task: cellstate.TaskSpec{Command: []string{"true"}},
	}
}

// machineRecords are those of machines from … to−1, with a job for each.
func machineRecords(from, to int) []cellstate.Value {
	var out []cellstate.Value
	for i := from; i < to; i++ {
		out = append(out, cellstate.NewLedger(machineName(i), cellstate.Resources{CPUMilli: 1000}), &cellstate.Machine{Name: machineName(i)},
			&cellstate.Session{Machine: machineName(i), Epoch: 1, StartedAt: 1}, job(i, 1))
	}
	return out
}

// contents is all that a snapshot shows.
func contents(s cellstate.Snapshot) map[cellstate.Key]cellstate.Value {
	out := make(map[cellstate.Key]cellstate.Value)
	for i := range s.Len() {
		m := s.At(i)
		if m == nil {
			continue
		}
		out[m.Ledger.Key()] = m.Ledger
		if m.Machine != nil {
			out[m.Machine.Key()] = m.Machine
		}
		if m.Session != nil {
			out[m.Session.Key()] = m.Session
		}
	}
	for j := range s.Jobs("") {
		out[j.Key()] = j
	}
	return out
}

func same(t testing.TB, who string, got, want map[cellstate.Key]cellstate.Value) {
	t.Helper()
	for k, v := range want {
		if !reflect.DeepEqual(got[k], v) {
			t.Errorf("%s shows at %s\n  %+v, and the cell has\n  %+v", who, k, got[k], v)
		}
	}
	for k := range got {
		if want[k] == nil {
			t.Errorf("%s still shows %s", who, k)
		}
	}
}

// observer is the cell as the changes tell it.
type observer struct {
	mu    sync.Mutex
	rev   int64
	cell  map[cellstate.Key]cellstate.Value
	leaps int // calls that told of more than one revision
	wrong []string
	moved chan struct{} // closed at the next call
}

func observe(t testing.TB, m cellstate.Mirror) *observer {
	t.Helper()
	o := &observer{cell: make(map[cellstate.Key]cellstate.Value), moved: make(chan struct{})}
	t.Cleanup(m.Observe(func(s cellstate.Snapshot, changes []cellstate.Change) {
		o.mu.Lock()
		defer o.mu.Unlock()
		if s.Rev() < o.rev {
			o.wrong = append(o.wrong, fmt.Sprintf("revision %d after %d", s.Rev(), o.rev))
		}
		if o.rev > 0 && s.Rev() > o.rev+1 && len(changes) > 0 {
			o.leaps++
		}
		o.rev = s.Rev()
		for _, c := range changes {
			if !reflect.DeepEqual(o.cell[c.Key], c.Old) {
				o.wrong = append(o.wrong, fmt.Sprintf("%s was %+v, not %+v", c.Key, o.cell[c.Key], c.Old))
			}
			if o.cell[c.Key] = c.New; c.New == nil {
				delete(o.cell, c.Key)
			}
		}
		close(o.moved)
		o.moved = make(chan struct{})
	}))
	return o
}

// at returns what has been told once it reaches a revision.
func (o *observer) at(t testing.TB, rev int64) map[cellstate.Key]cellstate.Value {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.rev < rev {
		moved := o.moved
		o.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
			t.Errorf("the observer is at revision %d, not %d", o.rev, rev)
		}
		o.mu.Lock()
		if ctx.Err() != nil {
			break
		}
	}
	for _, w := range o.wrong {
		t.Error("the observer was told wrong: " + w)
	}
	return o.cell
}
