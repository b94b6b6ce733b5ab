package etcdstore

import (
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/omegacell/omegacell/cellstate"
)

// Config configures a Store. Client and Cell are required; a zero in any other field means the default its comment states.
type Config struct {
	Client *clientv3.Client // the caller's, who closes it when done with the store
	// KV is how transactions are sent where Client is no network client but that of a member in the same process (etcd's
	// v3client). Default: over Client's connection.
	KV     pb.KVClient
	Cell   string
	Limits cellstate.Limits

	MaxTxnOps       int // of one etcd Txn, as etcd counts them; default 4096, or what etcd is found to take
	MaxRequestBytes int // of one etcd request; default 16 MiB, or what etcd is found to take
	InFlight        int // etcd Txns of commits under way at a time; default 2
	Rounds          int // times a part is sent again after its guard failed, before it is contended; default 8
	PageKeys        int // keys of one page of a List; default 2000
	Backlog         int // events kept for watchers of a range that are slower than others of it; default 16384

	RequestTimeout time.Duration // of one etcd request; default 5s. The caller's context bounds the whole
	RetryMin       time.Duration // wait before asking again after a failure; default 50ms
	RetryMax       time.Duration // the wait doubles up to this; default 1s
	Progress       time.Duration // a watch of a whole range that is quiet asks etcd how far it is so often; default 1s

	Log     *zap.Logger           // default none
	Metrics prometheus.Registerer // default none; stores may share one
}

func (c Config) withDefaults() (Config, error) {
	bad := func(what string) error {
		return &cellstate.OpError{Op: "open store", On: c.Cell, Err: fmt.Errorf("%s: %w", what, cellstate.ErrInvalid)}
	}
	if c.Client == nil {
		return c, bad("no etcd client")
	}
	if err := cellstate.CheckName(c.Cell); err != nil {
		return c, bad("cell: " + err.Error())
	}
	c.Limits = c.Limits.WithDefaults()
	for _, n := range []struct {
		name  string
		field *int
		value int
	}{
		{"MaxTxnOps", &c.MaxTxnOps, 4096}, {"MaxRequestBytes", &c.MaxRequestBytes, 16 << 20},
		{"InFlight", &c.InFlight, 2}, {"Rounds", &c.Rounds, 8}, {"PageKeys", &c.PageKeys, 2000},
		{"Backlog", &c.Backlog, 16384},
	} {
		if *n.field < 0 {
			return c, bad(n.name + " is negative")
		}
		if *n.field == 0 {
			*n.field = n.value
		}
	}
	for _, d := range []struct {
		name  string
		field *time.Duration
		value time.Duration
	}{
		{"RequestTimeout", &c.RequestTimeout, 5 * time.Second}, {"RetryMin", &c.RetryMin, 50 * time.Millisecond},
		{"RetryMax", &c.RetryMax, time.Second}, {"Progress", &c.Progress, time.Second},
	} {
		if *d.field < 0 {
			return c, bad(d.name + " is negative")
		}
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	return c, nil
}

// Store is a client of one cell in etcd. It needs no closing: what it does in the background ends with the last call, or
// with the etcd client.
type Store struct {
	cfg     Config
	client  *clientv3.Client
	kv      pb.KVClient
	metrics *metrics
	feeds   feeds
	known   known
	doubts  doubts
	swaps   swaps

	mu      sync.Mutex
	queue   []*piece        // to be sent, in order
	busy    map[string]bool // machines whose ledgers are in an etcd Txn under way
	running int             // goroutines that send
	ops     limit
	bytes   limit
	guarded int // piles answered lately, and those of them of which a guard did not hold
	lost    int
}

var _ cellstate.Store = (*Store)(nil)

// New returns a store. It does not talk to etcd yet.
func New(cfg Config) (*Store, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	m, err := newMetrics(cfg.Metrics)
	if err != nil {
		return nil, &cellstate.OpError{Op: "open store", On: cfg.Cell, Err: fmt.Errorf("metrics: %v: %w", err, cellstate.ErrInvalid)}
	}
	kv := cfg.KV
	if kv == nil {
		kv = clientv3.RetryKVClient(cfg.Client)
	}
	return &Store{
		cfg: cfg, client: cfg.Client, kv: kv, metrics: m, busy: make(map[string]bool),
		feeds: feeds{of: make(map[cellstate.Range]*feed)}, known: known{of: make(map[string]knownLedger)},
		doubts: doubts{of: make(map[string]int64)},
		ops:    limit{name: "max-txn-ops", most: cfg.MaxTxnOps},
		bytes:  limit{name: "max-request-bytes", most: cfg.MaxRequestBytes},
	}, nil
}
