package cellstate

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// ClaimID names one claim for all time. It is made from what it is for, so that repeating a request cannot make a second
// claim (I4): Run tells two submissions of a job of one name apart, Attempt two tries at one task.
type ClaimID struct {
	Scheduler string
	Job       string
	Run       uint32 // chosen at random when the job was submitted
	Task      uint32 // 0 … job.Tasks−1
	Attempt   uint32 // 0, 1, 2 … for one task
}

// String gives "scheduler/job@run/task.attempt", run in hexadecimal. [ParseClaimID] reads it.
func (id ClaimID) String() string {
	return id.Scheduler + "/" + id.Job + "@" + strconv.FormatUint(uint64(id.Run), 16) +
		"/" + strconv.FormatUint(uint64(id.Task), 10) + "." + strconv.FormatUint(uint64(id.Attempt), 10)
}

// ParseClaimID reads what [ClaimID.String] wrote, and no other spelling of it: no leading zeros, no upper-case run.
func ParseClaimID(s string) (ClaimID, error) {
	bad := func() (ClaimID, error) {
		return ClaimID{}, fmt.Errorf("claim ID %q is not scheduler/job@run/task.attempt: %w", s, ErrInvalid)
	}
	p := strings.Split(s, "/")
	if len(p) != 3 {
		return bad()
	}
	job, run, ok1 := strings.Cut(p[1], "@")
	task, attempt, ok2 := strings.Cut(p[2], ".")
	r, err1 := strconv.ParseUint(run, 16, 32)
	t, err2 := strconv.ParseUint(task, 10, 32)
	a, err3 := strconv.ParseUint(attempt, 10, 32)
	if !ok1 || !ok2 || err1 != nil || err2 != nil || err3 != nil || CheckName(p[0]) != nil || CheckName(job) != nil {
		return bad()
	}
	id := ClaimID{Scheduler: p[0], Job: job, Run: uint32(r), Task: uint32(t), Attempt: uint32(a)}
	if id.String() != s {
		return bad()
	}
	return id, nil
}

// Compare orders claims by scheduler, job, run, task, attempt.
func (id ClaimID) Compare(o ClaimID) int {
	switch { // neighbours share most of it, and equal strings are told faster than they are ordered
	case id.Scheduler != o.Scheduler:
		return strings.Compare(id.Scheduler, o.Scheduler)
	case id.Job != o.Job:
		return strings.Compare(id.Job, o.Job)
	case id.Run != o.Run:
		return cmp.Compare(id.Run, o.Run)
	case id.Task != o.Task:
		return cmp.Compare(id.Task, o.Task)
	}
	return cmp.Compare(id.Attempt, o.Attempt)
}

// Claim is a task's recorded right to resources on one machine during [Start, End). One that begins later is a reservation.
type Claim struct {
	ID         ClaimID
	Machine    string // whose ledger it stands in
	JobVersion uint64 // version of the job that the task runs
	Precedence Precedence
	GangMin    uint32 // the gang's minimum of members; 0 where the job is no gang
	Resources  Resources
	GPUs       []GPUShare // which devices; nil lets [Commit] choose them
	Start      Instant    // the task may start from here on
	End        Instant    // exclusive; 0 means no end. The agent ends the task there
	// After names claims of the same machine (victims) that must have ended before this one starts; when the last of them
	// has, the claim begins at once, even before Start. See [Ledger.MarkEnded].
	After []ClaimID
	// Ended says that the agent saw the task's end: it holds no room any more. How it ended is in the machine's Report.
	// The claim stays until its scheduler removes it, which acknowledges the end (I5).
	Ended bool
	Evict *Eviction // nil unless it has to go
}

// GPUShare is a claim's part of one physical device.
type GPUShare struct {
	Device uint16 // index on the machine, from 0
	Milli  uint16 // thousandths of the device, 1 … 1000
}

// GPUDevice is the capacity of one GPU device in thousandths.
const GPUDevice = 1000

// Eviction tells a claim's owner and agent that the claim has to go: its owner may checkpoint, move or end the task before
// the deadline; at the deadline the agent ends it.
type Eviction struct {
	Deadline Instant
	Reason   string  // for people: "preempted by service/web", "job stopped", "drain"
	By       ClaimID // the claim that takes the room; zero where none does
}

// until is when the claim stops to hold its room: its end, or the deadline of its eviction if that is earlier.
func (c *Claim) until() Instant {
	end := c.End
	if end == 0 {
		end = Forever
	}
	if c.Evict != nil && c.Evict.Deadline < end {
		return c.Evict.Deadline
	}
	return end
}

// ActiveAt reports whether the claim holds its room at t.
func (c *Claim) ActiveAt(t Instant) bool { return !c.Ended && c.Start <= t && t < c.until() }

// Overlaps reports whether the claim holds its room at some instant of [start, end).
func (c *Claim) Overlaps(start, end Instant) bool {
	return !c.Ended && c.Start < end && start < c.until()
}

