package member

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/omegacell/omegacell/cmd/internal/cliconf"
)

// Member is a running member.
type Member struct {
	etcd      *embed.Etcd
	client    *clientv3.Client
	endpoints []string
	stop      func() error // once
}

// portAttempts is how often Start looks for free ports where port 0 is asked for: between finding one and listening on it
// somebody else may take it.
const portAttempts = 10

// Start starts a member and waits until it serves: one of several until enough of them do. Where ctx ends before, nothing is left.
func Start(ctx context.Context, cfg Config) (*Member, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := checkUnlocked(cfg.DataDir); err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		chosen, anyPort, err := cfg.withPorts()
		if err != nil {
			return nil, err
		}
		m, err := start(ctx, chosen)
		if anyPort && attempt < portAttempts && errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		return m, err
	}
}

func start(ctx context.Context, cfg Config) (*Member, error) {
	v := &volume{}
	v.low.Store(true)
	ec, err := cfg.embed(v)
	if err != nil {
		return nil, err
	}
	s := &servers{}
	ec.ServiceRegister = s.add
	etcd, err := startEtcd(ec)
	if err != nil {
		return nil, fmt.Errorf("etcd member %s: %w", cfg.Name, err)
	}
	v.low.Store(false)
	m := &Member{etcd: etcd, endpoints: cfg.AdvertiseClientURLs}
	m.stop = sync.OnceValue(func() error {
		v.low.Store(true)
		err := m.client.Close()
		s.stop()
		etcd.Close()
		return err
	})
	select {
	case <-etcd.Server.ReadyNotify():
	case err = <-etcd.Err():
	case <-etcd.Server.StopNotify():
		err = errors.New("it stopped while it started")
	case <-ctx.Done():
		err = fmt.Errorf("not ready, perhaps for want of its peers: %w", ctx.Err())
	}
	if err == nil {
		m.client, err = cliconf.Connection{
			Endpoints: cfg.ListenClientURLs, Cert: cfg.ClientTLS.CertFile, Key: cfg.ClientTLS.KeyFile,
			InsecureSkipTLSVerify: true, // the certificate may be for names only; the address is the one we listen on
			DialTimeout:           10 * time.Second, CommandTimeout: 10 * time.Second, Cell: "main",
		}.Dial(ctx, cfg.Log)
	}
	if err != nil {
		v.low.Store(true)
		etcd.Server.Stop() // before Close, which waits for servers that a member that is not ready never starts
		etcd.Close()
		return nil, fmt.Errorf("etcd member %s: %w", cfg.Name, err)
	}
	return m, nil
}

// startEtcd is embed.StartEtcd, with an error where it would end the process: a directory that it cannot use, a log that
// does not fit the cluster.
func startEtcd(ec *embed.Config) (etcd *embed.Etcd, err error) {
	defer func() {
		if r := recover(); r != nil {
			etcd, err = nil, fmt.Errorf("%v", r)
		}
	}()
	return embed.StartEtcd(ec)
}

// Client returns a client of this member, which Stop closes.
func (m *Member) Client() *clientv3.Client { return m.client }

// Endpoints returns the URLs at which clients reach this member.
func (m *Member) Endpoints() []string { return m.endpoints }

// Failed is closed, or brings an error, when the member ends by itself.
func (m *Member) Failed() <-chan error { return m.etcd.Err() }

// Stop ends the member, and returns when its ports and its data directory are free. A second call does nothing.
func (m *Member) Stop() error { return m.stop() }

// Run waits until ctx is over or the member fails, and stops it.
func (m *Member) Run(ctx context.Context) error {
	var failed error
	select {
	case <-ctx.Done():
	case err := <-m.Failed():
		failed = fmt.Errorf("etcd member failed: %w", err)
	case <-m.etcd.Server.StopNotify():
		failed = errors.New("etcd member stopped by itself")
	}
	return errors.Join(failed, m.Stop())
}

// servers are the member's gRPC servers. They are stopped before etcd itself, which would wait 7s for clients that watch.
type servers struct {
	mu  sync.Mutex
	all []*grpc.Server
}

func (s *servers) add(g *grpc.Server) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, g)
}

// stop gives requests under way stopGrace to be answered.
func (s *servers) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	var wg sync.WaitGroup
	for _, g := range s.all {
		wg.Go(func() {
			hard := time.AfterFunc(stopGrace, g.Stop)
			defer hard.Stop()
			g.GracefulStop()
		})
	}
	wg.Wait()
}

const stopGrace = 500 * time.Millisecond

// freePort returns a port of host that nobody listens on at the moment.
func freePort(host string) (string, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, errors.Join(err, l.Close())
}

// nop stands in for the logger that a Config has none of.
func nop(log *zap.Logger) *zap.Logger {
	if log == nil {
		return zap.NewNop()
	}
	return log
}
