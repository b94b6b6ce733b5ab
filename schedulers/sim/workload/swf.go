package workload

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/schedulers/sim"
)

// The fields of the Parallel Workloads Archive's standard workload format, version 2.2, that make a job; −1 is "not known".
const (
	swfNumber     = 0
	swfSubmit     = 1
	swfRunTime    = 3
	swfAllocated  = 4 // processors
	swfUsedMemory = 6 // KiB a processor
	swfRequested  = 7 // processors
	swfMemory     = 9 // requested, KiB a processor
	swfFields     = 18
)

// ReadSWF reads a log of the Parallel Workloads Archive. A task is one processor, the one requested where that is known, else
// the one allocated; its memory the requested, else the used, else memory. All jobs are of class batch. Times are whole
// seconds, so a run of 0 s counts as 1 s. Jobs of which run time, processors or submission are not known are left out:
// most were cancelled before they began.
func ReadSWF(file string, memory int64) (jobs []sim.Job, left int, err error) {
	err = eachLine(file, func(text string) error {
		text = strings.TrimSpace(text)
		if text == "" || text[0] == ';' {
			return nil
		}
		j, ok, err := parseSWF(strings.Fields(text), memory)
		switch {
		case err != nil:
			return err
		case !ok:
			left++
			return nil
		}
		jobs = append(jobs, j)
		return j.Check()
	})
	if err != nil {
		return nil, 0, err
	}
	if len(jobs) == 0 {
		return nil, left, fmt.Errorf("%s: no jobs: %w", file, cellstate.ErrInvalid)
	}
	sortBySubmission(jobs)
	return jobs, left, nil
}

// parseSWF reads one line; !ok means that it lacks what a job needs.
func parseSWF(fields []string, memory int64) (j sim.Job, ok bool, err error) {
	if len(fields) != swfFields {
		return j, false, fmt.Errorf("%d fields, not %d", len(fields), swfFields)
	}
	var v [swfFields]float64
	for i, f := range fields {
		if v[i], err = strconv.ParseFloat(f, 64); err != nil || !(v[i] >= -1 && v[i] <= maxSwf) {
			return j, false, fmt.Errorf("field %d: %q is not a number from -1 to %g", i+1, f, maxSwf)
		}
	}
	processors := v[swfRequested]
	if processors <= 0 {
		processors = v[swfAllocated]
	}
	if processors != math.Trunc(processors) {
		return j, false, fmt.Errorf("%g processors", processors)
	}
	if processors <= 0 || v[swfRunTime] < 0 || v[swfSubmit] < 0 {
		return j, false, nil
	}
	for _, i := range []int{swfUsedMemory, swfMemory} { // the later counts
		if v[i] > 0 {
			memory = int64(v[i]) << 10
		}
	}
	return sim.Job{
		Name: fields[swfNumber], Class: sim.Batch, Submit: time.Duration(v[swfSubmit] * float64(time.Second)),
		Tasks: int(processors), Duration: time.Duration(max(1, v[swfRunTime]) * float64(time.Second)),
		Demand: cellstate.Resources{CPUMilli: 1000, MemBytes: memory},
	}, true, nil
}

// maxSwf bounds every field: seconds, KiB and numbers alike.
const maxSwf = 1e9
