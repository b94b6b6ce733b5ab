// Cellshim keeps one task of an agent: see package shim. Agents start it where it lies beside their own binary, and are their
// own shim where it does not. It is not for people.
package main
