package etcdstore_test

import (
	"strings"
	"sync"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/etcdstore/etcdtest"
	"github.com/omegacell/omegacell/cellstate/wire"
)

// BenchmarkShape puts 100 keys in one etcd Txn of each shape, from 4 clients: what guards and nesting cost etcd.
func BenchmarkShape(b *testing.B) {
	m := etcdtest.Start(b, fsync)
	value := strings.Repeat("v", 600)
	for _, shape := range []string{"puts", "flat", "flat-noelse", "nested", "nested-noelse", "puts-watched"} {
		b.Run(shape, func(b *testing.B) {
			var cs []*clientv3.Client
			for range 4 {
				cs = append(cs, m.Client())
			}
			if shape == "puts-watched" {
				go func() {
					for range m.Client().Watch(b.Context(), "/", clientv3.WithPrefix()) {
					}
				}()
			}
			var sp spent
			puts := 0
			for b.Loop() {
				sp.measure(func() {
					var wg sync.WaitGroup
					for i, c := range cs {
						wg.Go(func() {
							for at := range 10 {
								var cmps []clientv3.Cmp
								var then, els []clientv3.Op
								for j := range 100 {
									key := wire.KeyString("test", cellstate.LedgerKey(machine(i*1000+at*100+j)))
									cmp := clientv3.Compare(clientv3.ModRevision(key), "<", int64(1)<<40)
									put, get := clientv3.OpPut(key, value), clientv3.OpGet(key)
									switch shape {
									case "nested":
										then = append(then, clientv3.OpTxn([]clientv3.Cmp{cmp}, []clientv3.Op{put}, []clientv3.Op{get}))
									case "nested-noelse":
										then = append(then, clientv3.OpTxn([]clientv3.Cmp{cmp}, []clientv3.Op{put}, nil))
									case "flat":
										cmps, then, els = append(cmps, cmp), append(then, put), append(els, get)
									case "flat-noelse":
										cmps, then = append(cmps, cmp), append(then, put)
									default:
										then = append(then, put)
									}
								}
								if _, err := c.Txn(b.Context()).If(cmps...).Then(then...).Else(els...).Commit(); err != nil {
									b.Error(err)
								}
							}
						})
					}
					wg.Wait()
				})
				puts += 4000
			}
			b.ReportMetric(float64(puts)/sp.wall.Seconds(), "puts/s")
			b.ReportMetric(float64(sp.cpu.Microseconds())/float64(puts), "cpu-us/put")
		})
	}
}
