package sim

import "github.com/omegacell/omegacell/cellstate"

// use is how much of the cell is claimed.
type use struct {
	cpu, mem       int64
	cpuAll, memAll float64
	cpuTime        float64 // use × seconds, until since
	memTime        float64
	since          clock
	every          clock // between samples
	samples        []Usage
}

// A run is sampled so many times.
const usageSamples = 240

func newUse(cfg *Config) use {
	u := use{every: clockOf(cfg.Horizon) / usageSamples}
	for i := range cfg.Machines {
		u.cpuAll += float64(cfg.Machines[i].CPUMilli)
		u.memAll += float64(cfg.Machines[i].MemBytes)
	}
	return u
}

// change counts n tasks more, or fewer where n is negative.
func (u *use) change(now clock, demand *cellstate.Resources, n int64) {
	u.upTo(now)
	u.cpu += n * demand.CPUMilli
	u.mem += n * demand.MemBytes
}

// upTo accounts for the time until now.
func (u *use) upTo(now clock) {
	for at := u.every * clock(len(u.samples)); at <= now; at += u.every {
		u.samples = append(u.samples, Usage{At: at.duration(), CPU: share(float64(u.cpu), u.cpuAll), Memory: share(float64(u.mem), u.memAll)})
	}
	s := float64(now - u.since)
	u.cpuTime += float64(u.cpu) * s
	u.memTime += float64(u.mem) * s
	u.since = now
}

func share(n, of float64) float64 {
	if of == 0 {
		return 0
	}
	return n / of
}
