// Servicesched is the scheduler for jobs that run until they are stopped.
package main

import (
	"github.com/omegacell/omegacell/cmd/schedmain"
	"github.com/omegacell/omegacell/schedulers/service"
)

func main() { schedmain.Main("service", service.Planner{}) }
