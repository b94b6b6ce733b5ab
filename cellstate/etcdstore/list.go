package etcdstore

import (
	"context"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/wire"
)

// List implements [cellstate.Store], page by page at one revision.
func (s *Store) List(ctx context.Context, r cellstate.Range, rev int64) (cellstate.Listing, error) {
	on := rangeName(r)
	if rev < 0 {
		return cellstate.Listing{}, opError("list", on, cellstate.ErrCompacted, errNegative)
	}
	key, exact := wire.RangePrefix(s.cfg.Cell, r)
	opts := []clientv3.OpOption{clientv3.WithLimit(int64(s.cfg.PageKeys))}
	if !exact {
		opts = append(opts, clientv3.WithRange(clientv3.GetPrefixRangeEnd(key)))
	}
	out := cellstate.Listing{Rev: rev}
	for {
		resp, err := s.page(ctx, key, append(opts, clientv3.WithRev(out.Rev)))
		if err != nil {
			return cellstate.Listing{}, readError("list", on, err)
		}
		if out.Rev == 0 {
			out.Rev = resp.Header.Revision
		}
		for _, kv := range resp.Kvs {
			if rec := s.record(kv); rec.Err != nil && rec.Key == (cellstate.Key{}) || r.Contains(rec.Key) {
				out.Records = append(out.Records, rec)
			}
		}
		if !resp.More || len(resp.Kvs) == 0 {
			break
		}
		key = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
	slices.SortStableFunc(out.Records, func(a, b cellstate.Record) int {
		if c := a.Key.Compare(b.Key); c != 0 {
			return c
		}
		return strings.Compare(a.Raw, b.Raw)
	})
	return out, nil
}

func (s *Store) page(ctx context.Context, key string, opts []clientv3.OpOption) (*clientv3.GetResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	return s.client.Get(ctx, key, opts...)
}

// record decodes what stands under a key. What cannot be read comes with Err; where that is the key itself, Key is zero.
func (s *Store) record(kv *mvccpb.KeyValue) cellstate.Record {
	rec := cellstate.Record{Rev: kv.ModRevision, CreateRev: kv.CreateRevision, Lease: kv.Lease}
	rec.Key, rec.Err = wire.ParseKey(s.cfg.Cell, string(kv.Key))
	if rec.Err == nil && rec.Key.Kind == cellstate.KindLedger {
		if l := s.known.decoded(rec.Key.Name, kv.ModRevision, kv.Value); l != nil {
			rec.Value = l
			return rec
		}
	}
	if rec.Err == nil {
		rec.Value, rec.Err = wire.Unmarshal(rec.Key, kv.Value, kv.ModRevision)
	}
	if rec.Err != nil {
		rec.Value, rec.Raw = nil, string(kv.Key)
		s.corrupt(rec.Raw, rec.Err)
	}
	return rec
}

func rangeName(r cellstate.Range) string {
	if r == (cellstate.Range{}) {
		return "everything"
	}
	return strings.TrimSuffix(cellstate.Key(r).String(), " ")
}
