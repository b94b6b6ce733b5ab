package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/omegacell/omegacell/cellstate"
)

func keys(l cellstate.Listing) string {
	out := ""
	for i, r := range l.Records {
		if i > 0 {
			out += ", "
		}
		out += r.Key.String()
	}
	return out
}

func testListRanges(b *bench) {
	empty := b.list(cellstate.Range{}, 0)
	if len(empty.Records) != 0 || empty.Rev == 0 {
		b.Errorf("an empty cell lists %+v", empty)
	}
	b.machines(2, 1000)
	b.put(&cellstate.Machine{Name: "m0"})
	for _, s := range []string{"batch", "batch2"} {
		for _, j := range []string{"y", "x"} {
			b.put(&cellstate.Job{Scheduler: s, Name: j, Version: 1, Tasks: 1})
			b.put(&cellstate.JobStatus{Scheduler: s, Job: j, Version: 1, Phase: cellstate.JobPending})
		}
	}
	last := b.put(leader("a"))
	for _, tt := range []struct {
		r    cellstate.Range
		want string
	}{
		{cellstate.Range{Kind: cellstate.KindLedger}, "ledger m0, ledger m1"},
		{cellstate.Range{Kind: cellstate.KindMachine}, "machine m0"},
		{cellstate.LedgerKey("m1").Only(), "ledger m1"},
		{cellstate.LedgerKey("m").Only(), ""},
		{cellstate.Range{Kind: cellstate.KindJob}, "job batch/x, job batch/y, job batch2/x, job batch2/y"},
		{cellstate.Range{Kind: cellstate.KindJob, Scope: "batch"}, "job batch/x, job batch/y"},
		{cellstate.Range{Kind: cellstate.KindStatus, Scope: "batch2"}, "status batch2/x, status batch2/y"},
		{cellstate.JobKey("batch", "x").Only(), "job batch/x"},
		{cellstate.Range{}, "ledger m0, ledger m1, machine m0, job batch/x, job batch/y, job batch2/x, job batch2/y, " +
			"status batch/x, status batch/y, status batch2/x, status batch2/y, leader batch/0"},
	} {
		l := b.list(tt.r, 0)
		if got := keys(l); got != tt.want || l.Rev != last {
			b.Errorf("range %+v lists %q at %d, want %q at %d", tt.r, got, l.Rev, tt.want, last)
		}
	}
}

func testListAt(b *bench) {
	first := b.put(&cellstate.Tenant{Name: "a"})
	second := b.put(&cellstate.Tenant{Name: "b"})
	third := b.swap(cellstate.Swap{Delete: []cellstate.Key{cellstate.TenantKey("a")}}).Rev
	for _, tt := range []struct {
		rev  int64
		want string
	}{{first, "tenant a"}, {second, "tenant a, tenant b"}, {third, "tenant b"}} {
		l := b.list(cellstate.Range{}, tt.rev)
		if got := keys(l); got != tt.want || l.Rev != tt.rev {
			b.Errorf("at %d: %q at %d, want %q", tt.rev, got, l.Rev, tt.want)
		}
	}
	b.cell.Compact(second)
	b.list(cellstate.Range{}, second)
	if _, err := b.s.List(b.Context(), cellstate.Range{}, first); !errors.Is(err, cellstate.ErrCompacted) {
		b.Errorf("listing before the compaction: error %v, want %v", err, cellstate.ErrCompacted)
	}
	if _, err := b.s.List(b.Context(), cellstate.Range{}, third+100); !errors.Is(err, cellstate.ErrInvalid) {
		b.Errorf("listing in the future: error %v, want %v", err, cellstate.ErrInvalid)
	}
}

func testListUnreadable(b *bench) {
	b.machines(2, 1000)
	b.cell.Corrupt(cellstate.LedgerKey("m0"))
	l := b.list(cellstate.Range{Kind: cellstate.KindLedger}, 0)
	if len(l.Records) != 2 || l.Records[0].Err == nil || l.Records[0].Raw == "" || l.Records[0].Value != nil || l.Records[0].Rev == 0 {
		b.Fatalf("an unreadable ledger lists as %+v", l.Records)
	}
	if l.Records[1].Value == nil {
		b.Error("its neighbour is not listed")
	}
}

