package sim

import (
	"slices"
	"time"
)

// tally is a Tally that is still being counted.
type tally struct {
	Tally
	busy, noConflict, wasted, noRoom spent
}

// spent is time that was spent, in the whole run and on each day of it.
type spent struct {
	whole clock
	days  []clock
}

// daysOf returns how many days of results a run has, and how long each is: of a run shorter than one, the run's length.
func daysOf(horizon clock) (n int, length clock) {
	length = min(clockOf(24*time.Hour), horizon)
	return int(horizon / length), length
}

// add counts d, beginning at from. What is after the horizon is not of the run.
func (s *spent) add(from, d, horizon clock) {
	end := min(from+d, horizon)
	if end <= from {
		return
	}
	s.whole += end - from
	days, length := daysOf(horizon)
	for n := int(from / length); n < days && from < end; n++ {
		for len(s.days) <= n {
			s.days = append(s.days, 0)
		}
		upTo := min(end, clock(n+1)*length)
		s.days[n] += upTo - from
		from = upTo
	}
}

// share returns what is spent as a share of the time of so many schedulers.
func (s *spent) share(horizon clock, schedulers int) Share {
	days, length := daysOf(horizon)
	out := Share{Whole: float64(s.whole/horizon) / float64(schedulers), Days: make([]float64, days)}
	for i, d := range s.days {
		out.Days[i] = float64(d/length) / float64(schedulers)
	}
	out.Median = median(out.Days)
	off := make([]float64, len(out.Days))
	for i, d := range out.Days {
		off[i] = max(d-out.Median, out.Median-d)
	}
	out.MAD = median(off)
	return out
}

func median(list []float64) float64 {
	s := slices.Sorted(slices.Values(list))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// result finishes the tally of so many schedulers.
func (t *tally) result(horizon clock, schedulers int) Tally {
	out := t.Tally
	out.Busy, out.NoConflict = t.busy.share(horizon, schedulers), t.noConflict.share(horizon, schedulers)
	out.Wasted, out.NoRoom = t.wasted.share(horizon, schedulers), t.noRoom.share(horizon, schedulers)
	if out.TxOK > 0 {
		out.ConflictFraction = float64(out.TxFailed) / float64(out.TxOK)
	}
	return out
}

// waitOf summarises times; it sorts them. The q-quantile is element ⌊q·(n−1)⌋.
func waitOf(list []clock) Wait {
	if len(list) == 0 {
		return Wait{}
	}
	slices.Sort(list)
	var sum clock
	for _, d := range list {
		sum += d
	}
	at := func(q float64) time.Duration { return list[int(q*float64(len(list)-1))].duration() }
	return Wait{Mean: (sum / clock(len(list))).duration(), P50: at(0.5), P90: at(0.9)}
}
