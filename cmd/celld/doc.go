// Celld runs one etcd member, alone or as one of several, with the limits that a cell needs. Its client port serves plain
// etcd: etcdctl works against it.
//
// It exits with 0 when a signal ended it, with 2 for a bad flag, variable or configuration file, and with 1 for anything else.
package main
