package schedulers

import "testing"

// TestWindow: the window grows fast until the first conflict and slowly after it, is halved once for each windowful at most, and
// stays within its bounds.
func TestWindow(t *testing.T) {
	w := newWindow(20)
	expect := func(when string, size int) {
		t.Helper()
		entered := 0
		for w.tryEnter() {
			entered++
		}
		w.leave(entered)
		if entered != size {
			t.Errorf("%s: room for %d, want %d", when, entered, size)
		}
	}
	expect("at first", windowStart)
	w.record(0, 0)
	expect("after one that claimed nothing", windowStart)
	w.record(0, 1)
	expect("after a good one", windowStart+1)
	for range 100 {
		w.record(0, 1)
	}
	expect("after many", 20)
	w.record(1, 2)
	expect("after one that conflicted by half", 20)
	w.record(2, 3)
	expect("after one that mostly conflicted", 10)
	for range 10 {
		w.record(1, 1)
	}
	expect("after others of the same windowful", 10)
	w.record(1, 1)
	expect("after one of the next", 5)
	for range 4 {
		w.record(0, 1)
	}
	expect("before a good windowful is over", 5)
	for range 2 {
		w.record(0, 1)
	}
	expect("after a good windowful", 6)
	for range 1000 {
		w.record(1, 1)
	}
	expect("after nothing but conflicts", windowLeast)
	if w = newWindow(1); !w.tryEnter() || w.tryEnter() {
		t.Error("a window of one lets in another number than one")
	}
}
