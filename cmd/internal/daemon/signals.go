package daemon

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// repeated is how long after the first signal further ones are taken for the same wish: who stops a whole process group, and
// its leader forwards the signal, sends two.
const repeated = time.Second

// Signals returns a context that the first SIGINT or SIGTERM ends, for an orderly stop. One more than a second later exits the
// process at once, with 128 and its number. stop gives the signals back their usual effect.
func Signals(parent context.Context) (ctx context.Context, stop func()) {
	arrived := make(chan os.Signal, 2)
	signal.Notify(arrived, syscall.SIGINT, syscall.SIGTERM)
	ctx, end := watchSignals(parent, arrived, repeated, os.Exit)
	return ctx, func() {
		signal.Stop(arrived)
		end()
	}
}

// watchSignals is Signals on signals that arrive on a channel.
func watchSignals(parent context.Context, arrived <-chan os.Signal, repeated time.Duration, exit func(code int)) (context.Context, func()) {
	ctx, cancel := context.WithCancel(parent)
	done := make(chan struct{})
	go func() {
		var first time.Time
		for {
			select {
			case s := <-arrived:
				if first.IsZero() {
					first = time.Now()
					cancel()
				} else if n, ok := s.(syscall.Signal); ok && time.Since(first) >= repeated {
					exit(128 + int(n))
					return
				}
			case <-done:
				return
			}
		}
	}()
	return ctx, func() {
		close(done)
		cancel()
	}
}
