package etcdstore

// Queued returns how many parts wait to be sent.
func (s *Store) Queued() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queue)
}