// change describes a batch's events as "+tenant a -tenant b".
func change(batch cellstate.Batch) string {
	var out []string
	for _, e := range batch.Events {
		sign := "+"
		if e.Deleted {
			sign = "-"
		}
		out = append(out, sign+e.Record.Key.String())
	}
	slices.Sort(out)
	return fmt.Sprint(out)
}

// watch collects batches that are not empty from `from` until one at `until` was seen.
func (b *bench) watch(s cellstate.Store, r cellstate.Range, from, until int64) []cellstate.Batch {
	b.Helper()
	var got []cellstate.Batch
	last := from - 1
	for batch, err := range s.Watch(b.Context(), r, from) {
		if err != nil {
			b.Fatalf("Watch: %v", err)
		}
		if len(batch.Events) == 0 {
			if batch.Rev < last {
				b.Fatalf("an empty batch at %d after one at %d", batch.Rev, last)
			}
			last = batch.Rev
			continue
		}
		if batch.Rev <= last {
			b.Fatalf("a batch at %d after one at %d", batch.Rev, last)
		}
		last = batch.Rev
		for _, e := range batch.Events {
			if e.Record.Rev != batch.Rev {
				b.Fatalf("an event of revision %d in the batch of %d", e.Record.Rev, batch.Rev)
			}
		}
		got = append(got, batch)
		if last >= until {
			break
		}
	}
	return got
}

