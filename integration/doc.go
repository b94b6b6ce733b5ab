// Package integration holds the tests of whole cells: real etcd, real processes, faults; and the floors test, which keeps the
// picture in ARCHITECTURE.md and the imports of the code the same.
package integration
