package etcdstore

// Queued returns how many parts wait to be sent.
func (s *Store) Queued() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queue)
}

// Feeds returns how many watchers share each etcd watch of a range, in no order.
func (s *Store) Feeds() []int {
	s.feeds.mu.Lock()
	defer s.feeds.mu.Unlock()
	var out []int
	for _, f := range s.feeds.of {
		f.mu.Lock()
		out = append(out, len(f.readers))
		f.mu.Unlock()
	}
	return out
}

// QueuedSwaps returns how many swaps wait to be sent.
func (s *Store) QueuedSwaps() int {
	s.swaps.mu.Lock()
	defer s.swaps.mu.Unlock()
	return len(s.swaps.queue)
}

// KnownMachines returns of how many machines a store keeps the newest ledger.
func (s *Store) KnownMachines() int {
	s.known.mu.RLock()
	defer s.known.mu.RUnlock()
	return len(s.known.of)
}

// Doubted returns how many machines' ledgers are in doubt.
func (s *Store) Doubted() int {
	s.doubts.mu.RLock()
	defer s.doubts.mu.RUnlock()
	return len(s.doubts.of)
}

// CalmAfter is how many parts a store sends before it reckons that guards hold.
const CalmAfter = calmAfter
