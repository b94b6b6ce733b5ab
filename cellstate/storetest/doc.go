// Package storetest is what every [cellstate.Store] must show. A store's own tests call [Run] with a way to make cells:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) storetest.Cell { … })
//	}
//
// The tests know nothing of how a store works: they write, list, watch and commit through the port, from several clients of
// one cell at once, and compare with what the rules of cellstate say.
//
// What it never does: sleep, or judge how long something took.
package storetest
