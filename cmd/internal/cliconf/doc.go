// Package cliconf is where binaries get their configuration and turn errors into exit codes. It is the only importer of viper.
//
// Every setting is a flag. [Sources.Load] gives the flags that the command line leaves out their values from the environment
// and from --config FILE, in this order, and fills a struct with the result. The name of a setting is the same everywhere:
// --dial-timeout, OMEGACELL_DIAL_TIMEOUT, and dial-timeout in the file. Every source is read by the flag's own parser.
//
// [Run] executes a command: one line on standard error for what went wrong, 2 for usage, 1 for the rest, or the code that
// the error brings. [Connection] is how every binary reaches etcd, spelt as etcdctl's flags.
//
// It never prints usage after an error and never exits the process.
package cliconf
