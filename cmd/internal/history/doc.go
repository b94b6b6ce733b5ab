// Package history tells what happened in a cell: it compares the successive values of its keys, revision by revision, and
// makes events of the differences that a person would tell: a job submitted, a claim placed, a task ended and how.
//
// [Story] is a function of the values alone. [Walk] reads the retained history from etcd itself, with the plain client, as
// any outsider would; the auditor reads with it too. What cannot be decoded is an event of its own and stops nothing.
//
// It never writes to the cell, and keeps nothing: everything is told anew from what etcd still retains.
package history
