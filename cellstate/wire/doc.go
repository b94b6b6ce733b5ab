// Package wire is the stored form of a cell: how keys are spelt and values are encoded in etcd and in any other store that
// keeps bytes. The messages are those of cellstate/cellpb.
//
// It promises that what [Marshal] writes [Unmarshal] reads back as an equal value, that equal values become equal bytes, and
// that neither lets a value through that cellstate says cannot be: what is wrong is an error that names the key and the
// field and wraps [cellstate.ErrInvalid]. Fields of newer writers are passed over.
//
// It never reads a clock or a store, and never panics on bytes or keys from outside.
package wire
