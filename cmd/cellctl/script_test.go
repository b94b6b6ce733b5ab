package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/cellpb"
	"github.com/omegacell/omegacell/cellstate/etcdstore/etcdtest"
	"github.com/omegacell/omegacell/cellstate/wire"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"cellctl": main})
}

// TestScripts runs the verbs against a real etcd. Each script has a cell of its own; those that compact have an etcd of their
// own too.
func TestScripts(t *testing.T) {
	shared := etcdtest.Start(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Values[tester{}] = t
			e.Setenv("OMEGACELL_ENDPOINTS", shared.Endpoint)
			e.Setenv("OMEGACELL_CELL", strings.TrimSuffix(filepath.Base(e.WorkDir), ".txtar"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"seed": seed, "code": code, "etcd": ownEtcd, "compact": compact, "agent": agent, "keys": keys},
	})
}

// tester is the key of the *testing.T in a script's values.
type tester struct{}

func client(ts *testscript.TestScript) *clientv3.Client {
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{ts.Getenv("OMEGACELL_ENDPOINTS")}, DialTimeout: 10 * time.Second})
	ts.Check(err)
	ts.Defer(func() { _ = c.Close() })
	return c
}

// ownEtcd gives the script an etcd of its own, whose revisions begin with 1.
func ownEtcd(ts *testscript.TestScript, _ bool, _ []string) {
	m := etcdtest.Start(ts.Value(tester{}).(*testing.T))
	ts.Setenv("OMEGACELL_ENDPOINTS", m.Endpoint)
	ts.Defer(m.Stop)
}

// compact REV makes etcd forget what was before.
func compact(ts *testscript.TestScript, _ bool, args []string) {
	rev, err := strconv.ParseInt(args[0], 10, 64)
	ts.Check(err)
	_, err = client(ts).Compact(context.Background(), rev)
	ts.Check(err)
}

// code N CMD ARGS… runs a command, which has to exit with N.
func code(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	var exit *exec.ExitError
	err = ts.Exec(args[1], args[2:]...)
	if !errors.As(err, &exit) || exit.ExitCode() != want {
		ts.Fatalf("%q: %v, want exit code %d", args[1:], err, want)
	}
}

// keys N waits until etcd holds N keys; "some" stands for any number but none.
func keys(ts *testscript.TestScript, _ bool, args []string) {
	c := client(ts)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		resp, err := c.Get(ctx, "\x00", clientv3.WithFromKey(), clientv3.WithCountOnly())
		ts.Check(err)
		if n := resp.Count; fmt.Sprint(n) == args[0] || args[0] == "some" && n > 0 {
			return
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			ts.Fatalf("etcd never held %s keys: %d", args[0], resp.Count)
		}
	}
}

// seed FILE writes records as schedulers and agents would. Lines next to each other are one revision; an empty line ends it, and
// sets $REV to it, and $REV1, $REV2 … A line is "KEY JSON", "delete KEY", or "hex KEY BYTES"; "#" begins a comment. $now, $soon and
// $past stand for instants.
func seed(ts *testscript.TestScript, _ bool, args []string) {
	c := client(ts)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // no etcd is a failure, not a wait
	defer cancel()
	now := time.Now().UnixMilli()
	text := strings.NewReplacer("$now", fmt.Sprint(now), "$soon", fmt.Sprint(now+3600_000), "$past", fmt.Sprint(now-3600_000),
		"$AGENT", ts.Getenv("AGENT")).Replace(ts.ReadFile(args[0]))
	var ops []clientv3.Op
	n := 0
	flush := func() {
		if len(ops) == 0 {
			return
		}
		resp, err := c.Txn(ctx).Then(ops...).Commit()
		ts.Check(err)
		ops = nil
		n++
		for _, name := range []string{"REV", fmt.Sprintf("REV%d", n)} {
			ts.Setenv(name, fmt.Sprint(resp.Header.Revision))
		}
	}
	for _, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, "#") {
			continue
		}
		if strings.TrimSpace(line) == "" {
			flush()
			continue
		}
		op, err := seedOp(ts.Getenv("OMEGACELL_CELL"), line)
		ts.Check(err)
		ops = append(ops, op)
	}
	flush()
}

func seedOp(cell, line string) (clientv3.Op, error) {
	first, rest, _ := strings.Cut(line, " ")
	switch first {
	case "delete":
		return clientv3.OpDelete(wire.Prefix(cell) + rest), nil
	case "hex":
		key, text, _ := strings.Cut(rest, " ")
		b, err := hex.DecodeString(text)
		return clientv3.OpPut(wire.Prefix(cell)+key, string(b)), err
	}
	k, err := wire.ParseKey(cell, wire.Prefix(cell)+first)
	if err != nil {
		return clientv3.Op{}, err
	}
	m := map[cellstate.Kind]proto.Message{
		cellstate.KindLedger: &cellpb.Ledger{}, cellstate.KindReport: &cellpb.Report{}, cellstate.KindSession: &cellpb.Session{},
		cellstate.KindMachine: &cellpb.Machine{}, cellstate.KindTenant: &cellpb.Tenant{}, cellstate.KindJob: &cellpb.Job{},
		cellstate.KindStatus: &cellpb.JobStatus{}, cellstate.KindScheduler: &cellpb.Scheduler{}, cellstate.KindLeader: &cellpb.Leader{},
	}[k.Kind]
	if err := protojson.Unmarshal([]byte(rest), m); err != nil {
		return clientv3.Op{}, fmt.Errorf("%s: %w", first, err)
	}
	b, err := proto.Marshal(m)
	if err != nil {
		return clientv3.Op{}, err
	}
	if _, err := wire.Unmarshal(k, b, 1); err != nil {
		return clientv3.Op{}, err // the script itself is wrong
	}
	return clientv3.OpPut(wire.Prefix(cell)+first, string(b)), nil
}

// agent DIR serves logs as an agent does, from files named JOB@RUN.TASK.ATTEMPT.STREAM of scheduler batch, and sets $AGENT.
func agent(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	mux := http.NewServeMux()
	mux.HandleFunc("GET /logs", func(w http.ResponseWriter, _ *http.Request) {
		files, _ := os.ReadDir(dir)
		var ids []string
		for _, f := range files {
			if p := strings.Split(f.Name(), "."); p[3] == "stdout" {
				ids = append(ids, "batch/"+p[0]+"/"+p[1]+"."+p[2])
			}
		}
		slices.Sort(ids)
		fmt.Fprintln(w, strings.Join(ids, "\n"))
	})
	mux.HandleFunc("GET /logs/{scheduler}/{job}/{task}", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		name := r.PathValue("job") + "@" + q.Get("run") + "." + r.PathValue("task") + "." + q.Get("attempt") + "." + q.Get("stream")
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			http.Error(w, "no such logs here", http.StatusNotFound)
			return
		}
		if tail := q.Get("tail"); tail != "" {
			n, _ := strconv.Atoi(tail)
			lines := strings.SplitAfter(strings.TrimSuffix(string(b), "\n"), "\n")
			b = []byte(strings.Join(lines[max(0, len(lines)-n):], "") + "\n")
		}
		_, _ = w.Write(b)
		if q.Get("follow") == "1" {
			fmt.Fprintln(w, "and it ended")
		}
	})
	s := httptest.NewServer(mux)
	ts.Setenv("AGENT", s.Listener.Addr().String())
	ts.Defer(s.Close)
}
