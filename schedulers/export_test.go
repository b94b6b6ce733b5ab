package schedulers

// InFlight counts the claims that the loop takes for being in flight.
func (l *Loop) InFlight() int { return l.flights.size() }
