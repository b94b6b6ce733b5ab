package cellstate

// Hard bounds: no configuration goes beyond them, and no record that does is valid.
const (
	// MaxClaims bounds the live and ended claims of one ledger. All of them travel with each commit to the machine.
	MaxClaims = 1 << 14
	// MaxGPUDevices bounds the GPU devices of one machine. The fit rule keeps a number for each.
	MaxGPUDevices = 1024
	// MaxDemand bounds what all tasks of a job together ask for of one resource, in its unit (64 PiB of memory), so that the
	// demands of 127 such jobs still add up within an int64.
	MaxDemand = int64(1) << 56
)

// Limits bound what one record may hold. A zero in any field means the default its comment states.
type Limits struct {
	ClaimsPerMachine int // live and ended claims in one ledger; default 1024, never above MaxClaims
	TasksPerJob      int // default 100000
}

// WithDefaults returns l with every zero replaced by its default, and nothing above the hard bounds.
func (l Limits) WithDefaults() Limits {
	if l.ClaimsPerMachine == 0 {
		l.ClaimsPerMachine = 1024
	}
	l.ClaimsPerMachine = min(l.ClaimsPerMachine, MaxClaims)
	if l.TasksPerJob == 0 {
		l.TasksPerJob = 100000
	}
	return l
}
