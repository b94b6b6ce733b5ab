// Package workload makes the jobs of a simulation: drawn from exponential distributions ([Exponential]) or from values observed
// in a cell ([ReadEmpirical]), or as they were recorded ([ReadSWF], [ReadOpenb], [ReadList]).
//
// What is drawn is a function of the source of randomness handed in. Jobs come in the order of their submission, those of a
// list in the order of the file. Errors about a file name it and the line, and are [cellstate.ErrInvalid].
//
// What it never does: guess. A record that lacks what a job needs is left out and counted, or refused.
package workload
