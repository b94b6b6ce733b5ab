// Cellsim plays recorded workloads against omegacell's real planners, commit rule and stores.
package main

import "os"

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }
