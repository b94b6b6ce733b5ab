// Package etcdstore is the [cellstate.Store] that cells are really kept in: etcd.
//
// A transaction becomes one etcd Txn: a nested Txn for each of its parts, which puts the part's new ledgers if they are still
// at the revision they were made from, and else brings the ledgers as they are. On those the same rule runs again, and the
// part is sent again if it still commits: a failed guard is storage traffic, not a conflict. A gang is one part.
//
// What several goroutines commit while requests are under way goes into the next etcd Txn together (batch). Parts of different
// transactions on the same machine then become one put (pile): each is decided on what those before it leave, and has its own
// verdict. Where guards have held lately all are conditions of one flat Txn, which costs etcd a quarter less; if that fails,
// the nested one follows. Swaps share etcd Txns in the same way (swaps). Watchers of a range share one etcd watch, and what
// it brings is decoded once (feed); what the store itself put is not decoded at all (known).
//
// It promises what cellstate/storetest asks of every store, and
//   - to send no more than etcd takes: [Config] says how much that is, or the store learns it from refusals;
//   - to settle an unknown outcome by sending the same guarded parts again, for as long as the caller's context lasts;
//   - never to put a ledger twice in one request, and never to refuse one transaction because of another, except for what the
//     other has really claimed;
//   - to keep no watcher waiting for a slower one, and to keep a bounded backlog for that one;
//   - to show a value that cannot be read as a [cellstate.Record] with Err, never to fail on it.
//
// What a Txn points to goes into ledgers that are shared with readers: it is not to be changed after Commit.
//
// The client should be made with a MaxCallSendMsgSize no smaller than MaxRequestBytes; clientv3's own default is 2 MiB. One
// store for all schedulers of a process is better than one for each: they share what is above.
//
// What it never does: judge a claim by a rule of its own, trust what it remembers without a guard, or lock anything in etcd.
package etcdstore
