package integration

import (
	"runtime"
	"testing"
	"time"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/mirror"
)

// bigWorkload builds a cell, mirrors it twice from nothing, and has a scheduler place jobs on it.
func bigWorkload(tb testing.TB, w workload, audit bool) figures {
	tb.Helper()
	began := time.Now()
	a := newArena(tb, w)
	defer a.close()
	f := figures{"build-s": time.Since(began).Seconds()}
	before := heap()
	m, stop, took, _ := coldMirror(tb, a)
	f["mirror-s"] = took.Seconds()
	f["mirror-heap-MiB"] = float64(heap()-before) / (1 << 20)
	runtime.KeepAlive(m)
	stop()
	m = nil
	runtime.GC()
	_, stop, took, cpu := coldMirror(tb, a)
	f["rebuild-s"], f["rebuild-cpu-s"] = took.Seconds(), cpu.Seconds()
	stop()

	a.follow()
	a.ready()
	var jobs []cellstate.Value
	for i := range w.Jobs {
		jobs = append(jobs, w.job(i, ""))
	}
	a.write(jobs)
	a.ready()
	a.begin()
	placing, cpu := a.wait(w.claims())
	for name, v := range a.figures(placing, cpu) {
		f[name] = v
	}
	memory(tb, f)
	a.stop()
	if audit {
		a.audit(w.claims())
	}
	return f
}

// coldMirror starts a mirror and waits until it shows the whole cell. The CPU time is etcd's too.
func coldMirror(tb testing.TB, a *arena) (_ *mirror.Mirror, stop func(), took, cpu time.Duration) {
	tb.Helper()
	began := stampNow()
	m, stop := runMirror(tb, openStore(tb, a.client, workloadCell))
	s, err := m.Wait(tb.Context(), 1)
	if err != nil {
		tb.Fatal(err)
	}
	end := stampNow()
	if s.Len() != a.w.Machines {
		tb.Fatalf("the mirror shows %d machines, not %d", s.Len(), a.w.Machines)
	}
	return m, stop, end.at.Sub(began.at), end.cpu - began.cpu
}

// heap is what is in use after a garbage collection.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
