// Package schedmain makes a scheduler binary of a planner: flags, configuration, connection, mirror, loop, metrics, signals.
//
//	func main() { schedmain.Main("mine", planner{}) }
//
// It is not part of package schedulers because reading configuration and dialling etcd belong to binaries alone.
package schedmain
