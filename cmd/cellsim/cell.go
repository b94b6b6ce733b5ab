package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/etcdstore"
	"github.com/omegacell/omegacell/cellstate/memstore"
	"github.com/omegacell/omegacell/cmd/internal/member"
)

// backing is where a replay's cell is stored: an embedded etcd in a directory of its own, or memory.
type backing struct {
	member *member.Member   // nil for memory
	client *clientv3.Client // to audit with
	memory *memstore.Store
	dir    string
	close  []func()
}

// cellName is the cell that a replay makes.
const cellName = "replay"

func openBacking(ctx context.Context, kind string, log *zap.Logger) (*backing, error) {
	switch kind {
	case "memory":
		return &backing{memory: memstore.New(memstore.Config{})}, nil
	case "etcd":
	default:
		return nil, fmt.Errorf("--store %q is not etcd or memory: %w", kind, cellstate.ErrInvalid)
	}
	dir, err := os.MkdirTemp("", "cellsim-")
	if err != nil {
		return nil, err
	}
	b := &backing{dir: dir}
	b.member, err = member.Start(ctx, member.Config{
		Name: "cellsim", DataDir: filepath.Join(dir, "etcd"), Log: log,
		ListenClientURLs: []string{"http://127.0.0.1:0"}, ListenPeerURLs: []string{"http://127.0.0.1:0"}, AutoCompaction: -1,
	})
	if err != nil {
		return nil, b.fail(err)
	}
	if b.client, err = b.dial(log); err != nil {
		return nil, b.fail(err)
	}
	return b, nil
}

// dial connects as another process would.
func (b *backing) dial(log *zap.Logger) (*clientv3.Client, error) {
	c, err := clientv3.New(clientv3.Config{Endpoints: b.member.Endpoints(), Logger: log, MaxCallSendMsgSize: 64 << 20, MaxCallRecvMsgSize: 64 << 20})
	if err == nil {
		b.close = append(b.close, func() { _ = c.Close() }) // nothing is under way when it is called
	}
	return c, err
}

// open returns a store of its own, with a connection of its own.
func (b *backing) open(log *zap.Logger) (cellstate.Store, error) {
	if b.memory != nil {
		return b.memory.Client(), nil
	}
	c, err := b.dial(log)
	if err != nil {
		return nil, err
	}
	return etcdstore.New(etcdstore.Config{Client: c, Cell: cellName, Log: log})
}

func (b *backing) fail(err error) error {
	b.Close()
	return err
}

// Close ends the store and deletes what it kept.
func (b *backing) Close() {
	for i := len(b.close) - 1; i >= 0; i-- {
		b.close[i]()
	}
	if b.member != nil {
		_ = b.member.Stop() // its directory is deleted next
	}
	if b.dir != "" {
		_ = os.RemoveAll(b.dir) // a temporary directory: what cannot be deleted the system clears away
	}
}
