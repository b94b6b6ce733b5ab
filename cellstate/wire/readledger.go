package wire

import (
	"errors"
	"fmt"
	"io"
	"math"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/omegacell/omegacell/cellstate"
)

// scanner goes over the fields of one encoded message. It keeps the first error. What it notes of each field are numbers, not
// slices: a pointer written for every field is work for the garbage collector.
type scanner struct {
	msg []byte
	at  int // where the next field begins
	err error

	tag    uint64 // number<<3 | wire type, of the present field
	number uint64 // its value, for varint and fixed32
	from   int    // where its value begins, for lengthed
}

// Wire types, as in the low bits of a tag. A known number of another type is an unknown field, as for the generated code.
const (
	varint   = uint64(protowire.VarintType)
	lengthed = uint64(protowire.BytesType)
	fixed32  = uint64(protowire.Fixed32Type)
)

// next goes to the next field. It is false at the end, and after an error.
func (s *scanner) next() bool {
	if s.err != nil || s.at >= len(s.msg) {
		return false
	}
	tag, n := s.varint(s.at)
	if n < 0 {
		return s.fail(protowire.ParseError(n))
	}
	if tag>>3 == 0 || tag>>3 > uint64(protowire.MaxValidNumber) {
		return s.fail(fmt.Errorf("there is no field number %d", tag>>3))
	}
	s.at += n
	s.tag = tag
	switch protowire.Type(tag & 7) {
	case protowire.VarintType:
		s.number, n = s.varint(s.at)
	case protowire.BytesType:
		var size uint64
		if size, n = s.varint(s.at); n > 0 {
			s.from = s.at + n
			if size > uint64(len(s.msg)-s.from) {
				return s.fail(io.ErrUnexpectedEOF)
			}
			n += int(size)
		}
	case protowire.Fixed32Type:
		var v uint32
		v, n = protowire.ConsumeFixed32(s.msg[s.at:])
		s.number = uint64(v)
	default:
		n = protowire.ConsumeFieldValue(protowire.Number(tag>>3), protowire.Type(tag&7), s.msg[s.at:])
	}
	if n < 0 {
		return s.fail(protowire.ParseError(n))
	}
	s.at += n
	return true
}

// varint reads a number: most take one byte. n is its length, or less than 0 for an error of protowire's.
func (s *scanner) varint(at int) (v uint64, n int) {
	if at < len(s.msg) && s.msg[at] < 0x80 {
		return uint64(s.msg[at]), 1
	}
	return protowire.ConsumeVarint(s.msg[at:])
}

// bytes is the value of the present field, for lengthed: a part of the message.
func (s *scanner) bytes() []byte { return s.msg[s.from:s.at] }

// fail notes what is wrong; nil is nothing. It returns false.
func (s *scanner) fail(err error) bool {
	if s.err == nil && err != nil {
		s.err = fmt.Errorf("%w: %w", cellstate.ErrInvalid, err)
	}
	return false
}

// within notes the error of a message within this one.
func (s *scanner) within(err error) {
	if s.err == nil {
		s.err = err
	}
}

// text returns the field as a string: like itself, if that is the same, so that repeated names are kept once.
func (s *scanner) text(like string) string {
	b := s.bytes()
	if string(b) == like {
		return like
	}
	if !utf8.Valid(b) {
		s.fail(errors.New("a string is not UTF-8"))
		return ""
	}
	return string(b)
}

// count returns how many fields of a message have that tag.
func count(b []byte, tag uint64) (n int) {
	for s := (scanner{msg: b}); s.next(); {
		if s.tag == tag {
			n++
		}
	}
	return n
}

// readLedger decodes a ledger, most likely of that machine, as the generated code would: what comes twice is merged, what is
// unknown is passed over.
func readLedger(b []byte, machine string) (*cellstate.Ledger, error) {
	l := new(cellstate.Ledger)
	if claims := count(b, ledgerClaims<<3|lengthed); claims > 0 {
		l.Claims = make([]cellstate.Claim, 0, claims)
	}
	s := scanner{msg: b}
	var before cellstate.ClaimID
	for s.next() {
		switch s.tag {
		case ledgerMachine<<3 | lengthed:
			l.Machine = s.text(machine)
		case ledgerCapacity<<3 | lengthed:
			s.within(readResources(s.bytes(), &l.Capacity))
		case ledgerCordoned<<3 | varint:
			l.Cordoned = protowire.DecodeBool(s.number)
		case ledgerDrain<<3 | lengthed:
			if l.Drain == nil {
				l.Drain = new(cellstate.Drain)
			}
			s.within(readDrain(s.bytes(), l.Drain))
		case ledgerClaims<<3 | lengthed:
			l.Claims = append(l.Claims, cellstate.Claim{})
			c := &l.Claims[len(l.Claims)-1]
			s.within(readClaim(s.bytes(), c, &before))
			before = c.ID
		}
	}
	return l, s.err
}

