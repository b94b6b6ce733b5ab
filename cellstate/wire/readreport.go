package wire

import (
	"fmt"

	"github.com/omegacell/omegacell/cellstate"
)

// A report is decoded by hand too: an agent writes one at each step of each task, and every mirror in the cell reads it.

// The numbers of the fields, as in cell.proto.
const (
	reportMachine, reportEpoch, reportClaims                                           = 1, 2, 3
	statusID, statusPhase, statusHealth, statusRestarts, statusPID                     = 1, 2, 3, 4, 5
	statusStarted, statusEnded, statusOutcome, statusExit, statusSignal, statusMessage = 6, 7, 8, 9, 10, 11
)

// readReport decodes a report, most likely of that machine, as the generated code would: what comes twice is merged, what is
// unknown is passed over.
func readReport(b []byte, machine string) (*cellstate.Report, error) {
	v := new(cellstate.Report)
	if claims := count(b, reportClaims<<3|lengthed); claims > 0 {
		v.Claims = make([]cellstate.ClaimStatus, 0, claims)
	}
	s := scanner{msg: b}
	var before cellstate.ClaimID
	for s.next() {
		switch s.tag {
		case reportMachine<<3 | lengthed:
			v.Machine = s.text(machine)
		case reportEpoch<<3 | varint:
			v.Epoch = s.number
		case reportClaims<<3 | lengthed:
			v.Claims = append(v.Claims, cellstate.ClaimStatus{})
			c := &v.Claims[len(v.Claims)-1]
			s.within(readClaimStatus(s.bytes(), c, &before))
			before = c.ID
		}
	}
	return v, s.err
}

func readClaimStatus(b []byte, c *cellstate.ClaimStatus, before *cellstate.ClaimID) error {
	s := scanner{msg: b}
	var phase, health, outcome int32 // what stands last counts, in range or not
	for s.next() {
		switch s.tag {
		case statusID<<3 | lengthed:
			s.within(readID(s.bytes(), &c.ID, before))
		case statusPhase<<3 | varint:
			phase = int32(s.number)
		case statusHealth<<3 | varint:
			health = int32(s.number)
		case statusRestarts<<3 | varint:
			c.Restarts = uint32(s.number)
		case statusPID<<3 | varint:
			c.PID = int32(s.number)
		case statusStarted<<3 | varint:
			c.StartedAt = cellstate.Instant(s.number)
		case statusEnded<<3 | varint:
			c.EndedAt = cellstate.Instant(s.number)
		case statusOutcome<<3 | varint:
			outcome = int32(s.number)
		case statusExit<<3 | varint:
			c.ExitCode = int32(s.number)
		case statusSignal<<3 | varint:
			c.Signal = int32(s.number)
		case statusMessage<<3 | lengthed:
			c.Message = s.text("")
		}
	}
	var r reader
	c.Phase = enum(&r, "phase", phase, cellstate.PhaseEnded)
	c.Health = enum(&r, "health", health, cellstate.Unhealthy)
	c.Outcome = enum(&r, "outcome", outcome, cellstate.OutcomeLost)
	s.within(r.err)
	if s.err != nil {
		return fmt.Errorf("claim %s: %w", c.ID, s.err)
	}
	return nil
}
