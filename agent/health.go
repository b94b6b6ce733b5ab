package agent

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/omegacell/omegacell/cellstate"
)

// Executor is implemented by drivers that can run a command where a task runs. Without it a health check by command stays
// unknown.
type Executor interface {
	// Exec runs argv beside a running task and returns its exit code and the beginning of its output. It ends the command
	// when timeout is over, which is an error.
	Exec(ctx context.Context, id cellstate.ClaimID, argv []string, timeout time.Duration) (int, []byte, error)
}

// check starts the health checks of a running task, if it has any and they do not run yet.
func (a *Agent) check(ctx context.Context, h *Hold) {
	id := h.Status.ID
	if h.Status.Phase != cellstate.PhaseRunning || h.Order == nil || h.Order.Spec.Health == nil || a.checks[id] != nil {
		return
	}
	spec := *h.Order.Spec.Health
	probe := a.probe(id, &spec)
	if probe == nil {
		return
	}
	ctx, a.checks[id] = context.WithCancel(ctx)
	restart := h.Status.Restarts
	a.work(func() {
		watchHealth(ctx, spec, probe, func(is cellstate.Health, why error) {
			a.post(func() {
				if h := a.holds[id]; h != nil && ctx.Err() == nil && h.Status.Restarts == restart {
					h.Status.Health, h.Status.Message = is, ""
					if why != nil {
						h.Status.Message = clip("health check: " + why.Error())
					}
					a.log.Info("health", zap.Stringer("claim", id), zap.Stringer("is", is), zap.Error(why))
				}
			})
		})
	})
}

// uncheck ends the health checks of a task.
func (a *Agent) uncheck(id cellstate.ClaimID) {
	if cancel := a.checks[id]; cancel != nil {
		cancel()
		delete(a.checks, id)
	}
}

// watchHealth probes at once and then at every interval, and tells of each change until ctx ends: one success makes healthy,
// spec.Failures failures in a row make unhealthy.
func watchHealth(ctx context.Context, spec cellstate.HealthCheck, probe func(context.Context) error, tell func(cellstate.Health, error)) {
	tick := time.NewTicker(spec.Interval)
	defer tick.Stop()
	is, failures := cellstate.HealthUnknown, uint32(0)
	for {
		once, cancel := context.WithTimeout(ctx, spec.Timeout)
		err := probe(once)
		cancel()
		if ctx.Err() != nil {
			return
		}
		now := is
		if err == nil {
			failures, now = 0, cellstate.Healthy
		} else if failures++; failures >= spec.Failures {
			now = cellstate.Unhealthy
		}
		if now != is {
			is = now
			tell(is, err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// probe returns what makes one check, or nil if the driver cannot.
func (a *Agent) probe(id cellstate.ClaimID, c *cellstate.HealthCheck) func(context.Context) error {
	switch {
	case c.TCP != "":
		return func(ctx context.Context) error {
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", c.TCP)
			if err != nil {
				return err
			}
			return conn.Close()
		}
	case c.HTTP != "":
		return func(ctx context.Context) error { return probeHTTP(ctx, c.HTTP) }
	}
	x, ok := a.cfg.Driver.(Executor)
	if !ok {
		return nil
	}
	return func(ctx context.Context) error {
		code, out, err := x.Exec(ctx, id, c.Command, c.Timeout)
		if err == nil && code != 0 {
			err = fmt.Errorf("exit code %d %q", code, clip(string(out)))
		}
		return err
	}
}

// probeHTTP makes one request on a connection of its own, as a new client of the task would.
func probeHTTP(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Close = true
	req.Header.Set("User-Agent", "omegacell-health")
	res, err := http.DefaultTransport.RoundTrip(req) // a redirect is an answer below 400
	if err != nil {
		return err
	}
	if err := res.Body.Close(); err != nil {
		return err
	}
	if res.StatusCode >= 400 {
		return fmt.Errorf("status %d", res.StatusCode)
	}
	return nil
}
