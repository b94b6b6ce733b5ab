// Package submit admits jobs to the cell, ends them and keeps the tenants' quotas: what cellctl does on a submitter's or an
// operator's behalf, and what celld dev does for its examples.
//
// What a submission becomes is decided by a function of the records read; the I/O around it reads them, and writes the
// decision in one guarded transaction. A job is never in the cell without being admitted against its tenant's quota, nor
// admitted without being there (I7). A lost race is decided anew on what stands there then, a bounded number of times.
//
// It never waits for a job, and never places one.
package submit
