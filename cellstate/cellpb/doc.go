// Package cellpb is the stored form of a cell, generated from cell.proto: a public contract for programs in any language,
// which grows by new fields only.
//
// It promises nothing about what is in a message. Inside omegacell only cellstate/wire, which checks it, touches these types;
// everything else uses package cellstate.
package cellpb
