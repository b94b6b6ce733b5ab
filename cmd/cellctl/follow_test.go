package main

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/etcdstore/etcdtest"
	"github.com/omegacell/omegacell/cellstate/wire"
)

// TestInterruptEndsFollowing: what is followed until interrupted ends well when it is.
func TestInterruptEndsFollowing(t *testing.T) {
	m := etcdtest.Start(t)
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{m.Endpoint}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b, err := wire.Marshal(cellstate.NewLedger("m1", cellstate.Resources{CPUMilli: 1}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Put(t.Context(), wire.Prefix("main")+"ledgers/m1", string(b)); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{"events -f", "watch --rev 1"} {
		t.Run(args, func(t *testing.T) {
			cmd := exec.Command(self)
			cmd.Args = append([]string{"cellctl", "--endpoints", m.Endpoint}, strings.Fields(args)...)
			cmd.Stderr = os.Stderr
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(out).ReadString('\n')
			if err != nil || !strings.Contains(line, "m1") {
				t.Errorf("first line %q, %v", line, err)
			}
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("interrupted: %v, want exit code 0", err)
			}
		})
	}
}
