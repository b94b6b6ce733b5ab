package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// logBuffer collects a log that several goroutines write.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start runs a daemon until the test ends, or until end is called, which returns what Run did.
func start(t *testing.T, cfg Config, components ...Component) (d *Daemon, log *logBuffer, end func() error) {
	t.Helper()
	cfg.MetricsListen = "127.0.0.1:0"
	log = &logBuffer{}
	d, err := New("prog", cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx, components...) }()
	end = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() { _ = end() })
	return d, log, end
}

func get(t *testing.T, d *Daemon, path string) (int, string) {
	t.Helper()
	return request(t, d, http.MethodGet, path, "")
}

func request(t *testing.T, d *Daemon, method, path, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+d.Addr()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestReadyz(t *testing.T) {
	d, _, _ := start(t, Config{})
	if code, body := get(t, d, "/readyz"); code != 200 || body != "ok\n" {
		t.Errorf("without checks: %d %q", code, body)
	}
	d.Ready("mirror", func(context.Context) error { return errors.New("no snapshot\nyet") })
	d.Ready("etcd", func(context.Context) error { return errors.New("not reached") })
	d.Ready("agent", func(context.Context) error { return nil })
	if code, body := get(t, d, "/readyz"); code != 503 || body != "etcd: not reached\nmirror: no snapshot yet\n" {
		t.Errorf("two not ready: %d %q", code, body)
	}
	if code, body := get(t, d, "/livez"); code != 200 || body != "ok\n" {
		t.Errorf("livez: %d %q", code, body)
	}
	d.Ready("mirror", func(context.Context) error { return nil })
	d.Ready("etcd", func(context.Context) error { return nil })
	if code, body := get(t, d, "/readyz"); code != 200 || body != "ok\n" {
		t.Errorf("all ready: %d %q", code, body)
	}
}

func TestMetrics(t *testing.T) {
	d, _, _ := start(t, Config{})
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: "own_total", Help: "."})
	d.Registry.MustRegister(c)
	c.Inc()
	_, body := get(t, d, "/metrics")
	for _, want := range []string{"\nown_total 1\n", "\ngo_goroutines ", "\nprocess_open_fds ", `omegacell_build_info{binary="prog",`} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q in /metrics", want)
		}
	}
}

func TestLogLevel(t *testing.T) {
	d, log, _ := start(t, Config{LogFormat: "json", LogLevel: "warn"})
	d.Log.Info("one")
	if code, body := get(t, d, "/loglevel"); code != 200 || !strings.Contains(body, `"warn"`) {
		t.Errorf("GET: %d %q", code, body)
	}
	if code, _ := request(t, d, http.MethodPut, "/loglevel", `{"level":"info"}`); code != 200 {
		t.Errorf("PUT: %d", code)
	}
	if code, _ := request(t, d, http.MethodPut, "/loglevel", `{"level":"loud"}`); code != 400 {
		t.Errorf("PUT of a level that is none: %d", code)
	}
	d.Log.Info("two", zap.String("machine", "m1"))
	var line struct{ Level, Msg, Machine, TS string }
	if err := json.Unmarshal([]byte(log.String()), &line); err != nil || line.Msg != "two" || line.Machine != "m1" || line.Level != "info" {
		t.Errorf("%v: the log is %q, want the one line \"two\"", err, log)
	}
}

func TestPprof(t *testing.T) {
	for _, on := range []bool{false, true} {
		d, _, _ := start(t, Config{Pprof: on})
		code, _ := get(t, d, "/debug/pprof/goroutine?debug=1")
		if (code == 200) != on {
			t.Errorf("pprof %v: %d", on, code)
		}
	}
}

func TestHandle(t *testing.T) {
	d, _, _ := start(t, Config{})
	d.Handle("GET /logs/{task}", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.PathValue("task"))
	}))
	if code, body := get(t, d, "/logs/a.1"); code != 200 || body != "a.1" {
		t.Errorf("%d %q", code, body)
	}
}

func TestBadConfig(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, tt := range []struct {
		cfg  Config
		says string
	}{
		{Config{LogLevel: "loud"}, `--log-level "loud" is not debug, info, warn or error`},
		{Config{LogFormat: "xml"}, `--log-format "xml" is not console or json`},
		{Config{MetricsListen: taken.Addr().String()}, "--metrics-listen: listen tcp " + taken.Addr().String() + ": bind: address already in use"},
	} {
		if _, err := New("prog", tt.cfg, io.Discard); err == nil || err.Error() != tt.says {
			t.Errorf("%+v: %v, want %s", tt.cfg, err, tt.says)
		}
	}
}

// The end of ctx ends every component, and is no error. The server answers until the last one has ended.
func TestRunEnds(t *testing.T) {
	began, leaving, leave := make(chan struct{}), make(chan struct{}), make(chan struct{})
	d, _, end := start(t, Config{}, func(ctx context.Context) error {
		close(began)
		<-ctx.Done()
		close(leaving)
		<-leave
		return ctx.Err()
	})
	<-began
	ended := make(chan error, 1)
	go func() { ended <- end() }()
	<-leaving
	if code, _ := get(t, d, "/livez"); code != 200 {
		t.Errorf("while a component ends: %d", code)
	}
	close(leave)
	if err := <-ended; err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
	if _, err := net.Dial("tcp", d.Addr()); err == nil {
		t.Error("it listens still")
	}
}

// A component that fails ends the others; its error is the one that Run returns.
func TestRunFails(t *testing.T) {
	d, err := New("prog", Config{}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	err = d.Run(t.Context(),
		func(context.Context) error { return broken },
		func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
	)
	if !errors.Is(err, broken) {
		t.Errorf("Run = %v, want broken", err)
	}
}

// The first signal ends the context, one a second later the process; one that comes sooner is the same wish.
func TestSignals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		arrived := make(chan os.Signal)
		code := make(chan int, 1)
		ctx, stop := watchSignals(t.Context(), arrived, time.Second, func(c int) { code <- c })
		defer stop()
		if ctx.Err() != nil {
			t.Fatal("over before any signal")
		}
		arrived <- syscall.SIGTERM
		<-ctx.Done()
		time.Sleep(time.Second - time.Nanosecond)
		arrived <- syscall.SIGTERM
		synctest.Wait()
		select {
		case c := <-code:
			t.Fatalf("exit %d on a signal repeated within a second", c)
		default:
		}
		time.Sleep(time.Nanosecond)
		arrived <- syscall.SIGINT
		if c := <-code; c != 130 {
			t.Errorf("exit %d, want 130", c)
		}
	})
}

func TestVersionCommand(t *testing.T) {
	var out bytes.Buffer
	cmd := VersionCommand("prog")
	cmd.SetOut(&out)
	cmd.SetArgs(nil)
	if err := cmd.Execute(); err != nil || !strings.HasPrefix(out.String(), "prog "+Version()+" (revision ") || strings.Count(out.String(), "\n") != 1 {
		t.Errorf("%v %q", err, out.String())
	}
}
