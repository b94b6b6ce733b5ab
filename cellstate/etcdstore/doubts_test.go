package etcdstore

import (
	"fmt"
	"testing"
)

func TestDoubts(t *testing.T) {
	for _, tt := range []struct {
		name  string
		said  []int64 // revisions of m0 that etcd tells of, after a Txn of unknown outcome on it at 7; 0: it is gone
		holds bool    // at 7
	}{
		{"nothing is heard", nil, true},
		{"it is as it was", []int64{7}, true},
		{"something old is heard", []int64{6}, true},
		{"it was overwritten", []int64{8}, false},
		{"it is gone", []int64{0}, false},
	} {
		d := doubts{of: make(map[string]int64)}
		d.add("m0", 7)
		d.add("m0", 5) // cannot be carried out any more
		for _, rev := range tt.said {
			d.drop([]string{"m0", "m1"}, []ledgerAt{{rev: rev}, {rev: 9}})
		}
		if got := d.holds("m0", 7); got != tt.holds {
			t.Errorf("%s: in doubt %v, want %v", tt.name, got, tt.holds)
		}
		if d.holds("m0", 6) || d.holds("m0", 8) || d.holds("m1", 7) {
			t.Errorf("%s: another revision or machine is in doubt", tt.name)
		}
	}
}

// Where there are too many the oldest goes, and no more than that.
func TestDoubtsAreBounded(t *testing.T) {
	d := doubts{of: make(map[string]int64)}
	name := func(i int) string { return fmt.Sprint("m", i) }
	for i := range doubtedMachines {
		d.add(name(i), int64(i+1))
	}
	d.add(name(1), 2) // is there already
	if !d.holds(name(0), 1) {
		t.Error("one went before there were too many")
	}
	d.add("one more", 1<<40)
	if d.holds(name(0), 1) || !d.holds(name(1), 2) || len(d.of) != doubtedMachines {
		t.Errorf("%d in doubt, the oldest: %v, the next: %v", len(d.of), d.holds(name(0), 1), d.holds(name(1), 2))
	}
}
