package sim

import "github.com/omegacell/omegacell/cellstate"

// endings are the ends to come of tasks that were placed together, so that they end together.
type endings struct {
	list []ending
	idle []int32 // free places in list
}

type ending struct {
	owner  int32               // the scheduler whose tasks they are, or -1
	demand cellstate.Resources // of each task
	tasks  []task
}

// task is where one runs.
type task struct {
	machine int32
	gpus    []cellstate.GPUShare
}

// begin returns an ending to fill in, and its number. It is valid until the next call.
func (e *endings) begin(owner int, demand cellstate.Resources) (int32, *ending) {
	var id int32
	if n := len(e.idle); n > 0 {
		id, e.idle = e.idle[n-1], e.idle[:n-1]
	} else {
		id = int32(len(e.list))
		e.list = append(e.list, ending{})
	}
	e.list[id].owner, e.list[id].demand = int32(owner), demand
	return id, &e.list[id]
}

func (e *endings) of(id int32) *ending { return &e.list[id] }

// release forgets an ending that has happened.
func (e *endings) release(id int32) {
	x := &e.list[id]
	clear(x.tasks)
	x.tasks = x.tasks[:0]
	e.idle = append(e.idle, id)
}
