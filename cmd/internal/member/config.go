package member

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// Config configures a member. DataDir is required; a zero in any other field means the default its comment states.
type Config struct {
	Name    string // unique in its cluster; default "celld"
	DataDir string

	// URLs, http or https; their hosts are IP addresses. Port 0 stands for a free one.
	ListenClientURLs []string // default http://127.0.0.1:2379
	ListenPeerURLs   []string // default http://127.0.0.1:2380
	// What others are told; hosts may be names. Default: where it listens, which has to be an address then that others can use.
	AdvertiseClientURLs []string
	AdvertisePeerURLs   []string

	InitialCluster      string // "name=peerURL,…" of all members; default: this one alone
	InitialClusterState string // "new", the default, or "existing"
	InitialClusterToken string // default "omegacell"; differs where clusters may meet

	ClientTLS TLS // for https client URLs
	PeerTLS   TLS // for https peer URLs

	QuotaBytes      int64         // size at which etcd refuses writes; default 8 GiB
	AutoCompaction  time.Duration // history kept; default 1h, none is given up where negative
	MaxTxnOps       uint          // default 4096
	MaxRequestBytes uint          // default 16 MiB
	// SnapshotCount is the number of writes between snapshots, and half of it what is kept in memory for slow peers; default
	// 2000. etcd's own 10000 is for small writes: ours may have megabytes each.
	SnapshotCount uint64
	// UnsafeNoFsync loses data when the host stops: for tests and benchmarks.
	UnsafeNoFsync bool

	// Log gets etcd's warnings and errors as they are, its information as debug, and nothing of its debug. Default none.
	Log *zap.Logger
}

// slowRequest is how long a request takes before etcd warns of it. Its own 100ms and 300ms are for small requests on hosts of
// its own: ours may write a hundred ledgers, beside everything else of a cell.
const slowRequest = 2 * time.Second

// TLS names the files of one side's certificates.
type TLS struct {
	CertFile, KeyFile string
	CAFile            string // of the authorities that the other side's certificates are verified with
	RequireClientCert bool
}

func (t TLS) info() transport.TLSInfo {
	return transport.TLSInfo{CertFile: t.CertFile, KeyFile: t.KeyFile, TrustedCAFile: t.CAFile, ClientCertAuth: t.RequireClientCert}
}

func (c Config) withDefaults() (Config, error) {
	if c.DataDir == "" {
		return c, errors.New("etcd member: the data directory is not given")
	}
	c.Name = cmp.Or(c.Name, "celld")
	if len(c.ListenClientURLs) == 0 {
		c.ListenClientURLs = []string{"http://127.0.0.1:2379"}
	}
	if len(c.ListenPeerURLs) == 0 {
		c.ListenPeerURLs = []string{"http://127.0.0.1:2380"}
	}
	c.InitialClusterState = cmp.Or(c.InitialClusterState, embed.ClusterStateFlagNew)
	c.InitialClusterToken = cmp.Or(c.InitialClusterToken, "omegacell")
	c.QuotaBytes = cmp.Or(c.QuotaBytes, 8<<30)
	c.AutoCompaction = cmp.Or(c.AutoCompaction, time.Hour)
	c.MaxTxnOps = cmp.Or(c.MaxTxnOps, 4096)
	c.MaxRequestBytes = cmp.Or(c.MaxRequestBytes, 16<<20)
	c.SnapshotCount = cmp.Or(c.SnapshotCount, 2000)
	c.Log = nop(c.Log)
	if s := c.InitialClusterState; s != embed.ClusterStateFlagNew && s != embed.ClusterStateFlagExisting {
		return c, fmt.Errorf("etcd member %s: initial cluster state %q is not new or existing", c.Name, s)
	}
	if c.QuotaBytes < 0 || c.AutoCompaction > 0 && c.AutoCompaction < time.Second {
		return c, fmt.Errorf("etcd member %s: the quota must not be negative, nor history shorter than 1s", c.Name)
	}
	for _, list := range [][]string{c.ListenClientURLs, c.ListenPeerURLs, c.AdvertiseClientURLs, c.AdvertisePeerURLs} {
		for _, s := range list {
			if err := checkURL(s); err != nil {
				return c, fmt.Errorf("etcd member %s: %w", c.Name, err)
			}
		}
	}
	return c, nil
}

