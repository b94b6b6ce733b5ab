package history

import (
	"slices"

	"github.com/omegacell/omegacell/cellstate"
)

// Cell is a cell's values as far as a walk has come.
type Cell struct {
	values map[cellstate.Key]cellstate.Value
}

// NewCell returns one that knows of nothing yet.
func NewCell() *Cell { return &Cell{values: make(map[cellstate.Key]cellstate.Value)} }

// Apply takes in the next revision and tells what it did. The base of a walk tells nothing: how it came about is not known.
func (c *Cell) Apply(r Revision) []Event {
	var changes []cellstate.Change
	var corrupt []Event
	for _, e := range r.Entries {
		if e.Err != nil { // says nothing about what became of the value before: the next one is compared with that
			corrupt = append(corrupt, Event{Rev: r.Rev, What: Corrupt, Text: e.Raw + ": " + e.Err.Error()})
			continue
		}
		changes = append(changes, cellstate.Change{Key: e.Key, Old: c.values[e.Key], New: e.Value})
		if e.Deleted {
			delete(c.values, e.Key)
		} else {
			c.values[e.Key] = e.Value
		}
	}
	if r.Base {
		return corrupt
	}
	return slices.Concat(Story(r.Rev, changes), corrupt)
}
