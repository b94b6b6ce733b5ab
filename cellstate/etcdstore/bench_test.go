package etcdstore_test

import (
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/etcdstore"
	"github.com/omegacell/omegacell/cellstate/etcdstore/etcdtest"
	"github.com/omegacell/omegacell/cellstate/wire"
)

const benchMachines = 100 // of one transaction

// BenchmarkCommit commits one claim to each of 100 machines and takes it back with the next.
func BenchmarkCommit(b *testing.B) {
	m := etcdtest.Start(b, fsync)
	s := open(b, etcdstore.Config{Client: m.Client()})
	basis := machines(b, s, benchMachines, 1000)
	task := 0
	for b.Loop() {
		x := txn(basis)
		for i := range benchMachines {
			x.Add = append(x.Add, claim(task+i, machine(i), 1000))
			if task > 0 {
				x.Remove = append(x.Remove, cellstate.ClaimRef{Machine: machine(i), ID: claim(task-benchMachines+i, "", 0).ID})
			}
		}
		task += benchMachines
		v, err := s.Commit(b.Context(), x)
		if err != nil || len(v.Conflicts) > 0 {
			b.Fatalf("Commit: %v, %v", v.Conflicts, err)
		}
		b.StopTimer() // what a mirror would show next
		d, err := cellstate.Commit(basis, x, cellstate.Limits{}.WithDefaults())
		if err != nil {
			b.Fatal(err)
		}
		for _, l := range d.Ledgers {
			basis[l.Machine] = cellstate.WithRev(l, v.Rev).(*cellstate.Ledger)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(b.N*benchMachines)/b.Elapsed().Seconds(), "machines/s")
}

// BenchmarkRawPuts writes the same bytes with the same guards and no rule: what etcd itself takes.
func BenchmarkRawPuts(b *testing.B) {
	m := etcdtest.Start(b, fsync)
	c := m.Client()
	s := open(b, etcdstore.Config{Client: c})
	machines(b, s, benchMachines, 1000)
	values := make([]string, benchMachines)
	for i := range values {
		commit(b, s, txn(nil, claim(i, machine(i), 1000)))
		v, err := wire.Marshal(ledgers(b, s)[machine(i)])
		if err != nil {
			b.Fatal(err)
		}
		values[i] = string(v)
	}
	rev := int64(1) << 40
	for b.Loop() {
		ops := make([]clientv3.Op, benchMachines)
		for i := range ops {
			key := wire.KeyString("test", cellstate.LedgerKey(machine(i)))
			ops[i] = clientv3.OpTxn([]clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(key), "<", rev)},
				[]clientv3.Op{clientv3.OpPut(key, values[i])}, []clientv3.Op{clientv3.OpGet(key)})
		}
		if _, err := c.Txn(b.Context()).Then(ops...).Commit(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*benchMachines)/b.Elapsed().Seconds(), "machines/s")
}
