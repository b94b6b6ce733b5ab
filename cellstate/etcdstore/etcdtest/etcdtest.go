// Package etcdtest starts real etcd members inside tests: embedded, on free loopback ports, with data in a directory that goes
// with the test, and without fsync.
//
// What it never does: serve anything but tests.
package etcdtest

import (
	"fmt"
	"net"
	"net/url"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3rpc"
	"go.etcd.io/etcd/server/v3/proxy/grpcproxy/adapter"
	"go.uber.org/zap"
)

// Member is a cluster of one etcd member.
type Member struct {
	Endpoint string // "http://127.0.0.1:port"; stays the same over Stop and Restart

	tb   testing.TB
	cfg  embed.Config
	etcd *embed.Etcd // nil while stopped
}

// Start starts a member and waits until it serves. It ends with the test. Options change its configuration, which has the
// limits that omegacell gives etcd: 4096 operations, 16 MiB, a snapshot each 2000 writes.
func Start(tb testing.TB, opts ...func(*embed.Config)) *Member {
	tb.Helper()
	dir := tb.TempDir()
	var err error
	for range 5 { // between choosing a free port and listening on it, others may take it
		m := &Member{tb: tb}
		if err = m.configure(dir, opts); err != nil {
			break
		}
		if err = m.start(); err == nil {
			tb.Cleanup(m.Stop)
			return m
		}
		dir = tb.TempDir()
	}
	tb.Fatalf("etcdtest: %v", err)
	return nil
}

func (m *Member) configure(dir string, opts []func(*embed.Config)) error {
	client, err := freeURL()
	if err != nil {
		return err
	}
	peer, err := freeURL()
	if err != nil {
		return err
	}
	cfg := embed.NewConfig()
	cfg.Name, cfg.Dir = "test", dir
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	cfg.UnsafeNoFsync = true
	cfg.TickMs, cfg.ElectionMs = 10, 100 // alone, it is to elect itself soon
	cfg.MaxTxnOps, cfg.MaxRequestBytes = 4096, 16<<20
	cfg.SnapshotCount, cfg.SnapshotCatchUpEntries = 2000, 1000
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	for _, o := range opts {
		o(cfg)
	}
	m.cfg, m.Endpoint = *cfg, client.String()
	return nil
}

func (m *Member) start() error {
	cfg := m.cfg
	e, err := embed.StartEtcd(&cfg)
	if err != nil {
		return err
	}
	select {
	case <-e.Server.ReadyNotify():
		m.etcd = e
		return nil
	case err := <-e.Err():
		e.Close()
		return err
	case <-e.Server.StopNotify():
		e.Close()
		return fmt.Errorf("the member stopped while starting")
	}
}

// InProcess returns a client that calls the member without a network between them, and the KV that a store's Config wants
// beside it.
func (m *Member) InProcess() (*clientv3.Client, pb.KVClient) {
	m.tb.Helper()
	if m.etcd == nil {
		m.tb.Fatalf("etcdtest: the member is stopped")
	}
	c := v3client.New(m.etcd.Server)
	m.tb.Cleanup(func() { _ = c.Close() })
	return c, adapter.KvServerToKvClient(v3rpc.NewQuotaKVServer(m.etcd.Server))
}

// Stop stops the member. Its data stays. etcd gives watches that are under way 5 seconds to end by themselves.
func (m *Member) Stop() {
	if m.etcd != nil {
		m.etcd.Close()
		m.etcd = nil
	}
}

// Restart stops the member, if it runs, and starts it again on its data and its ports.
func (m *Member) Restart() {
	m.tb.Helper()
	m.Stop()
	if err := m.start(); err != nil {
		m.tb.Fatalf("etcdtest: restart: %v", err)
	}
}

// Client returns a client of the member. It is closed when the test ends, if it is not before.
func (m *Member) Client(opts ...func(*clientv3.Config)) *clientv3.Client {
	m.tb.Helper()
	cfg := clientv3.Config{
		Endpoints: []string{m.Endpoint}, DialTimeout: 5 * time.Second, Logger: zap.NewNop(),
		MaxCallSendMsgSize: 2 * int(m.cfg.MaxRequestBytes),
	}
	for _, o := range opts {
		o(&cfg)
	}
	c, err := clientv3.New(cfg)
	if err != nil {
		m.tb.Fatalf("etcdtest: client: %v", err)
	}
	m.tb.Cleanup(func() { _ = c.Close() }) // the error of a client closed before says only that
	return c
}

func freeURL() (url.URL, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return url.URL{}, err
	}
	return url.URL{Scheme: "http", Host: l.Addr().String()}, l.Close()
}
