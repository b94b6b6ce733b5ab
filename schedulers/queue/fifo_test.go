package queue

import (
	"testing"

	"github.com/omegacell/omegacell/cellstate"
)

func TestFIFO(t *testing.T) {
	var q FIFO
	q.Push("late", 100, 50)
	q.Push("a", 100, 0)
	q.Push("b", 100, 0)
	q.Push("high", 200, 0)
	q.Push("a", 100, 0) // waits already: keeps its place
	for _, tt := range []struct {
		now  cellstate.Instant
		want string // "" means nothing is due
	}{
		{10, "high"}, {10, "a"}, {10, "b"},
		{49, ""}, // the last instant at which it is not due
		{50, "late"}, {50, ""},
	} {
		got, ok := q.Pop(tt.now)
		if got != tt.want || ok != (tt.want != "") {
			t.Errorf("Pop(%d) = %q, %v; want %q", tt.now, got, ok, tt.want)
		}
	}
	if q.Len() != 0 {
		t.Errorf("Len = %d after all were popped", q.Len())
	}
}

func TestFIFOPushAgain(t *testing.T) {
	for _, tt := range []struct {
		name   string
		second cellstate.Instant
		next   cellstate.Instant
	}{
		{"later does not put off", 90, 50},
		{"earlier brings forward", 20, 20},
		{"at once", 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var q FIFO
			q.Push("x", 100, 50)
			q.Push("x", 100, tt.second)
			if due, ok := q.Next(); !ok || due != tt.next {
				t.Errorf("Next = %v, %v; want %v", due, ok, tt.next)
			}
			if q.Len() != 1 {
				t.Errorf("Len = %d, want one entry a name", q.Len())
			}
			q.Remove("x")
			if _, ok := q.Next(); ok || q.Len() != 0 {
				t.Error("Remove left something")
			}
		})
	}
}

func TestFIFORaisedPrecedence(t *testing.T) {
	var q FIFO
	q.Push("a", 100, 0)
	q.Push("b", 100, 0)
	q.Push("b", 150, 0)
	if got, _ := q.Pop(1); got != "b" {
		t.Errorf("first = %q, want the one whose precedence was raised", got)
	}
}