func readDrain(b []byte, d *cellstate.Drain) error {
	s := scanner{msg: b}
	for s.next() {
		switch s.tag {
		case drainDeadline<<3 | varint:
			d.Deadline = cellstate.Instant(s.number)
		case drainReason<<3 | lengthed:
			d.Reason = s.text("")
		}
	}
	return s.err
}

// readClaim decodes a claim. before is the ID of another one: claims of one job stand side by side.
func readClaim(b []byte, c *cellstate.Claim, before *cellstate.ClaimID) error {
	s := scanner{msg: b}
	for s.next() {
		switch s.tag {
		case claimJobVersion<<3 | varint:
			c.JobVersion = s.number
		case claimPrecedence<<3 | varint:
			c.Precedence = cellstate.Precedence(s.number)
		case claimResources<<3 | lengthed:
			s.within(readResources(s.bytes(), &c.Resources))
		case claimStart<<3 | varint:
			c.Start = cellstate.Instant(s.number)
		case claimEnd<<3 | varint:
			c.End = cellstate.Instant(s.number)
		case claimEnded<<3 | varint:
			c.Ended = protowire.DecodeBool(s.number)
		case claimEvict<<3 | lengthed:
			if c.Evict == nil {
				c.Evict = new(cellstate.Eviction)
			}
			s.within(readEviction(s.bytes(), c.Evict, &c.ID))
		case claimGPUs<<3 | lengthed:
			g, err := readGPU(s.bytes())
			s.within(err)
			c.GPUs = append(c.GPUs, g)
		case claimAfter<<3 | lengthed:
			var id cellstate.ClaimID
			s.within(readID(s.bytes(), &id, &c.ID))
			c.After = append(c.After, id)
		case claimGangMin<<3 | varint:
			c.GangMin = uint32(s.number)
		default:
			s.identity(&c.ID, before)
		}
	}
	if s.err != nil {
		return fmt.Errorf("claim %s: %w", c.ID, s.err)
	}
	return nil
}

// identity takes the present field into an ID, if it is one of those that Claim and ClaimID have in common.
func (s *scanner) identity(id, like *cellstate.ClaimID) {
	switch s.tag {
	case claimScheduler<<3 | lengthed:
		id.Scheduler = s.text(like.Scheduler)
	case claimJob<<3 | lengthed:
		id.Job = s.text(like.Job)
	case claimRun<<3 | fixed32:
		id.Run = uint32(s.number)
	case claimTask<<3 | varint:
		id.Task = uint32(s.number)
	case claimAttempt<<3 | varint:
		id.Attempt = uint32(s.number)
	}
}

func readID(b []byte, id, like *cellstate.ClaimID) error {
	s := scanner{msg: b}
	for s.next() {
		s.identity(id, like)
	}
	return s.err
}

func readEviction(b []byte, e *cellstate.Eviction, like *cellstate.ClaimID) error {
	s := scanner{msg: b}
	for s.next() {
		switch s.tag {
		case evictDeadline<<3 | varint:
			e.Deadline = cellstate.Instant(s.number)
		case evictReason<<3 | lengthed:
			e.Reason = s.text("")
		case evictBy<<3 | lengthed:
			s.within(readID(s.bytes(), &e.By, like))
		}
	}
	return s.err
}

func readGPU(b []byte) (cellstate.GPUShare, error) {
	var device, milli uint32
	s := scanner{msg: b}
	for s.next() {
		switch s.tag {
		case gpuDevice<<3 | varint:
			device = uint32(s.number)
		case gpuMilli<<3 | varint:
			milli = uint32(s.number)
		}
	}
	if device > math.MaxUint16 || milli > cellstate.GPUDevice {
		s.fail(fmt.Errorf("gpu device %d, share %dm is outside 0..65535, 1..1000m", device, milli))
	}
	return cellstate.GPUShare{Device: uint16(device), Milli: uint16(milli)}, s.err
}

func readResources(b []byte, r *cellstate.Resources) error {
	s := scanner{msg: b}
	for s.next() {
		switch s.tag {
		case resourceCPU<<3 | varint:
			r.CPUMilli = int64(s.number)
		case resourceMem<<3 | varint:
			r.MemBytes = int64(s.number)
		case resourceDisk<<3 | varint:
			r.DiskBytes = int64(s.number)
		case resourceNet<<3 | varint:
			r.NetBitsPerSecond = int64(s.number)
		case resourceGPU<<3 | varint:
			r.GPUMilli = int64(s.number)
		case resourceExtended<<3 | lengthed:
			var e cellstate.Extended
			s.within(readExtended(s.bytes(), &e))
			r.Extended = append(r.Extended, e)
		}
	}
	return s.err
}

func readExtended(b []byte, e *cellstate.Extended) error {
	s := scanner{msg: b}
	for s.next() {
		switch s.tag {
		case extendedName<<3 | lengthed:
			e.Name = s.text("")
		case extendedAmount<<3 | varint:
			e.Amount = int64(s.number)
		}
	}
	return s.err
}
