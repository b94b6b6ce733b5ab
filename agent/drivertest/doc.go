// Package drivertest is what every [agent.Driver] must show.
package drivertest
