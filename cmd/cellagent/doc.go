// Cellagent speaks for this host in a cell: it registers the machine, runs the tasks that have claims on it, and reports.
//
// It starts also while the cell is out of reach, and adopts the tasks of its predecessor. With --emulated N it stands for
// N machines that run nothing.
package main
