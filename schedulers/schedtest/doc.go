// Package schedtest is what every planner must show before it is let near a cell.
//
// [Run] plays seeded histories against a planner in one goroutine: jobs come, grow, shrink and are stopped; machines fill up,
// are cordoned and drained, lose their agent and get it back; tasks succeed, fail and are evicted. After every event it
// checks what must always hold, and at the end, when the cell is quiet and roomy, that no job was forgotten.
//
// [Script] plays histories that are written down, for what a planner has to do in one particular case.
package schedtest