// Same reports whether o asks for the same as c: a repeated request, not a second one (I4).
func (c *Claim) Same(o *Claim) bool {
	return c.ID == o.ID && c.JobVersion == o.JobVersion && c.Resources.Equal(o.Resources) && c.Precedence == o.Precedence
}

// Check returns an error that names what no claim may have.
func (c *Claim) Check() error {
	on := func(err error) error { return &OpError{Op: "check claim", On: c.ID.String(), Err: err} }
	for _, n := range []string{c.ID.Scheduler, c.ID.Job, c.Machine} {
		if err := CheckName(n); err != nil {
			return on(err)
		}
	}
	if err := c.Precedence.Check(); err != nil {
		return on(err)
	}
	if err := c.Resources.Check(); err != nil {
		return on(err)
	}
	if c.Start < 0 || c.End < 0 || (c.End != 0 && c.End <= c.Start) {
		return on(fmt.Errorf("interval [%d, %d) is empty or negative: %w", c.Start, c.End, ErrInvalid))
	}
	if len(c.GPUs) > 0 {
		var sum int64
		for i, g := range c.GPUs {
			sum += int64(g.Milli)
			if g.Milli == 0 || g.Milli > GPUDevice || slices.ContainsFunc(c.GPUs[:i], func(o GPUShare) bool { return o.Device == g.Device }) {
				return on(fmt.Errorf("gpu device %d: a share is 1..1000m and each device is named once: %w", g.Device, ErrInvalid))
			}
			if len(c.GPUs) > 1 && g.Milli != GPUDevice {
				return on(fmt.Errorf("gpu device %d: %dm of it beside other devices: a share lies on one device: %w", g.Device, g.Milli, ErrInvalid))
			}
		}
		if sum != c.Resources.GPUMilli {
			return on(fmt.Errorf("gpu devices add up to %dm, not to the %dm claimed: %w", sum, c.Resources.GPUMilli, ErrInvalid))
		}
	}
	return nil
}

// Precedence is a claim's place on the one scale of the cell: who may evict whom. Higher takes from lower.
type Precedence int32

// Band is a range of the scale, as in Borg (EuroSys 2015, §2.5: monitoring, production, batch, best effort).
type Band uint8

const (
	BandBestEffort Band = iota + 1 // precedence 0 … 99; never counted against a quota
	BandBatch                      // 100 … 199
	BandProduction                 // 200 … 299; never evicts its own band
	BandMonitoring                 // 300 … 399
)

// MaxPrecedence is the highest precedence there is.
const MaxPrecedence Precedence = 399

// Band returns the band that p lies in.
func (p Precedence) Band() Band { return Band(p/100) + BandBestEffort }

// Check returns an error where p is outside the scale.
func (p Precedence) Check() error {
	if p < 0 || p > MaxPrecedence {
		return fmt.Errorf("precedence %d is outside 0..%d: %w", p, MaxPrecedence, ErrInvalid)
	}
	return nil
}

// Lowest returns the lowest precedence of the band.
func (b Band) Lowest() Precedence { return Precedence(b-BandBestEffort) * 100 }

// Bands lists all bands, lowest first.
func Bands() []Band { return []Band{BandBestEffort, BandBatch, BandProduction, BandMonitoring} }

func (b Band) String() string {
	switch b {
	case BandBestEffort:
		return "best-effort"
	case BandBatch:
		return "batch"
	case BandProduction:
		return "production"
	case BandMonitoring:
		return "monitoring"
	}
	return fmt.Sprintf("Band(%d)", uint8(b))
}

// MayEvict reports whether a claim of precedence p may evict one of precedence victim: only a lower one, and production
// never evicts production (Borg, §2.5).
func (p Precedence) MayEvict(victim Precedence) bool {
	return victim < p && !(p.Band() == BandProduction && victim.Band() == BandProduction)
}

// MaxNameLength bounds the names of machines, jobs, schedulers and tenants, in bytes.
const MaxNameLength = 128

// CheckName returns an error unless s is 1 to 128 of the letters, digits, '.', '_' and '-', and starts with a letter or digit.
// Names become parts of keys, paths and environment variables.
func CheckName(s string) error {
	if s == "" || len(s) > MaxNameLength {
		return fmt.Errorf("name %q has %d bytes, not 1 to %d: %w", s, len(s), MaxNameLength, ErrInvalid)
	}
	for i := range len(s) {
		if class := nameClass[s[i]]; class == 0 || i == 0 && class != alphanumeric {
			return fmt.Errorf("name %q: byte %d is not a letter, digit, '.', '_' or '-' (the first a letter or digit): %w", s, i, ErrInvalid)
		}
	}
	return nil
}

// nameClass says which bytes names may have; 0 those they may not. Every claim that is read or written has three names checked.
var nameClass = func() (class [256]uint8) {
	for _, r := range [...][2]byte{{'a', 'z'}, {'A', 'Z'}, {'0', '9'}} {
		for ch := r[0]; ch <= r[1]; ch++ {
			class[ch] = alphanumeric
		}
	}
	class['.'], class['_'], class['-'] = punctuation, punctuation, punctuation
	return class
}()

const (
	alphanumeric = iota + 1
	punctuation
)