func checkURL(s string) error {
	u, err := url.Parse(s)
	if err == nil {
		_, _, err = net.SplitHostPort(u.Host)
	}
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Path != "" && u.Path != "/" {
		return fmt.Errorf("URL %q is not like http://127.0.0.1:2379", s)
	}
	return nil
}

// withPorts replaces port 0 by free ports, and fills in what follows from the ports. anyPort says whether there was a 0.
func (c Config) withPorts() (_ Config, anyPort bool, err error) {
	for _, list := range []*[]string{&c.ListenClientURLs, &c.ListenPeerURLs} {
		*list = slices.Clone(*list)
		for i, s := range *list {
			u, err := url.Parse(s)
			if err != nil {
				return c, false, err
			}
			if u.Port() != "0" {
				continue
			}
			anyPort = true
			port, err := freePort(u.Hostname())
			if err != nil {
				return c, false, fmt.Errorf("etcd member %s: a free port for %s: %w", c.Name, s, err)
			}
			u.Host = net.JoinHostPort(u.Hostname(), port)
			(*list)[i] = u.String()
		}
	}
	if len(c.AdvertiseClientURLs) == 0 {
		c.AdvertiseClientURLs = c.ListenClientURLs
	}
	if len(c.AdvertisePeerURLs) == 0 {
		c.AdvertisePeerURLs = c.ListenPeerURLs
	}
	if c.InitialCluster == "" {
		var all []string
		for _, u := range c.AdvertisePeerURLs {
			all = append(all, c.Name+"="+u)
		}
		c.InitialCluster = strings.Join(all, ",")
	}
	return c, anyPort, nil
}

// embed gives the configuration in etcd's terms.
func (c Config) embed(v *volume) (*embed.Config, error) {
	ec := embed.NewConfig()
	ec.Name, ec.Dir = c.Name, c.DataDir
	for _, p := range []struct {
		to   *[]url.URL
		from []string
	}{
		{&ec.ListenClientUrls, c.ListenClientURLs}, {&ec.AdvertiseClientUrls, c.AdvertiseClientURLs},
		{&ec.ListenPeerUrls, c.ListenPeerURLs}, {&ec.AdvertisePeerUrls, c.AdvertisePeerURLs},
	} {
		*p.to = nil
		for _, s := range p.from {
			u, err := url.Parse(s)
			if err != nil {
				return nil, err
			}
			*p.to = append(*p.to, *u)
		}
	}
	ec.InitialCluster, ec.ClusterState, ec.InitialClusterToken = c.InitialCluster, c.InitialClusterState, c.InitialClusterToken
	ec.ClientTLSInfo, ec.PeerTLSInfo = c.ClientTLS.info(), c.PeerTLS.info()
	ec.QuotaBackendBytes, ec.MaxTxnOps, ec.MaxRequestBytes = c.QuotaBytes, c.MaxTxnOps, c.MaxRequestBytes
	ec.WarningApplyDuration, ec.WarningUnaryRequestDuration = slowRequest, slowRequest
	ec.SnapshotCount, ec.SnapshotCatchUpEntries = c.SnapshotCount, max(c.SnapshotCount/2, 1)
	ec.AutoCompactionMode, ec.AutoCompactionRetention = embed.CompactorModePeriodic, "0"
	if c.AutoCompaction > 0 {
		ec.AutoCompactionRetention = c.AutoCompaction.String()
	}
	ec.UnsafeNoFsync = c.UnsafeNoFsync
	ec.ZapLoggerBuilder = embed.NewZapLoggerBuilder(quiet(c.Log, v))
	return ec, nil
}

// checkUnlocked returns an error where another process has the data directory: etcd would wait for it without end.
func checkUnlocked(dir string) error {
	f, err := os.Open(filepath.Join(dir, "member", "snap", "db"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	defer f.Close()
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("data directory %s is in use by another process", dir)
	}
	if err != nil {
		return fmt.Errorf("data directory %s: %w", dir, err)
	}
	return nil
}
