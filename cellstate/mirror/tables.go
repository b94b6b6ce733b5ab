package mirror

import (
	"fmt"
	"slices"

	"github.com/hashicorp/go-memdb"

	"github.com/omegacell/omegacell/cellstate"
)

// Each table is named after a kind and holds rows, but for that of jobs, which holds each with its status and places. What
// describes a machine lies in none.
const (
	tableJob    = "job" // *jobEntry
	indexID     = "id"
	indexPrefix = "id_prefix"
)

// row is one good record.
type row struct {
	key   cellstate.Key
	rev   int64
	value cellstate.Value
}

func (r *row) index() []byte {
	if r.key.Scope == "" {
		return joined(r.key.Name)
	}
	return joined(r.key.Scope, r.key.Name)
}

// joined ends each part with a zero byte, which no name contains, so that the order is that of the parts one by one and no
// part is taken for the beginning of a longer one.
func joined(parts ...string) []byte {
	n := len(parts)
	for _, p := range parts {
		n += len(p)
	}
	b := make([]byte, 0, n)
	for _, p := range parts {
		b = append(append(b, p...), 0)
	}
	return b
}

// byParts is the one index there is: by the names of a record, in order, or by the first of them.
type byParts struct{}

func (byParts) FromObject(o any) (bool, []byte, error) {
	k, ok := o.(interface{ index() []byte })
	if !ok {
		return false, nil, fmt.Errorf("%T has no index", o)
	}
	return true, k.index(), nil
}

func (byParts) FromArgs(args ...any) ([]byte, error) {
	parts := make([]string, len(args))
	for i, a := range args {
		s, ok := a.(string)
		if !ok {
			return nil, fmt.Errorf("index by %T", a)
		}
		parts[i] = s
	}
	return joined(parts...), nil
}

func (x byParts) PrefixFromArgs(args ...any) ([]byte, error) { return x.FromArgs(args...) }

// rowKinds lists the kinds that have a table of rows.
func rowKinds() []cellstate.Kind {
	return slices.DeleteFunc(cellstate.Kinds(), func(k cellstate.Kind) bool { return ofHost(k) || ofJob(k) })
}

func newTables() (*memdb.MemDB, error) {
	schema := &memdb.DBSchema{Tables: make(map[string]*memdb.TableSchema)}
	add := func(name string) {
		schema.Tables[name] = &memdb.TableSchema{
			Name:    name,
			Indexes: map[string]*memdb.IndexSchema{indexID: {Name: indexID, Unique: true, Indexer: byParts{}}},
		}
	}
	add(tableJob)
	for _, k := range rowKinds() {
		add(k.String())
	}
	db, err := memdb.NewMemDB(schema)
	if err != nil {
		return nil, err
	}
	// A snapshot is a database of its own that keeps no watch channels up to date: nobody waits on them here.
	return db.Snapshot(), nil
}

// must is for calls of memdb that fail only where the schema or a row is not what this file says.
func must(err error) {
	if err != nil {
		panic(fmt.Sprintf("mirror: memdb: %v", err))
	}
}

// first returns the row with these names, or nil.
func first[T any](t *memdb.Txn, table string, names ...any) *T {
	o, err := t.First(table, indexID, names...)
	must(err)
	if o == nil {
		return nil
	}
	return o.(*T)
}

// all returns the rows whose first names these are, in order.
func all[T any](t *memdb.Txn, table string, names ...any) func(yield func(*T) bool) {
	return func(yield func(*T) bool) {
		it, err := t.Get(table, indexPrefix, names...)
		must(err)
		for o := it.Next(); o != nil; o = it.Next() {
			if !yield(o.(*T)) {
				return
			}
		}
	}
}

func rowOf(t *memdb.Txn, k cellstate.Key) *row {
	if k.Scope == "" {
		return first[row](t, k.Kind.String(), k.Name)
	}
	return first[row](t, k.Kind.String(), k.Scope, k.Name)
}
