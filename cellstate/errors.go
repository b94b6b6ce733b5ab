package cellstate

import "errors"

// The four kinds of error. Each tells the caller what to do next. A conflict is none of them: it is an answer, in a [Verdict].
var (
	ErrInvalid     = errors.New("invalid")           // the request is wrong: do not repeat it
	ErrUnavailable = errors.New("unavailable")       // nothing was done: try again later
	ErrUnknown     = errors.New("outcome unknown")   // it may have been done: repeat the same request
	ErrCompacted   = errors.New("history compacted") // the revision is too old: take a new snapshot
)

// OpError says which operation failed, on what. Err is, or wraps, one of the four kinds.
type OpError struct {
	Op  string // "commit", "watch"
	On  string // a cell, key, machine, claim or transaction ID
	Err error
}

func (e *OpError) Error() string { return "cellstate: " + e.Op + " " + e.On + ": " + e.Err.Error() }
func (e *OpError) Unwrap() error { return e.Err }
