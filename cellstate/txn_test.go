package cellstate

import (
	"fmt"
	"slices"
	"testing"
)

func TestTxnCheck(t *testing.T) {
	mine, theirs := claimOf("s", "mine", 0, cpu(1)), claimOf("other", "theirs", 0, cpu(1))
	ref := func(c Claim) ClaimRef { return ClaimRef{"m1", c.ID} }
	evict := func(c Claim, by ClaimID) Evict { return Evict{ref(c), Eviction{Deadline: 1, By: by}} }
	for _, tt := range []struct {
		name   string
		change func(x *Txn)
		ok     bool
	}{
		{"empty", func(*Txn) {}, true},
		{"no scheduler", func(x *Txn) { x.Scheduler = "" }, false},
		{"no mode", func(x *Txn) { x.Mode = 0 }, false},
		{"mode beyond", func(x *Txn) { x.Mode = AllOrNothing + 1 }, false},
		{"no rule", func(x *Txn) { x.Rule = 0 }, false},
		{"rule beyond", func(x *Txn) { x.Rule = SeqRule + 1 }, false},
		{"seq with a basis", func(x *Txn) { x.Rule, x.Basis = SeqRule, newCell() }, true},
		{"seq without", func(x *Txn) { x.Rule = SeqRule }, false},

		{"add mine", func(x *Txn) { x.Add = []Claim{mine} }, true},
		{"add theirs", func(x *Txn) { x.Add = []Claim{theirs} }, false},
		{"operator adds anything", func(x *Txn) { x.Scheduler, x.Add = Operator, []Claim{theirs} }, true},
		{"add an impossible claim", func(x *Txn) { x.Add = []Claim{claimOf("s", "mine", 0, cpu(-1))} }, false},
		{"add an ended claim", func(x *Txn) { x.Add = []Claim{ended(mine)} }, false},
		{"add an evicted claim", func(x *Txn) { x.Add = []Claim{evictedAt(mine, 5)} }, false},
		{"add twice", func(x *Txn) { x.Add = []Claim{mine, mine} }, false},
		{"add twice, out of order", func(x *Txn) { x.Add = []Claim{mine, claimOf("s", "a", 0, cpu(1)), mine} }, false},
		{"add two, out of order", func(x *Txn) { x.Add = []Claim{mine, claimOf("s", "a", 0, cpu(1))} }, true},
		{"add and remove one claim", func(x *Txn) { x.Add, x.Remove = []Claim{mine}, []ClaimRef{ref(mine)} }, false},

		{"remove mine", func(x *Txn) { x.Remove = []ClaimRef{ref(mine)} }, true},
		{"remove theirs", func(x *Txn) { x.Remove = []ClaimRef{ref(theirs)} }, false},
		{"operator removes anybody's", func(x *Txn) { x.Scheduler, x.Remove = Operator, []ClaimRef{ref(theirs)} }, true},
		{"remove from a machine of no name", func(x *Txn) { x.Remove = []ClaimRef{{"", mine.ID}} }, false},

		{"evict mine", func(x *Txn) { x.Evict = []Evict{evict(mine, ClaimID{})} }, true},
		{"without a deadline", func(x *Txn) { x.Evict = []Evict{{ref(mine), Eviction{}}} }, false},
		{"evict theirs for nothing", func(x *Txn) { x.Evict = []Evict{evict(theirs, ClaimID{})} }, false},
		{"evict theirs for mine", func(x *Txn) { x.Add, x.Evict = []Claim{mine}, []Evict{evict(theirs, mine.ID)} }, true},
		{"for mine elsewhere", func(x *Txn) {
			x.Add, x.Evict = []Claim{mine}, []Evict{evict(theirs, mine.ID)}
			x.Add[0].Machine = "m2"
		}, false},
		{"for mine that only moves there", func(x *Txn) {
			x.Move, x.Evict = []Move{{"m2", mine}}, []Evict{evict(theirs, mine.ID)}
		}, false},
		{"operator evicts anybody's", func(x *Txn) { x.Scheduler, x.Evict = Operator, []Evict{evict(theirs, ClaimID{})} }, true},
		{"evict on a machine of a bad name", func(x *Txn) { x.Evict = []Evict{{ClaimRef{"m/1", mine.ID}, Eviction{Deadline: 1}}} }, false},

		{"move mine", func(x *Txn) { x.Move = []Move{{"m2", mine}} }, true},
		{"move theirs", func(x *Txn) { x.Move = []Move{{"m2", theirs}} }, false},
		{"move to where it is", func(x *Txn) { x.Move = []Move{{"m1", mine}} }, false},
		{"move from a machine of no name", func(x *Txn) { x.Move = []Move{{"", mine}} }, false},
		{"move an impossible claim", func(x *Txn) { x.Move = []Move{{"m2", claimOf("s", "mine", 0, gpu(1500))}} }, false},
		{"move an ended claim", func(x *Txn) { x.Move = []Move{{"m2", ended(mine)}} }, false},
		{"move an evicted claim", func(x *Txn) { x.Move = []Move{{"m2", evictedAt(mine, 5)}} }, false},
		{"move twice", func(x *Txn) { x.Move = []Move{{"m2", mine}, {"m3", mine}} }, false},
	} {
		x := &Txn{ID: "t", Scheduler: "s", Mode: Incremental, Rule: FitRule}
		tt.change(x)
		checkInvalid(t, tt.name, x.Check(), tt.ok)
		if _, err := Commit(newCell(), x, Limits{}); (err == nil) != tt.ok {
			t.Errorf("%s: Commit: %v", tt.name, err)
		}
	}
}

