package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/pflag"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
)

// Config is what the flags of [AddFlags] say. Embed it with the tag `mapstructure:",squash"`.
type Config struct {
	LogFormat     string `mapstructure:"log-format"`     // "console", the default, or "json"
	LogLevel      string `mapstructure:"log-level"`      // default "info"
	MetricsListen string `mapstructure:"metrics-listen"` // host:port of the HTTP server; "" for none
	Pprof         bool   `mapstructure:"pprof"`
}

// AddFlags adds the flags that [Config] holds. listen is the default of --metrics-listen.
func AddFlags(fs *pflag.FlagSet, listen string) {
	fs.String("log-format", "console", "`FORMAT` of the log: console or json")
	fs.String("log-level", "info", "lowest `LEVEL` that is logged: debug, info, warn or error; PUT /loglevel changes it")
	fs.String("metrics-listen", listen, "`ADDRESS` that serves /metrics, /livez, /readyz and /loglevel; empty for none, port 0 for a free one")
	fs.Bool("pprof", false, "serve profiles under /debug/pprof/ too")
}

// Daemon is one running binary. Its methods may be called from many goroutines.
type Daemon struct {
	Log      *zap.Logger
	Level    zap.AtomicLevel
	Registry *prometheus.Registry // for the binary's own metrics

	name     string
	listener net.Listener // nil where there is no server
	mux      *http.ServeMux

	mu     sync.Mutex
	checks map[string]func(context.Context) error
}

// Component is a part of a binary. It runs until ctx is over, and then returns nil once it has cleared up after itself.
type Component func(ctx context.Context) error

// Time that requests under way have to finish in once all components have ended, and that one readiness check may take.
const (
	drainTimeout = 3 * time.Second
	checkTimeout = 2 * time.Second
)

// New makes the daemon of the binary called name. It listens from here on, and serves in [Daemon.Run]. The log goes to w.
func New(name string, cfg Config, w io.Writer) (*Daemon, error) {
	log, level, err := newLogger(cfg, w)
	if err != nil {
		return nil, err
	}
	d := &Daemon{Log: log, Level: level, Registry: prometheus.NewRegistry(), name: name, mux: http.NewServeMux(), checks: make(map[string]func(context.Context) error)}
	d.Registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), buildInfo(name))
	d.mount(cfg.Pprof)
	if cfg.MetricsListen != "" {
		if d.listener, err = net.Listen("tcp", cfg.MetricsListen); err != nil {
			return nil, fmt.Errorf("--metrics-listen: %w", err)
		}
	}
	return d, nil
}

// Addr is the host:port that the server listens on, "" where there is none.
func (d *Daemon) Addr() string {
	if d.listener == nil {
		return ""
	}
	return d.listener.Addr().String()
}

// Handle mounts h on the server, by a pattern of [http.ServeMux].
func (d *Daemon) Handle(pattern string, h http.Handler) { d.mux.Handle(pattern, h) }

// Ready adds a readiness check, or replaces the one of that name. It returns nil where its part is ready, and else says
// what it waits for. It has to return soon after its ctx is over.
func (d *Daemon) Ready(name string, check func(ctx context.Context) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.checks[name] = check
}

// Run serves, and runs the components until ctx is over or one of them fails, which ends the others. It returns when all have
// ended, with the first error; nil where ctx ended them. Run is called once.
func (d *Daemon) Run(ctx context.Context, components ...Component) error {
	server := &http.Server{Handler: d.mux, ReadHeaderTimeout: 10 * time.Second, ErrorLog: zap.NewStdLog(d.Log.Named("http"))}
	serving := make(chan error, 1)
	g, ctx := errgroup.WithContext(ctx)
	if d.listener == nil {
		serving <- nil
	} else {
		d.Log.Info("serving", zap.String("address", d.Addr()))
		go func() { serving <- server.Serve(d.listener) }()
		g.Go(func() error {
			select {
			case err := <-serving:
				serving <- err
				return fmt.Errorf("http server: %w", err)
			case <-ctx.Done():
				return nil
			}
		})
	}
	g.Go(func() error { // so that ctx is what ends Run also without components
		<-ctx.Done()
		return nil
	})
	for _, c := range components {
		g.Go(func() error { return c(ctx) })
	}
	err := g.Wait()
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	// The server goes last: /readyz and the logs of tasks are of use while the components end.
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	if e := server.Shutdown(drain); e != nil {
		e = server.Close() // a request that follows something, such as a log
		err = cmp.Or(err, e)
	}
	if e := <-serving; e != nil && !errors.Is(e, http.ErrServerClosed) {
		err = cmp.Or(err, e)
	}
	return err
}

// Close gives up the listener of a daemon that is not going to run.
func (d *Daemon) Close() error {
	if d.listener == nil {
		return nil
	}
	return d.listener.Close()
}
