package wire

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/omegacell/omegacell/cellstate"
)

// Directories under the cell's prefix. A status stands below its job, as …/status.
const (
	dirLedgers    = "ledgers/"
	dirReports    = "reports/"
	dirSessions   = "sessions/"
	dirMachines   = "machines/"
	dirTenants    = "tenants/"
	dirJobs       = "jobs/"
	dirSchedulers = "schedulers/"
	dirLeaders    = "leaders/"

	statusName = "/status"
)

// dir returns the directory of a kind, "" where there is no such kind, and whether a scheduler's name comes below it.
func dir(k cellstate.Kind) (name string, scoped bool) {
	switch k {
	case cellstate.KindLedger:
		return dirLedgers, false
	case cellstate.KindReport:
		return dirReports, false
	case cellstate.KindSession:
		return dirSessions, false
	case cellstate.KindMachine:
		return dirMachines, false
	case cellstate.KindTenant:
		return dirTenants, false
	case cellstate.KindJob, cellstate.KindStatus:
		return dirJobs, true
	case cellstate.KindScheduler:
		return dirSchedulers, false
	case cellstate.KindLeader:
		return dirLeaders, true
	}
	return "", false
}

// Prefix returns what all keys of a cell begin with. The cell's name is checked where it comes in, with cellstate.CheckName.
func Prefix(cell string) string { return "/omegacell/" + cell + "/" }

// CheckKey returns an error that names what no key may have: an unknown kind, a bad name, a scope where none belongs.
func CheckKey(k cellstate.Key) error {
	d, scoped := dir(k.Kind)
	if d == "" {
		return badKey(k.String(), fmt.Errorf("there is no kind %d: %w", k.Kind, cellstate.ErrInvalid))
	}
	if scoped {
		if err := cellstate.CheckName(k.Scope); err != nil {
			return badKey(k.String(), fmt.Errorf("scheduler: %w", err))
		}
	} else if k.Scope != "" {
		return badKey(k.String(), fmt.Errorf("a %s belongs to no scheduler: %w", k.Kind, cellstate.ErrInvalid))
	}
	if err := cellstate.CheckName(k.Name); err != nil {
		return badKey(k.String(), err)
	}
	if k.Kind == cellstate.KindLeader {
		// Only one spelling of a number, or two keys would be one shard.
		if n, err := strconv.ParseUint(k.Name, 10, 32); err != nil || strconv.FormatUint(n, 10) != k.Name {
			return badKey(k.String(), fmt.Errorf("shard %q is not a number below 2^32: %w", k.Name, cellstate.ErrInvalid))
		}
	}
	return nil
}

func badKey(on string, err error) error { return &cellstate.OpError{Op: "check key", On: on, Err: err} }

// KeyString spells a key that [CheckKey] accepts. For another one the result is of no use.
func KeyString(cell string, k cellstate.Key) string {
	d, scoped := dir(k.Kind)
	if !scoped {
		return Prefix(cell) + d + k.Name
	}
	s := Prefix(cell) + d + k.Scope + "/" + k.Name
	if k.Kind == cellstate.KindStatus {
		s += statusName
	}
	return s
}

// ParseKey reads what [KeyString] wrote. It accepts nothing else.
func ParseKey(cell, raw string) (cellstate.Key, error) {
	rest, ok := strings.CutPrefix(raw, Prefix(cell))
	if !ok {
		return cellstate.Key{}, badKey(raw, fmt.Errorf("not below %s: %w", Prefix(cell), cellstate.ErrInvalid))
	}
	i := strings.IndexByte(rest, '/') + 1
	kind, ok := kindOf(rest[:i])
	if !ok {
		return cellstate.Key{}, badKey(raw, fmt.Errorf("no kind of record has the directory %q: %w", rest[:i], cellstate.ErrInvalid))
	}
	k := cellstate.Key{Kind: kind, Name: rest[i:]}
	if _, scoped := dir(kind); scoped {
		k.Scope, k.Name, _ = strings.Cut(k.Name, "/")
	}
	if kind == cellstate.KindJob {
		if job, ok := strings.CutSuffix(k.Name, statusName); ok {
			k.Kind, k.Name = cellstate.KindStatus, job
		}
	}
	if err := CheckKey(k); err != nil {
		return cellstate.Key{}, badKey(raw, err)
	}
	return k, nil
}

func kindOf(directory string) (cellstate.Kind, bool) {
	for k := cellstate.KindLedger; k <= cellstate.KindLeader; k++ {
		if d, _ := dir(k); d == directory { // of jobs and statuses, the first: jobs
			return k, true
		}
	}
	return 0, false
}

// RangePrefix returns the one key that a range holds (exact), or else the longest prefix that all its keys have. Other keys
// may have it too: filter with Range.Contains.
func RangePrefix(cell string, r cellstate.Range) (prefix string, exact bool) {
	d, scoped := dir(r.Kind)
	switch {
	case d == "":
		return Prefix(cell), false
	case scoped && r.Scope == "", !scoped && r.Name == "":
		return Prefix(cell) + d, false
	case scoped && r.Name == "":
		return Prefix(cell) + d + r.Scope + "/", false
	}
	return KeyString(cell, cellstate.Key(r)), true
}
