package member

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/omegacell/omegacell/cmd/internal/cliconf"
)

// anyPort is a member of its own on free ports.
func anyPort(dir string) Config {
	return Config{
		Name: "m", DataDir: dir, UnsafeNoFsync: true,
		ListenClientURLs: []string{"http://127.0.0.1:0"}, ListenPeerURLs: []string{"http://127.0.0.1:0"},
	}
}

func start1(t *testing.T, cfg Config) *Member {
	t.Helper()
	m, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// A member serves every etcd client; what was written is there again after a restart.
func TestServesAndRestarts(t *testing.T) {
	dir := t.TempDir()
	m := start1(t, anyPort(dir))
	c := cliconf.Connection{Endpoints: m.Endpoints(), DialTimeout: 5 * time.Second, CommandTimeout: time.Second, Cell: "main"}
	other, err := c.Dial(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Put(t.Context(), "a", "1"); err != nil {
		t.Fatal(err)
	}
	if err := other.Close(); err != nil {
		t.Error(err)
	}
	if err := m.Stop(); err != nil {
		t.Error(err)
	}
	m = start1(t, anyPort(dir)) // on other ports
	defer m.Stop()
	got, err := m.Client().Get(t.Context(), "a")
	if err != nil || len(got.Kvs) != 1 || string(got.Kvs[0].Value) != "1" {
		t.Errorf("after a restart: %v, %v", got, err)
	}
}

// The limits are those of the configuration: the last that fits, and the first that does not.
func TestLimits(t *testing.T) {
	m := start1(t, anyPort(t.TempDir()))
	defer m.Stop()
	txn := func(n int) error {
		ops := make([]clientv3.Op, n)
		for i := range ops {
			ops[i] = clientv3.OpPut(fmt.Sprint("k", i), "v")
		}
		_, err := m.Client().Txn(t.Context()).Then(ops...).Commit()
		return err
	}
	if err := txn(4096); err != nil {
		t.Errorf("4096 operations: %v", err)
	}
	if err := txn(4097); err == nil || !strings.Contains(err.Error(), "too many operations") {
		t.Errorf("4097 operations: %v", err)
	}
	put := func(n int) error {
		_, err := m.Client().Put(t.Context(), "big", strings.Repeat("x", n))
		return err
	}
	if err := put(16<<20 - 1024); err != nil {
		t.Errorf("nearly 16 MiB: %v", err)
	}
	if err := put(16<<20 + 1024); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("more than 16 MiB: %v", err)
	}
}

// Over TLS a client verifies the member's certificate, unless told not to.
func TestTLS(t *testing.T) {
	cert, err := transport.SelfCert(zap.NewNop(), t.TempDir(), []string{"127.0.0.1:0"}, 1)
	if err != nil {
		t.Fatal(err)
	}
	cfg := anyPort(t.TempDir())
	cfg.ListenClientURLs = []string{"https://127.0.0.1:0"}
	cfg.ClientTLS = TLS{CertFile: cert.CertFile, KeyFile: cert.KeyFile}
	m := start1(t, cfg)
	defer m.Stop()
	c := cliconf.Connection{Endpoints: m.Endpoints(), DialTimeout: 500 * time.Millisecond, CommandTimeout: time.Second, Cell: "main"}
	for _, tt := range []struct {
		name   string
		ca     string
		unsafe bool
		says   string
	}{
		{"its authority", cert.CertFile, false, ""},
		{"none checked", "", true, ""},
		{"unknown authority", "", false, "certificate signed by unknown authority"},
	} {
		c.CACert, c.InsecureSkipTLSVerify = tt.ca, tt.unsafe
		client, err := c.Dial(t.Context(), nil)
		if err == nil {
			_, err = client.Put(t.Context(), "a", "1")
			client.Close()
		}
		if (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.says)
		}
	}
}

