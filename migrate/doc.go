// Package migrate is where live migration will stand: the move of a claim as a pure step machine, and the port to the service
// that carries moves out. It holds no code yet. What there is of a move is the transaction: [cellstate.Move], which takes a
// claim from one machine to another, both or neither.
//
// [cellstate.Move]: https://pkg.go.dev/github.com/omegacell/omegacell/cellstate#Move
package migrate
