// Package audit verifies a cell's invariants from outside: it reads etcd itself, with the plain client and the stored form
// alone, and looks at every revision that is still retained. It shares with those it audits only the fit rule and the
// vocabulary of cellstate.
//
// [Checker] is fed revisions and keeps what it finds; it does no I/O. [Run] feeds it from etcd.
//
// It finds breaches of I1, I2, I4, I5, I7 and I10 as far as cell state can show them, and of I3 where one claim stands in two
// places, which is told as I4. It names every value that cannot be read and every claim without a job, and says what it read.
// It never writes, and repairs nothing.
package audit
