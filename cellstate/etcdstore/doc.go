// Package etcdstore is the [cellstate.Store] that cells are really kept in: etcd.
//
// A transaction becomes one etcd Txn: a nested Txn for each of its parts, which puts the part's new ledgers if they are still
// at the revision they were made from, and else brings the ledgers as they are. On those the same rule runs again, and the
// part is sent again if it still commits: a failed guard is storage traffic, not a conflict. A gang is one part. What several
// goroutines commit while requests are under way goes into the next etcd Txn together.
//
// It promises what cellstate/storetest asks of every store, and
//   - to send no more than etcd takes: [Config] says how much that is, or the store learns it from refusals;
//   - to settle an unknown outcome by sending the same guarded parts again, for as long as the caller's context lasts;
//   - never to put a ledger twice in one request, and never to wait for one transaction because of another, except for those
//     that touch the same machine at the same moment;
//   - to show a value that cannot be read as a [cellstate.Record] with Err, never to fail on it.
//
// The client should be made with a MaxCallSendMsgSize no smaller than MaxRequestBytes; clientv3's own default is 2 MiB.
//
// What it never does: judge a claim by a rule of its own, cache what it read, or lock anything in etcd.
package etcdstore
