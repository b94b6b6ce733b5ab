// Package jobfile reads and writes jobs as people write them: YAML, one form for every framework.
//
// [Parse] is strict. Whatever the form does not know, and every value of a wrong type or range, is one error of one line that
// begins with file and line and wraps [cellstate.ErrInvalid]. Defaults are filled in, so a parsed job says all that it
// means, but for what its framework chooses: when to restart, and whether to pack or spread.
//
// The form is plain YAML without anchors, aliases, merge keys and tags: they let a small file stand for a huge one. Every file
// has a bounded size, depth and number of keys.
//
// It never touches a file or the cell; callers bring the bytes, and set what submission decides: run, version, time.
package jobfile
