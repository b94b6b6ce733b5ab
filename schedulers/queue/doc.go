// Package queue orders the jobs that wait for a decision. It is pure: no goroutine, no clock; who pops says what time it is.
//
// [FIFO] serves the highest precedence first and within one the job that waited longest. It holds each job once.
package queue
