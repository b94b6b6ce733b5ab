package agent

import (
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/omegacell/omegacell/cellstate"
)

// fakeLogs is a fake driver that keeps output in files.
type fakeLogs struct {
	*fake
	out *rotating
	id  cellstate.ClaimID // whose it is
}

func (f *fakeLogs) LogFiles(id cellstate.ClaimID, stream string) ([]string, error) {
	if id != f.id || stream != "stdout" {
		return nil, io.ErrUnexpectedEOF
	}
	return f.out.files()
}

func TestLogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		j := r.job("hello", nil)
		c := claimOf(j, 2, 1)
		d := &fakeLogs{r.driver, &rotating{t: t, path: filepath.Join(t.TempDir(), "stdout"), keep: 2}, c.ID}
		d.out.write("one\ntwo\n")
		r.cfg.Driver = d
		r.start()
		defer r.stop()
		r.commit(cellstate.Txn{Add: []cellstate.Claim{c}})
		r.wantPhase(c.ID, cellstate.PhaseRunning)
		h := Logs(r.agent)
		get := func(url string) *httptest.ResponseRecorder {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, url, nil))
			return w
		}
		for _, tt := range []struct {
			url  string
			code int
			body string
		}{
			{"/logs", 200, "s/hello@1/2.1\n"},
			{"/logs/s/hello/2", 200, "one\ntwo\n"},
			{"/logs/s/hello/2?tail=1", 200, "two\n"},
			{"/logs/s/hello/2?run=1&attempt=1", 200, "one\ntwo\n"},
			{"/logs/s/hello/2?attempt=0", 404, "no logs of task s/hello/2 here\n"},
			{"/logs/s/hello/2?run=2", 404, "no logs of task s/hello/2 here\n"},
			{"/logs/s/hello/x", 400, "task \"x\" is not a number from 0 to 4294967295\n"},
			{"/logs/s/hello/2?stream=log", 400, "stream \"log\" is neither stdout nor stderr\n"},
		} {
			if w := get(tt.url); w.Code != tt.code || w.Body.String() != tt.body {
				t.Errorf("%s: %d %q, want %d %q", tt.url, w.Code, w.Body, tt.code, tt.body)
			}
		}
		body := make(chan string)
		go func() { body <- get("/logs/s/hello/2?follow=1&tail=0").Body.String() }()
		synctest.Wait()
		d.out.write("three\n")
		d.out.rotate()
		time.Sleep(time.Second)
		d.out.write("four\n")
		select {
		case b := <-body:
			t.Fatalf("follow ended with %q before the task did", b)
		default:
		}
		d.exit(c.ID, 0)
		if b := <-body; b != "three\nfour\n" {
			t.Errorf("followed %q, want three and four", b)
		}
		if w := get("/logs/s/hello/2"); !strings.HasSuffix(w.Body.String(), "four\n") || w.Header().Get("Omegacell-Claim") != c.ID.String() {
			t.Errorf("after the end: %q %v", w.Body, w.Header())
		}
	})
}

// Where the agent ends and the task does not, the answer is broken off: its end would say that there is no more to come.
func TestFollowedLogOutlivesAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		c := claimOf(r.job("hello", nil), 0, 0)
		d := &fakeLogs{r.driver, &rotating{t: t, path: filepath.Join(t.TempDir(), "stdout"), keep: 2}, c.ID}
		d.out.write("one\n")
		r.cfg.Driver = d
		r.start()
		r.commit(cellstate.Txn{Add: []cellstate.Claim{c}})
		r.wantPhase(c.ID, cellstate.PhaseRunning)
		broken := make(chan any)
		go func() {
			defer func() { broken <- recover() }()
			Logs(r.agent).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/logs/s/hello/0?follow=1", nil))
		}()
		synctest.Wait()
		r.stop()
		if got := <-broken; got != http.ErrAbortHandler {
			t.Errorf("the handler ended with %v, want it to abort the answer", got)
		}
	})
}
