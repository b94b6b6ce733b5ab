package main

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"celld": func() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) },
	})
}

// The scripts have $TAKEN, an address that somebody listens on, and $CLIENT, $PEER and $HTTP, on which nobody does.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			for _, name := range []string{"TAKEN", "CLIENT", "PEER", "HTTP"} {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					return err
				}
				e.Setenv(name, l.Addr().String())
				if name == "TAKEN" {
					e.Defer(func() { _ = l.Close() })
				} else if err := l.Close(); err != nil {
					return err
				}
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"await": await, "putget": putget, "status": status},
	})
}

// status CODE COMMAND…: runs it and holds that it exits with CODE.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status CODE COMMAND…")
	}
	code := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		code = exit.ExitCode()
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("code %d, not %s\n%s", code, args[0], ts.ReadFile("stderr"))
	}
}

// await URL TEXT: asks until the answer is 200 and has TEXT in it.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: await URL TEXT")
	}
	var last string
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for range 3000 { // a process that died would keep us for ever
		resp, err := http.Get(args[0])
		if err == nil {
			b, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if last = resp.Status + " " + string(b); resp.StatusCode == http.StatusOK && strings.Contains(last, args[1]) {
				return
			}
		}
		<-again.C
	}
	ts.Fatalf("%s never answered %q; last: %s", args[0], args[1], last)
}

// putget ADDRESS: writes and reads with etcd's own client.
func putget(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: putget ADDRESS")
	}
	c, err := clientv3.New(clientv3.Config{Endpoints: args, Logger: zap.NewNop()})
	ts.Check(err)
	defer c.Close()
	_, err = c.Put(c.Ctx(), "k", "v")
	ts.Check(err)
	got, err := c.Get(c.Ctx(), "k")
	ts.Check(err)
	if len(got.Kvs) != 1 || string(got.Kvs[0].Value) != "v" {
		ts.Fatalf("read %v", got.Kvs)
	}
}
