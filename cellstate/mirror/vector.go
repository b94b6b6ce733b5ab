package mirror

// fan is how many parts each level of a vector has, and so the number of pointers that one update copies on each but the
// highest, the spine: of that, one for each fan×fan slots. At 100,000 slots those are 256, 256 and 800 bytes.
const fan = 32

type (
	leaf[T any]   [fan]*T
	branch[T any] [fan]*leaf[T]
)

// vector is a persistent sequence of slots, some of them empty. Copies share what they have in common, which is never changed
// once a vector that holds it was handed out: change one with a [vectorEdit].
type vector[T any] struct {
	spine []*branch[T]
	n     int
}

// at returns what is in slot i, nil where it is empty.
func (v *vector[T]) at(i int) *T {
	if i >= v.n {
		panic("mirror: slot out of range")
	}
	return v.spine[i/fan/fan][i/fan%fan][i%fan]
}

// vectorEdit makes one new vector after another. Of each it copies every part once, when it is first changed.
type vectorEdit[T any] struct {
	vector[T]
	ownSpine bool
	// Which parts are this edit's own: of each branch the leaves, by bit, and of each leaf the slots. A branch or leaf of
	// which nothing is own is not own itself. They are kept for the next edit, to be set to 0: the leaves of dirty.
	leaves, slots []uint64
	dirty         []int
}

// begin starts an edit of v, which stays as it is.
func (e *vectorEdit[T]) begin(v vector[T]) {
	for _, l := range e.dirty {
		e.slots[l], e.leaves[l/fan] = 0, 0
	}
	e.vector, e.ownSpine, e.dirty = v, false, e.dirty[:0]
}

// change returns what is in slot i for changing, a new zero value where it is empty. i is at most n, which then grows.
func (e *vectorEdit[T]) change(i int) *T {
	place, mine := e.place(i)
	switch {
	case *place == nil:
		*place = new(T)
	case !mine:
		own := **place
		*place = &own
	}
	return *place
}

// clear empties slot i.
func (e *vectorEdit[T]) clear(i int) {
	place, _ := e.place(i)
	*place = nil
}

// place makes all that leads to slot i the edit's own, and says whether what is in it was before.
func (e *vectorEdit[T]) place(i int) (place **T, mine bool) {
	b, l, bit := i/fan/fan, i/fan, uint64(1)<<(i%fan)
	if !e.ownSpine {
		e.spine = append(make([]*branch[T], 0, len(e.spine)+1), e.spine...)
		e.ownSpine = true
	}
	if b == len(e.spine) {
		e.spine = append(e.spine, new(branch[T]))
	}
	for len(e.leaves) <= b {
		e.leaves = append(e.leaves, 0)
		e.slots = append(e.slots, make([]uint64, fan)...)
	}
	if e.leaves[b] == 0 {
		own := *e.spine[b]
		e.spine[b] = &own
	}
	if e.slots[l] == 0 {
		own := new(leaf[T])
		if was := e.spine[b][l%fan]; was != nil {
			*own = *was
		}
		e.spine[b][l%fan] = own
		e.leaves[b] |= 1 << (l % fan)
		e.dirty = append(e.dirty, l)
	}
	mine = e.slots[l]&bit != 0
	e.slots[l] |= bit
	e.n = max(e.n, i+1)
	return &e.spine[b][l%fan][i%fan], mine
}
