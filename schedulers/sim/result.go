package sim

import "time"

// Result is what a run showed.
type Result struct {
	Horizon    time.Duration
	Schedulers []SchedulerResult // batch ones first
	Classes    PerClass[ClassResult]
	// CPU and Memory are the shares of the cell that were claimed, on average over the run; Usage is how they went.
	CPU, Memory float64
	Usage       []Usage
	Placements  int64 // tasks placed
	Events      int64 // simulated
}

// Usage is what was claimed at one time, as shares of the cell.
type Usage struct {
	At          time.Duration
	CPU, Memory float64
}

// SchedulerResult is what one scheduler did.
type SchedulerResult struct {
	Name  string // "batch-0"; "monolithic"
	Class Class  // 0: both
	Tally
	QueueEnd int // jobs queued at the end of the run
}

// ClassResult is what became of one class's jobs, and of the schedulers that work on it: shares of time are means over the
// schedulers, counts are sums. Of a monolithic scheduler it counts the attempts at jobs of this class only.
type ClassResult struct {
	Schedulers int
	Tally
	QueueEnd int

	Jobs      int // submitted within the run
	Attempted int // of which a first decision began; the waits and AttemptsMean are over these
	Placed    int // of which all tasks were placed
	// WaitFirst is from submission to the beginning of the first decision (Omega, §4: job wait time). WaitFull is all the time
	// queued until the decision began that placed the last task, or until the last one there was; pauses do not count.
	WaitFirst, WaitFull Wait
	AttemptsMean        float64
}

// Tally counts decisions and what came of them.
type Tally struct {
	Busy       Share // of time spent deciding (Omega, §4: busyness)
	NoConflict Share // what it would be without any second attempt: the no-conflict approximation
	Wasted     Share // of time spent on attempts of which something was refused, and on deciding again before a commit
	// NoRoom is of time spent on attempts that found no machine for any task. Busy includes it, but under CompatGoogle.
	NoRoom Share

	TxOK, TxFailed int // attempts that were committed whole; of which something was refused
	// ConflictFraction is TxFailed / TxOK, "average number of conflicts per successful transaction" (Omega, §4).
	ConflictFraction   float64
	TasksOK, TasksLost int // tasks placed; refused by the commit
	Revalidated        int // tasks decided again before the commit because their machine was taken meanwhile
	NoFit              int // attempts that found no machine for any task
	Abandoned          int // jobs given up
	Offers             int // two-level: offers answered
}

// Share is a share of time: of the whole run, and of each day of it. A run shorter than 24 h is one day; what is left over at
// the end of a longer one is of none.
type Share struct {
	Whole       float64
	Days        []float64
	Median, MAD float64 // over Days; MAD is the median absolute deviation from the median (Omega, §4.1)
}

// Wait is a distribution of times.
type Wait struct{ Mean, P50, P90 time.Duration }