// testWatchWhole watches while others write, then compares every revision with what a listing at it shows.
func testWatchWhole(b *bench) {
	from := b.list(cellstate.Range{}, 0).Rev + 1
	const writers, rounds = 4, 25
	done := make(chan error, writers)
	for w := range writers {
		s := b.cell.Open()
		go func() {
			for i := range rounds {
				sw := cellstate.Swap{Put: []cellstate.Put{
					{Value: &cellstate.Tenant{Name: fmt.Sprintf("w%d-a%d", w, i%3)}},
					{Value: &cellstate.Tenant{Name: fmt.Sprintf("w%d-b%d", w, i%5)}},
				}}
				if i%7 == 6 {
					sw.Delete = []cellstate.Key{cellstate.TenantKey(fmt.Sprintf("w%d-a%d", w, (i+1)%3))}
				}
				if _, err := s.Swap(b.Context(), sw); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	batches := make(chan []cellstate.Batch, 1)
	go func() {
		var got []cellstate.Batch
		n := 0
		for batch, err := range b.s.Watch(b.Context(), cellstate.Range{}, from) {
			if err != nil {
				b.Errorf("Watch: %v", err)
				break
			}
			got = append(got, batch)
			if len(batch.Events) > 0 {
				n++
			}
			if n == writers*rounds {
				break
			}
		}
		batches <- got
	}()
	for range writers {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	state := make(map[cellstate.Key]int64)
	for _, batch := range <-batches {
		for _, e := range batch.Events {
			if e.Deleted {
				delete(state, e.Record.Key)
			} else {
				state[e.Record.Key] = e.Record.Rev
			}
		}
		l := b.list(cellstate.Range{}, batch.Rev)
		if len(l.Records) != len(state) {
			b.Fatalf("at %d the watch shows %d keys, the listing %d", batch.Rev, len(state), len(l.Records))
		}
		for _, r := range l.Records {
			if state[r.Key] != r.Rev {
				b.Fatalf("at %d the watch shows %s at %d, the listing at %d", batch.Rev, r.Key, state[r.Key], r.Rev)
			}
		}
	}
}

func testWatchPast(b *bench) {
	first := b.put(&cellstate.Tenant{Name: "a"})
	b.swap(cellstate.Swap{Put: []cellstate.Put{{Value: &cellstate.Tenant{Name: "a"}}, {Value: &cellstate.Tenant{Name: "b"}}}})
	b.swap(cellstate.Swap{Delete: []cellstate.Key{cellstate.TenantKey("a"), cellstate.TenantKey("never")}})
	last := b.put(&cellstate.Tenant{Name: "c"})
	want := []string{"[+tenant a]", "[+tenant a +tenant b]", "[-tenant a]", "[+tenant c]"}
	for skip := range want {
		got := b.watch(b.s, cellstate.Range{}, first+int64(skip), last)
		var text []string
		for _, batch := range got {
			text = append(text, change(batch))
		}
		if !slices.Equal(text, want[skip:]) {
			b.Errorf("from %d: %v, want %v", first+int64(skip), text, want[skip:])
		}
	}
	for _, batch := range b.watch(b.s, cellstate.Range{}, first+1, first+1) {
		for _, e := range batch.Events {
			v := e.Record.Value.(*cellstate.Tenant)
			if wantCreated := map[string]int64{"a": first, "b": first + 1}[v.Name]; v.Rev != first+1 || e.Record.CreateRev != wantCreated {
				b.Errorf("tenant %s has revision %d, created at %d; want %d, %d", v.Name, v.Rev, e.Record.CreateRev, first+1, wantCreated)
			}
		}
	}
}

func testWatchNow(b *bench) {
	before := b.put(&cellstate.Tenant{Name: "a"})
	for batch, err := range b.s.Watch(b.Context(), cellstate.Range{}, 0) {
		if err != nil {
			b.Fatalf("Watch: %v", err)
		}
		if batch.Rev <= before {
			if len(batch.Events) > 0 {
				b.Fatalf("from now: %s of revision %d, before the watch began", change(batch), batch.Rev)
			}
			b.put(&cellstate.Tenant{Name: "b"}) // the watch is set up: this one it must see
			continue
		}
		if got := change(batch); got != "[+tenant b]" {
			b.Errorf("from now: %s", got)
		}
		return
	}
}

func testWatchRange(b *bench) {
	first := b.put(&cellstate.Tenant{Name: "a"})
	b.put(&cellstate.Tenant{Name: "ab"})
	b.swap(cellstate.Swap{Put: []cellstate.Put{{Value: &cellstate.Tenant{Name: "a"}}, {Value: leader("x")}}})
	last := b.put(&cellstate.Tenant{Name: "a"})
	got := b.watch(b.s, cellstate.TenantKey("a").Only(), first, last)
	if len(got) != 3 {
		b.Fatalf("tenant a changed %d times, want 3", len(got))
	}
	for _, batch := range got {
		if change(batch) != "[+tenant a]" {
			b.Errorf("a watch of tenant a shows %s", change(batch))
		}
	}
}

func testWatchCompacted(b *bench) {
	b.put(&cellstate.Tenant{Name: "a"})
	before := b.put(&cellstate.Tenant{Name: "b"})
	last := b.put(&cellstate.Tenant{Name: "c"})
	b.cell.Compact(last)
	ended := false
	for batch, err := range b.s.Watch(b.Context(), cellstate.Range{}, before) {
		if ended {
			b.Fatal("the watch goes on after its error")
		}
		if err == nil {
			if len(batch.Events) > 0 {
				b.Fatalf("a watch from before the compaction shows %s", change(batch))
			}
			continue
		}
		ended = true
		if !errors.Is(err, cellstate.ErrCompacted) {
			b.Errorf("error %v, want %v", err, cellstate.ErrCompacted)
		}
	}
	if !ended {
		b.Error("a watch from before the compaction ended without an error")
	}
	next := b.put(&cellstate.Tenant{Name: "d"})
	if got := b.watch(b.s, cellstate.Range{}, last, next); len(got) != 2 || change(got[0]) != "[+tenant c]" {
		b.Errorf("a watch from the compaction's own revision shows %+v, want tenants c and d", got)
	}
}

func testWatchUnreadable(b *bench) {
	from := b.machines(2, 1000) + 1
	b.cell.Corrupt(cellstate.LedgerKey("m0"))
	last := b.put(&cellstate.Tenant{Name: "a"})
	got := b.watch(b.s, cellstate.Range{}, from, last)
	if len(got) != 2 || got[0].Events[0].Record.Err == nil || got[0].Events[0].Record.Raw == "" || got[0].Events[0].Record.Value != nil {
		b.Fatalf("an unreadable ledger is watched as %+v", got)
	}
}

func testWatchEnded(b *bench) {
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	var last error
	for _, err := range b.s.Watch(ctx, cellstate.Range{}, 0) {
		last = err
		cancel()
	}
	if !errors.Is(last, context.Canceled) {
		b.Errorf("a watch whose context ended ended with %v", last)
	}
}
