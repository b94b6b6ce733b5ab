package mirror

import "github.com/omegacell/omegacell/cellstate"

// chunkSize is the number of slots that one update copies. Larger chunks make the spine shorter, of which each batch copies
// one pointer a chunk: at 100,000 machines 2 KiB and 3 KiB.
const chunkSize = 256

type chunk [chunkSize]*cellstate.MachineView

// slots is a persistent vector of machines. Copies share chunks, which are never changed once a slots that holds them was
// handed out: change one with [slots.edit].
type slots struct {
	chunks []*chunk
	n      int
}

func (s slots) at(i int) *cellstate.MachineView {
	if i >= s.n {
		panic("mirror: slot out of range")
	}
	return s.chunks[i/chunkSize][i%chunkSize]
}

// edit returns an editor that leaves s as it is.
func (s slots) edit() *slotsEdit { return &slotsEdit{slots: s} }

// slotsEdit makes one new slots out of another, copying each part once, when it is first changed.
type slotsEdit struct {
	slots
	ownSpine bool
	own      []bool // which chunks are this edit's own
}

func (e *slotsEdit) set(i int, v *cellstate.MachineView) {
	c := i / chunkSize
	if !e.ownSpine {
		e.chunks = append(make([]*chunk, 0, len(e.chunks)+1), e.chunks...)
		e.own = make([]bool, len(e.chunks))
		e.ownSpine = true
	}
	if c == len(e.chunks) {
		e.chunks, e.own = append(e.chunks, new(chunk)), append(e.own, true)
	}
	if !e.own[c] {
		mine := *e.chunks[c]
		e.chunks[c], e.own[c] = &mine, true
	}
	e.chunks[c][i%chunkSize] = v
	e.n = max(e.n, i+1)
}
