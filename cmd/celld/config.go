package main

import (
	"strings"
	"time"

	"github.com/spf13/pflag"
	"go.uber.org/zap"

	"github.com/omegacell/omegacell/cmd/internal/cliconf"
	"github.com/omegacell/omegacell/cmd/internal/daemon"
	"github.com/omegacell/omegacell/cmd/internal/member"
)

// config is what celld's flags say.
type config struct {
	daemon.Config `mapstructure:",squash"`

	Name                string        `mapstructure:"name"`
	DataDir             string        `mapstructure:"data-dir"`
	ListenClientURLs    []string      `mapstructure:"listen-client-urls"`
	AdvertiseClientURLs []string      `mapstructure:"advertise-client-urls"`
	ListenPeerURLs      []string      `mapstructure:"listen-peer-urls"`
	AdvertisePeerURLs   []string      `mapstructure:"initial-advertise-peer-urls"`
	InitialCluster      []string      `mapstructure:"initial-cluster"`
	InitialClusterState string        `mapstructure:"initial-cluster-state"`
	InitialClusterToken string        `mapstructure:"initial-cluster-token"`
	CertFile            string        `mapstructure:"cert-file"`
	KeyFile             string        `mapstructure:"key-file"`
	TrustedCAFile       string        `mapstructure:"trusted-ca-file"`
	ClientCertAuth      bool          `mapstructure:"client-cert-auth"`
	PeerCertFile        string        `mapstructure:"peer-cert-file"`
	PeerKeyFile         string        `mapstructure:"peer-key-file"`
	PeerTrustedCAFile   string        `mapstructure:"peer-trusted-ca-file"`
	PeerClientCertAuth  bool          `mapstructure:"peer-client-cert-auth"`
	QuotaBytes          int64         `mapstructure:"quota-bytes"`
	AutoCompaction      time.Duration `mapstructure:"auto-compaction"`
	MaxTxnOps           uint          `mapstructure:"max-txn-ops"`
	MaxRequestBytes     uint          `mapstructure:"max-request-bytes"`
	SnapshotCount       uint64        `mapstructure:"snapshot-count"`
	UnsafeNoFsync       bool          `mapstructure:"unsafe-no-fsync"`
}

func addFlags(fs *pflag.FlagSet) {
	cliconf.AddConfigFlag(fs)
	daemon.AddFlags(fs, "")
	fs.String("name", "celld", "`NAME` of this member, its own in its cluster")
	fs.String("data-dir", "celld.data", "`DIRECTORY` that holds everything")
	fs.StringSlice("listen-client-urls", []string{"http://127.0.0.1:2379"}, "`URLS` to serve clients on; port 0 for a free one")
	fs.StringSlice("advertise-client-urls", nil, "`URLS` that clients are told; where it listens by default")
	fs.StringSlice("listen-peer-urls", []string{"http://127.0.0.1:2380"}, "`URLS` to serve other members on; port 0 for a free one")
	fs.StringSlice("initial-advertise-peer-urls", nil, "`URLS` that other members are told; where it listens by default")
	fs.StringSlice("initial-cluster", nil, "`NAME=URL,...` of all members of a new cluster; this one alone by default")
	fs.String("initial-cluster-state", "new", "new, or existing where it joins a cluster that runs")
	fs.String("initial-cluster-token", "omegacell", "`TOKEN` that differs between clusters which could reach each other")
	fs.String("cert-file", "", "`FILE` with the certificate for clients, where their URLs are https")
	fs.String("key-file", "", "`FILE` with that certificate's key")
	fs.String("trusted-ca-file", "", "`FILE` with the authorities that clients' certificates are verified with")
	fs.Bool("client-cert-auth", false, "serve only clients with a certificate")
	fs.String("peer-cert-file", "", "`FILE` with the certificate for other members, where their URLs are https")
	fs.String("peer-key-file", "", "`FILE` with that certificate's key")
	fs.String("peer-trusted-ca-file", "", "`FILE` with the authorities that other members' certificates are verified with")
	fs.Bool("peer-client-cert-auth", false, "talk only to members with a certificate")
	fs.Int64("quota-bytes", 8<<30, "size of the store in `BYTES` at which it refuses writes")
	fs.Duration("auto-compaction", time.Hour, "how much history is kept; 0 for all of it")
	fs.Uint("max-txn-ops", 4096, "operations that one transaction may have")
	fs.Uint("max-request-bytes", 16<<20, "`BYTES` that one request may have")
	fs.Uint64("snapshot-count", 2000, "writes between two snapshots")
	fs.Bool("unsafe-no-fsync", false, "lose data when the host stops: for tests and benchmarks")
}

func (c config) member(log *zap.Logger) member.Config {
	if c.AutoCompaction == 0 {
		c.AutoCompaction = -1
	}
	return member.Config{
		Name: c.Name, DataDir: c.DataDir,
		ListenClientURLs: c.ListenClientURLs, AdvertiseClientURLs: c.AdvertiseClientURLs,
		ListenPeerURLs: c.ListenPeerURLs, AdvertisePeerURLs: c.AdvertisePeerURLs,
		InitialCluster: strings.Join(c.InitialCluster, ","), InitialClusterState: c.InitialClusterState, InitialClusterToken: c.InitialClusterToken,
		ClientTLS:  member.TLS{CertFile: c.CertFile, KeyFile: c.KeyFile, CAFile: c.TrustedCAFile, RequireClientCert: c.ClientCertAuth},
		PeerTLS:    member.TLS{CertFile: c.PeerCertFile, KeyFile: c.PeerKeyFile, CAFile: c.PeerTrustedCAFile, RequireClientCert: c.PeerClientCertAuth},
		QuotaBytes: c.QuotaBytes, AutoCompaction: c.AutoCompaction, MaxTxnOps: c.MaxTxnOps, MaxRequestBytes: c.MaxRequestBytes,
		SnapshotCount: c.SnapshotCount, UnsafeNoFsync: c.UnsafeNoFsync, Log: log,
	}
}
