package cliconf

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/omegacell/omegacell/cellstate"
)

// Connection is how a binary reaches the cell, as its flags say. Embed it with the tag `mapstructure:",squash"`.
type Connection struct {
	Endpoints             []string      `mapstructure:"endpoints"`
	CACert                string        `mapstructure:"cacert"`
	Cert                  string        `mapstructure:"cert"`
	Key                   string        `mapstructure:"key"`
	User                  string        `mapstructure:"user"` // name:password
	InsecureSkipTLSVerify bool          `mapstructure:"insecure-skip-tls-verify"`
	DialTimeout           time.Duration `mapstructure:"dial-timeout"`
	CommandTimeout        time.Duration `mapstructure:"command-timeout"`
	Cell                  string        `mapstructure:"cell"`
}

// AddConnectionFlags adds the flags that [Connection] holds.
func AddConnectionFlags(fs *pflag.FlagSet) {
	fs.StringSlice("endpoints", []string{"127.0.0.1:2379"}, "etcd's client `ADDRESSES`, separated by commas")
	fs.String("cacert", "", "`FILE` with the certificates of the authorities that etcd's is verified with")
	fs.String("cert", "", "`FILE` with this client's certificate")
	fs.String("key", "", "`FILE` with the key of this client's certificate")
	fs.String("user", "", "`NAME:PASSWORD` for etcd")
	fs.Bool("insecure-skip-tls-verify", false, "accept any certificate of etcd: for tests only")
	fs.Duration("dial-timeout", 5*time.Second, "time that the first connection to etcd may take")
	fs.Duration("command-timeout", 5*time.Second, "time that one command may take")
	fs.String("cell", "main", "`NAME` of the cell")
}

// MaxMessageBytes bounds one request to etcd and one answer.
const MaxMessageBytes = 64 << 20

// Check returns a usage error that names the first flag with a value that it cannot have.
func (c Connection) Check() error {
	if len(c.Endpoints) == 0 {
		return Usagef("--endpoints is empty")
	}
	for _, e := range c.Endpoints {
		if e == "" {
			return Usagef("--endpoints has an empty address in it")
		}
	}
	if name, password, ok := strings.Cut(c.User, ":"); c.User != "" && (!ok || name == "" || password == "") {
		return Usagef("--user is not NAME:PASSWORD")
	}
	if (c.Cert == "") != (c.Key == "") {
		return Usagef("--cert and --key are only of use together")
	}
	if c.DialTimeout <= 0 || c.CommandTimeout <= 0 {
		return Usagef("--dial-timeout and --command-timeout must be above zero")
	}
	if err := cellstate.CheckName(c.Cell); err != nil {
		return Usagef("--cell: %w", err)
	}
	return nil
}

// Dial connects, and waits for as long as the dial timeout allows until one of the endpoints answers. The client lives until it is
// closed, also after ctx. log may be nil.
func (c Connection) Dial(ctx context.Context, log *zap.Logger) (*clientv3.Client, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	if log == nil {
		log = zap.NewNop()
	}
	tlsConfig, err := c.tls()
	if err != nil {
		return nil, err
	}
	cfg := clientv3.Config{
		Context:              context.WithoutCancel(ctx),
		Endpoints:            c.Endpoints,
		DialTimeout:          c.DialTimeout,
		DialKeepAliveTime:    10 * time.Second, // etcd hangs up on who asks more often than every 5s
		DialKeepAliveTimeout: 5 * time.Second,
		MaxCallSendMsgSize:   MaxMessageBytes,
		MaxCallRecvMsgSize:   MaxMessageBytes,
		TLS:                  tlsConfig,
		Logger:               log.Named("etcd-client").WithOptions(zap.IncreaseLevel(zap.WarnLevel)),
	}
	client, err := clientv3.New(cfg)
	if err != nil {
		return nil, fmt.Errorf("etcd at %s: %w", c.at(), err)
	}
	if err := c.awaitAnswer(ctx, client); err != nil {
		_ = client.Close() // nothing was done through it
		return nil, err
	}
	if c.User == "" {
		return client, nil
	}
	_ = client.Close()
	cfg.Username, cfg.Password, _ = strings.Cut(c.User, ":")
	client, err = clientv3.New(cfg)
	if err != nil {
		return nil, fmt.Errorf("etcd at %s refuses --user: %w", c.at(), err)
	}
	return client, nil
}

// at says where etcd should be, in errors.
func (c Connection) at() string { return strings.Join(c.Endpoints, ",") }

// awaitAnswer waits for etcd to answer anything at all, for the dial timeout. It asks by gRPC itself: etcd's client, which
// waits for a connection in each call, would not say why there is none.
func (c Connection) awaitAnswer(ctx context.Context, client *clientv3.Client) error {
	ctx, cancel := context.WithTimeout(ctx, c.DialTimeout)
	defer cancel()
	retry := time.NewTicker(50 * time.Millisecond)
	defer retry.Stop()
	ask := etcdserverpb.NewMaintenanceClient(client.ActiveConnection())
	last := "no answer"
	for {
		resp, err := ask.Status(ctx, &etcdserverpb.StatusRequest{})
		switch status.Code(err) {
		case codes.OK:
			if err := checkVersion(resp.Version); err != nil {
				return fmt.Errorf("etcd at %s: %w", c.at(), err)
			}
			return nil
		case codes.Unauthenticated, codes.PermissionDenied, codes.InvalidArgument, codes.FailedPrecondition:
			return nil // it is etcd, even if it wants to know the user first
		case codes.DeadlineExceeded, codes.Canceled: // this time is up; the attempt before says more
		default:
			last = reason(err)
		}
		select {
		case <-retry.C:
			continue
		case <-ctx.Done():
		}
		if errors.Is(ctx.Err(), context.Canceled) {
			return fmt.Errorf("connecting to etcd at %s: %w", c.at(), context.Canceled)
		}
		return fmt.Errorf("no etcd answered at %s within %s: %s: %w", c.at(), c.DialTimeout, last, cellstate.ErrUnavailable)
	}
}

// tls returns the TLS configuration, nil where nothing asks for TLS.
func (c Connection) tls() (*tls.Config, error) {
	https := false
	for _, e := range c.Endpoints {
		https = https || strings.HasPrefix(e, "https://")
	}
	if !https && c.CACert == "" && c.Cert == "" && !c.InsecureSkipTLSVerify {
		return nil, nil
	}
	info := transport.TLSInfo{TrustedCAFile: c.CACert, CertFile: c.Cert, KeyFile: c.Key}
	cfg, err := info.ClientConfig()
	if err != nil {
		return nil, Usagef("--cacert, --cert, --key: %w", err)
	}
	cfg.InsecureSkipVerify = c.InsecureSkipTLSVerify
	return cfg, nil
}

// reason is the end of gRPC's chain of causes, which is the part that tells something.
func reason(err error) string {
	s := status.Convert(err).Message()
	if i := strings.LastIndex(s, "desc = "); i >= 0 {
		s = s[i+len("desc = "):]
	}
	return strings.TrimPrefix(strings.Trim(s, `"`), "transport: ")
}