// Where etcd wants users, --user is the one that Dial comes as.
func TestUsers(t *testing.T) {
	m := start1(t, anyPort(t.TempDir()))
	defer m.Stop()
	for _, step := range []func(*clientv3.Client) error{
		func(c *clientv3.Client) error { _, err := c.RoleAdd(t.Context(), "root"); return err },
		func(c *clientv3.Client) error { _, err := c.UserAdd(t.Context(), "root", "secret"); return err },
		func(c *clientv3.Client) error { _, err := c.UserGrantRole(t.Context(), "root", "root"); return err },
		func(c *clientv3.Client) error { _, err := c.AuthEnable(t.Context()); return err },
	} {
		if err := step(m.Client()); err != nil {
			t.Fatal(err)
		}
	}
	c := cliconf.Connection{Endpoints: m.Endpoints(), User: "root:wrong", DialTimeout: 5 * time.Second, CommandTimeout: time.Second, Cell: "main"}
	if _, err := c.Dial(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "refuses --user: ") {
		t.Errorf("wrong password: %v", err)
	}
	c.User = "root:secret"
	client, err := c.Dial(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Put(t.Context(), "a", "1"); err != nil {
		t.Error(err)
	}
}

// The end frees the port, also while a client watches.
func TestStopWithWatch(t *testing.T) {
	m := start1(t, anyPort(t.TempDir()))
	c := cliconf.Connection{Endpoints: m.Endpoints(), DialTimeout: 5 * time.Second, CommandTimeout: time.Second, Cell: "main"}
	client, err := c.Dial(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	watch := client.Watch(t.Context(), "a", clientv3.WithCreatedNotify())
	<-watch
	if err := m.Stop(); err != nil {
		t.Error(err)
	}
	l, err := net.Listen("tcp", strings.TrimPrefix(m.Endpoints()[0], "http://"))
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}

func TestThreeMembers(t *testing.T) {
	var cluster []string
	cfgs := make([]Config, 3)
	for i := range cfgs {
		port, err := freePort("127.0.0.1")
		if err != nil {
			t.Fatal(err)
		}
		cfgs[i] = anyPort(t.TempDir())
		cfgs[i].Name = fmt.Sprint("m", i)
		cfgs[i].ListenPeerURLs = []string{"http://127.0.0.1:" + port}
		cluster = append(cluster, cfgs[i].Name+"="+cfgs[i].ListenPeerURLs[0])
	}
	members := make([]*Member, 3)
	errs := make(chan error, 3)
	for i := range cfgs {
		cfgs[i].InitialCluster = strings.Join(cluster, ",")
		go func() {
			var err error
			members[i], err = Start(t.Context(), cfgs[i])
			errs <- err
		}()
	}
	for range cfgs {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	if _, err := members[0].Client().Put(t.Context(), "a", "1"); err != nil {
		t.Error(err)
	}
	if got, err := members[2].Client().Get(t.Context(), "a"); err != nil || len(got.Kvs) != 1 {
		t.Errorf("read at another member: %v, %v", got, err)
	}
	for _, m := range members {
		if err := m.Stop(); err != nil {
			t.Error(err)
		}
	}
}

// One of several that is alone does not become ready. Giving up leaves nothing behind: its ports can be used again.
func TestAloneOfThree(t *testing.T) {
	cfg := anyPort(t.TempDir())
	peer, err := freePort("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	cfg.ListenPeerURLs = []string{"http://127.0.0.1:" + peer}
	cfg.InitialCluster = "m=http://127.0.0.1:" + peer + ",n=http://127.0.0.1:1,o=http://127.0.0.1:2"
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := Start(ctx, cfg); err == nil || !strings.Contains(err.Error(), "etcd member m: not ready, perhaps for want of its peers") {
		t.Errorf("error %v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+peer)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}

func TestBadConfig(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	running := t.TempDir()
	m := start1(t, anyPort(running))
	defer m.Stop()
	for _, tt := range []struct {
		name   string
		change func(*Config)
		says   string
	}{
		{"no directory", func(c *Config) { c.DataDir = "" }, "etcd member: the data directory is not given"},
		{"directory in use", func(c *Config) { c.DataDir = running }, "data directory " + running + " is in use by another process"},
		{"directory below a file", func(c *Config) { c.DataDir = filepath.Join(running, "member", "snap", "db", "x") }, "not a directory"},
		{"client port in use", func(c *Config) { c.ListenClientURLs = []string{"http://" + taken.Addr().String()} }, taken.Addr().String() + ": bind: address already in use"},
		{"peer port in use", func(c *Config) { c.ListenPeerURLs = []string{"http://" + taken.Addr().String()} }, taken.Addr().String() + ": bind: address already in use"},
		{"no URL", func(c *Config) { c.ListenClientURLs = []string{"127.0.0.1:2379"} }, `etcd member m: URL "127.0.0.1:2379" is not like http://127.0.0.1:2379`},
		{"no port", func(c *Config) { c.AdvertiseClientURLs = []string{"http://127.0.0.1"} }, `etcd member m: URL "http://127.0.0.1" is not like http://127.0.0.1:2379`},
		{"a name to listen on", func(c *Config) { c.ListenClientURLs = []string{"http://example.invalid:2379"} }, "etcd member m: expected IP in URL for binding (http://example.invalid:2379)"},
		{"https without certificates", func(c *Config) { c.ListenClientURLs = []string{"https://127.0.0.1:0"} }, "must be provided for client url https://"},
		{"a cluster without itself", func(c *Config) { c.InitialCluster = "n=http://127.0.0.1:1" }, `couldn't find local name "m" in the initial cluster configuration`},
		{"cluster state", func(c *Config) { c.InitialClusterState = "old" }, `etcd member m: initial cluster state "old" is not new or existing`},
		{"history", func(c *Config) { c.AutoCompaction = time.Second - 1 }, "etcd member m: the quota must not be negative, nor history shorter than 1s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := anyPort(t.TempDir())
			tt.change(&cfg)
			m, err := Start(t.Context(), cfg)
			if err == nil {
				m.Stop()
			}
			if err == nil || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v\nwant  %s", err, tt.says)
			}
		})
	}
}

// etcd's information is our debug; its own debug is nobody's; at low volume everything is debug.
func TestLogLevels(t *testing.T) {
	for _, tt := range []struct {
		ours zapcore.Level
		low  bool
		want string
	}{
		{zapcore.DebugLevel, false, "debug b, warn c, error d"},
		{zapcore.InfoLevel, false, "warn c, error d"},
		{zapcore.ErrorLevel, false, "error d"},
		{zapcore.DebugLevel, true, "debug b, debug c, debug d"},
		{zapcore.InfoLevel, true, ""},
	} {
		core, logs := observer.New(tt.ours)
		v := &volume{}
		v.low.Store(tt.low)
		log := quiet(zap.New(core), v).With(zap.Int("n", 1))
		log.Debug("a")
		log.Info("b")
		log.Warn("c")
		log.Error("d")
		var got []string
		for _, e := range logs.All() {
			got = append(got, e.Level.String()+" "+e.Message)
		}
		if strings.Join(got, ", ") != tt.want {
			t.Errorf("ours %v, low %v: %v, want %s", tt.ours, tt.low, got, tt.want)
		}
	}
}

// At level info a member that starts and ends as it should says nothing.
func TestSilent(t *testing.T) {
	core, logs := observer.New(zapcore.InfoLevel)
	cfg := anyPort(t.TempDir())
	cfg.Log = zap.New(core)
	if err := start1(t, cfg).Stop(); err != nil {
		t.Error(err)
	}
	for _, e := range logs.All() {
		t.Errorf("%s %s", e.Level, e.Message)
	}
}
