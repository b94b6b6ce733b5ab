// Package member runs an etcd member inside the process: what celld is, and what whole-cell tests and replays use.
//
// It is etcd, unchanged, with limits that suit a cell: transactions of 4,096 operations and requests of 16 MiB, a quota of 8 GiB,
// history kept for an hour. Its client port serves every etcd client.
//
// [Start] returns when the member serves, or with one line that says why it cannot: a port in use, a data directory that
// another process has, a bad URL.
package member