// TestParts: what depends on each other is decided together, and nothing else.
func TestParts(t *testing.T) {
	move := func(job, from, to string) Move {
		c := claimOf("s", job, 0, cpu(1))
		c.Machine = to
		return Move{from, c}
	}
	on := func(job, machine string) Claim {
		c := claimOf("s", job, 0, cpu(1))
		c.Machine = machine
		return c
	}
	type part struct {
		machines string
		atomic   bool
	}
	moves := []Move{move("a", "m1", "m2"), move("b", "m3", "m4"), move("c", "m4", "m2"), move("d", "m6", "m7")}
	for _, tt := range []struct {
		name string
		txn  Txn
		want []part
	}{
		{"nothing", Txn{Mode: Incremental}, nil},
		{"a machine named twice", Txn{Mode: Incremental, Add: []Claim{on("b", "m2"), on("a", "m1"), on("c", "m2")}}, []part{{"[m1]", false}, {"[m2]", false}}},
		{"a gang", Txn{Mode: AllOrNothing, Add: []Claim{on("b", "m2"), on("a", "m1")}, Move: moves[3:]}, []part{{"[m1 m2 m6 m7]", true}}},
		{"moves that meet", Txn{Mode: Incremental, Move: moves, Add: []Claim{on("e", "m5"), on("f", "m3")}},
			[]part{{"[m1 m2 m3 m4]", true}, {"[m5]", false}, {"[m6 m7]", true}}},
		{"somebody else's claim", Txn{Mode: Incremental, Scheduler: "s", Add: []Claim{on("a", "m1"), on("b", "m2")},
			Evict: []Evict{{ClaimRef{"m2", ClaimID{Scheduler: "other"}}, Eviction{By: on("b", "m2").ID}}, {ClaimRef{"m1", ClaimID{Scheduler: "s"}}, Eviction{}}}},
			[]part{{"[m1]", false}, {"[m2]", true}}},
		{"one's own, for a new one, for an old one, for none", Txn{Mode: Incremental, Scheduler: "s", Add: []Claim{on("a", "m1"), on("b", "m2"), on("c", "m3")},
			Evict: []Evict{{ClaimRef{"m1", ClaimID{Scheduler: "s", Job: "x"}}, Eviction{By: on("a", "").ID}},
				{ClaimRef{"m2", ClaimID{Scheduler: "s", Job: "y"}}, Eviction{By: on("old", "").ID}}, {ClaimRef{"m3", ClaimID{Scheduler: "s", Job: "z"}}, Eviction{}}}},
			[]part{{"[m1]", true}, {"[m2]", false}, {"[m3]", false}}},
		{"for a new one elsewhere, for a moved one", Txn{Mode: Incremental, Scheduler: "s", Add: []Claim{on("b", "m2"), on("c", "m3")}, Move: moves[3:],
			Evict: []Evict{{ClaimRef{"m1", ClaimID{Scheduler: "s", Job: "x"}}, Eviction{By: on("b", "").ID}},
				{ClaimRef{"m3", ClaimID{Scheduler: "s", Job: "y"}}, Eviction{By: on("d", "").ID}}}},
			[]part{{"[m1 m2]", true}, {"[m3 m6 m7]", true}}},
	} {
		for range 2 {
			var got []part
			for _, p := range tt.txn.Parts() {
				got = append(got, part{fmt.Sprint(p.Machines), p.Atomic})
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("%s: parts %v, want %v", tt.name, got, tt.want)
			}
			slices.Reverse(tt.txn.Move)
			slices.Reverse(tt.txn.Add)
		}
	}
}
