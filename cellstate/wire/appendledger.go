package wire

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/omegacell/omegacell/cellstate"
)

// A ledger is encoded and decoded by hand: every commit encodes one for each machine it touches, and every mirror in the cell
// decodes it again. Without the messages in between encoding takes a quarter and decoding half of the time. The tests hold
// both directions to what the generated code does, byte for byte and value for value.

// The numbers of the fields, as in cell.proto.
const (
	ledgerMachine, ledgerCapacity, ledgerCordoned, ledgerDrain, ledgerClaims = 1, 2, 3, 4, 5

	claimScheduler, claimJob, claimRun, claimTask, claimAttempt      = 1, 2, 3, 4, 5
	claimJobVersion, claimPrecedence, claimResources                 = 6, 7, 8
	claimStart, claimEnd, claimEnded                                 = 9, 10, 11
	claimEvict, claimGPUs, claimAfter, claimGangMin                  = 12, 13, 14, 15
	drainDeadline, drainReason                                       = 1, 2
	evictDeadline, evictReason, evictBy                              = 1, 2, 3
	gpuDevice, gpuMilli                                              = 1, 2
	resourceCPU, resourceMem, resourceDisk, resourceNet, resourceGPU = 1, 2, 3, 4, 5
	resourceExtended                                                 = 6
	extendedName, extendedAmount                                     = 1, 2
)

// appendLedger appends the encoding of a ledger that passed check.
func appendLedger(b []byte, l *cellstate.Ledger) []byte {
	b = appendText(b, ledgerMachine, l.Machine)
	b = appendResources(b, ledgerCapacity, &l.Capacity)
	b = appendBool(b, ledgerCordoned, l.Cordoned)
	if d := l.Drain; d != nil {
		b, at := open(b, ledgerDrain)
		b = appendNumber(b, drainDeadline, uint64(d.Deadline))
		b = appendText(b, drainReason, d.Reason)
		return appendClaims(shut(b, at), l)
	}
	return appendClaims(b, l)
}

func appendClaims(b []byte, l *cellstate.Ledger) []byte {
	for i := range l.Claims {
		var at int
		b, at = open(b, ledgerClaims)
		b = shut(appendClaim(b, &l.Claims[i]), at)
	}
	return b
}

func appendClaim(b []byte, c *cellstate.Claim) []byte {
	var at int
	b = appendID(b, &c.ID)
	b = appendNumber(b, claimJobVersion, c.JobVersion)
	b = appendNumber(b, claimPrecedence, uint64(c.Precedence))
	b = appendResources(b, claimResources, &c.Resources)
	b = appendNumber(b, claimStart, uint64(c.Start))
	b = appendNumber(b, claimEnd, uint64(c.End))
	b = appendBool(b, claimEnded, c.Ended)
	if e := c.Evict; e != nil {
		b, at = open(b, claimEvict)
		b = appendNumber(b, evictDeadline, uint64(e.Deadline))
		b = appendText(b, evictReason, e.Reason)
		if e.By != (cellstate.ClaimID{}) {
			var by int
			b, by = open(b, evictBy)
			b = shut(appendID(b, &e.By), by)
		}
		b = shut(b, at)
	}
	for _, g := range c.GPUs {
		b, at = open(b, claimGPUs)
		b = appendNumber(b, gpuDevice, uint64(g.Device))
		b = shut(appendNumber(b, gpuMilli, uint64(g.Milli)), at)
	}
	for i := range c.After {
		b, at = open(b, claimAfter)
		b = shut(appendID(b, &c.After[i]), at)
	}
	return appendNumber(b, claimGangMin, uint64(c.GangMin))
}

// appendID appends the fields of an identity, which have the same numbers in Claim and ClaimID.
func appendID(b []byte, id *cellstate.ClaimID) []byte {
	b = appendText(b, claimScheduler, id.Scheduler)
	b = appendText(b, claimJob, id.Job)
	if id.Run != 0 {
		b = protowire.AppendFixed32(append(b, claimRun<<3|byte(fixed32)), id.Run)
	}
	b = appendNumber(b, claimTask, uint64(id.Task))
	return appendNumber(b, claimAttempt, uint64(id.Attempt))
}

func appendResources(b []byte, num protowire.Number, r *cellstate.Resources) []byte {
	if r.IsZero() {
		return b
	}
	b, at := open(b, num)
	b = appendNumber(b, resourceCPU, uint64(r.CPUMilli))
	b = appendNumber(b, resourceMem, uint64(r.MemBytes))
	b = appendNumber(b, resourceDisk, uint64(r.DiskBytes))
	b = appendNumber(b, resourceNet, uint64(r.NetBitsPerSecond))
	b = appendNumber(b, resourceGPU, uint64(r.GPUMilli))
	for i := range r.Extended {
		var ext int
		b, ext = open(b, resourceExtended)
		b = appendText(b, extendedName, r.Extended[i].Name)
		b = shut(appendNumber(b, extendedAmount, uint64(r.Extended[i].Amount)), ext)
	}
	return shut(b, at)
}

// appendNumber, appendText and appendBool leave a zero out, as proto3 does. All field numbers are below 16, so that a tag is
// one byte.

func appendNumber(b []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	b = append(b, byte(num)<<3|byte(varint))
	if v < 0x80 {
		return append(b, byte(v))
	}
	return protowire.AppendVarint(b, v)
}

func appendText(b []byte, num protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return protowire.AppendString(append(b, byte(num)<<3|byte(lengthed)), s)
}

func appendBool(b []byte, num protowire.Number, v bool) []byte {
	return appendNumber(b, num, protowire.EncodeBool(v))
}

// open begins a message within one, with one byte for its length; shut, given what open returned, fills the length in and
// makes room where it needs more bytes.
func open(b []byte, num protowire.Number) ([]byte, int) {
	b = append(b, byte(num)<<3|byte(lengthed), 0)
	return b, len(b)
}

func shut(b []byte, at int) []byte {
	n := len(b) - at
	if n < 1<<7 {
		b[at-1] = byte(n)
		return b
	}
	more := protowire.SizeVarint(uint64(n)) - 1
	for range more {
		b = append(b, 0)
	}
	copy(b[at+more:], b[at:at+n])
	protowire.AppendVarint(b[:at-1], uint64(n))
	return b
}
