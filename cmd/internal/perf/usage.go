package perf

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// watch is a stopwatch of time and CPU time.
type watch struct {
	at  time.Time
	cpu time.Duration
}

func (r *run) startWatch(ctx context.Context) (watch, error) {
	cpu, err := r.cpu(ctx)
	return watch{time.Now(), cpu}, err
}

func (r *run) stopWatch(ctx context.Context, w watch, out *round) error {
	took, cpu, err := r.read(ctx, w)
	out.seconds, out.cpu = took.Seconds(), cpu
	return err
}

func (r *run) read(ctx context.Context, w watch) (took, cpu time.Duration, err error) {
	took = time.Since(w.at)
	cpu, err = r.cpu(ctx)
	return took, cpu - w.cpu, err
}

// cpu returns the CPU time that this process and etcd have used.
func (r *run) cpu(ctx context.Context) (time.Duration, error) {
	own, err := ownCPU()
	if err != nil || r.cfg.StoreCPU == nil {
		return own, err
	}
	store, err := r.cfg.StoreCPU(ctx)
	return own + store, err
}

func ownCPU() (time.Duration, error) {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0, fmt.Errorf("getrusage: %w", err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}

// metricCPU is how the Go client of Prometheus, and so etcd, calls a process's CPU time, in seconds.
const metricCPU = "process_cpu_seconds_total "

// EtcdCPU returns the CPU time that the etcd which serves this client URL has used, as its /metrics says, to 10 ms.
func EtcdCPU(ctx context.Context, url string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s/metrics: %s", url, resp.Status)
	}
	return scanCPU(resp.Body)
}

func scanCPU(r io.Reader) (time.Duration, error) {
	for lines := bufio.NewScanner(r); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), metricCPU); ok {
			seconds, err := strconv.ParseFloat(text, 64)
			return time.Duration(seconds * float64(time.Second)), err
		}
	}
	return 0, fmt.Errorf("no %s there", strings.TrimSpace(metricCPU))
}
