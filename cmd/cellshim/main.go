package main

import (
	"os"

	"github.com/omegacell/omegacell/agent/exec/shim"
)

func main() { os.Exit(shim.Run(os.Args[1:])) }
