package integration

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is one process of a test. It is stopped when the test ends, after those that were started later, and shown if the
// test failed.
type process struct {
	command
	t       testing.TB
	cmd     *exec.Cmd
	out     *output // both streams
	ended   chan struct{}
	ordered bool   // the test asked it to end
	before  string // output of those that it was started again after
}

// command says what a process runs.
type command struct {
	name string // for people
	path string
	args []string
	env  []string // besides the test's own
	dir  string
}

func start(t testing.TB, c command) *process {
	t.Helper()
	p := &process{command: c, t: t}
	p.launch()
	t.Cleanup(func() {
		if !p.ordered {
			select {
			case <-p.ended:
				t.Errorf("%s ended by itself: %s", p.name, p.cmd.ProcessState)
			default:
				if code := p.stop(); code != 0 {
					t.Errorf("%s: exit code %d after SIGTERM", p.name, code)
				}
			}
		}
		if t.Failed() {
			t.Logf("output of %s:\n%s%s", p.name, p.before, p.out.last(80))
		}
	})
	return p
}

func (p *process) launch() {
	p.t.Helper()
	p.cmd = exec.Command(p.path, p.args...)
	p.cmd.Env, p.cmd.Dir = append(os.Environ(), p.env...), p.dir
	cmd, out, ended := p.cmd, newOutput(), make(chan struct{})
	p.out, p.ended, p.ordered = out, ended, false
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = 5 * time.Second // should a task hold on to its agent's output
	if err := cmd.Start(); err != nil {
		p.t.Fatalf("start %s: %v", p.name, err)
	}
	go func() {
		if err := cmd.Wait(); errors.Is(err, exec.ErrWaitDelay) {
			out.note("a child of this process holds its output open")
		}
		close(ended)
	}()
}

// again starts the same command once more, after the process has ended.
func (p *process) again() *process {
	p.t.Helper()
	p.before += p.out.last(80) + "\n[started again]\n"
	p.launch()
	return p
}

// stop ends the process in good order and returns its exit code.
func (p *process) stop() int {
	p.t.Helper()
	return p.signal(syscall.SIGTERM)
}

// kill ends the process as a crash would.
func (p *process) kill() {
	p.t.Helper()
	p.signal(syscall.SIGKILL)
}

// signal sends a signal that the process ends by, and waits for that.
func (p *process) signal(s syscall.Signal) int {
	p.t.Helper()
	p.ordered = true
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Errorf("%s: signal %s: %v", p.name, s, err)
	}
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Errorf("%s does not end on %s", p.name, s)
		_ = p.cmd.Process.Kill() // reported already
		<-p.ended
	}
	return p.cmd.ProcessState.ExitCode()
}

// await waits until the output has a match, and returns its groups.
func (p *process) await(re string) []string {
	p.t.Helper()
	x := regexp.MustCompile(re)
	late := time.After(patience)
	for {
		text, changed := p.out.now()
		if m := x.FindStringSubmatch(text); m != nil {
			return m
		}
		select {
		case <-changed:
		case <-p.ended:
			if text, _ := p.out.now(); !x.MatchString(text) {
				p.t.Fatalf("%s ended before it said %q:\n%s", p.name, re, p.out.last(40))
			}
		case <-late:
			p.t.Fatalf("%s never said %q", p.name, re)
		}
	}
}

// http returns the address that the process serves /metrics and /readyz on, as it logged it.
func (p *process) http() string {
	p.t.Helper()
	return p.await(`serving\s+\{"address": "([^"]+)"\}`)[1]
}

// ready waits until the process says that it is.
func (p *process) ready() *process {
	p.t.Helper()
	url := "http://" + p.http() + "/readyz"
	eventually(p.t, p.name+" is ready", func() bool {
		select {
		case <-p.ended:
			p.t.Fatalf("%s ended before it was ready:\n%s", p.name, p.out.last(40))
		default:
		}
		code, _, err := fetch(p.t.Context(), url)
		return err == nil && code == http.StatusOK
	})
	return p
}

// metric returns a line of /metrics that begins with name, without the name; "" where there is none.
func (p *process) metric(name string) string {
	p.t.Helper()
	_, body, err := fetch(p.t.Context(), "http://"+p.http()+"/metrics")
	if err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
	for line := range strings.Lines(body) {
		if v, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func fetch(ctx context.Context, url string) (int, string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// output collects what a process prints, and tells who waits.
type output struct {
	mu      sync.Mutex
	b       bytes.Buffer
	changed chan struct{} // closed at the next write
}

func newOutput() *output { return &output{changed: make(chan struct{})} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.changed)
	o.changed = make(chan struct{})
	return o.b.Write(p)
}

func (o *output) note(s string) { _, _ = io.WriteString(o, "["+s+"]\n") } // into memory

func (o *output) now() (string, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String(), o.changed
}

// last returns the last n lines.
func (o *output) last(n int) string {
	text, _ := o.now()
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
