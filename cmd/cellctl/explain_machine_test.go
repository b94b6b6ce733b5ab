package main

import (
	"slices"
	"testing"

	"github.com/omegacell/omegacell/cellstate"
)

// TestObstaclesOfAShrunkenMachine: only a machine that holds more than it has is said to have shrunk.
func TestObstaclesOfAShrunkenMachine(t *testing.T) {
	for capacity, shrunk := range map[int64]bool{1000: false, 999: true} {
		l := cellstate.NewLedger("m", cellstate.Resources{CPUMilli: capacity})
		l.Claims = []cellstate.Claim{{ID: cellstate.ClaimID{Scheduler: "s", Job: "j"}, Resources: cellstate.Resources{CPUMilli: 1000}, Start: 1}}
		got := obstacles(&cellstate.MachineView{Ledger: l.Sum(), Session: &cellstate.Session{Machine: "m"}}, 10)
		if slices.Contains(got, "it holds more than it has: its capacity shrank") != shrunk {
			t.Errorf("with %dm of 1000m claimed: %q, want shrunk %v", capacity, got, shrunk)
		}
	}
}
