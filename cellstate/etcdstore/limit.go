package etcdstore

// limit is how much etcd takes of something in one request, as far as that is known. etcd does not tell; it only refuses.
// Between the most that it took and the least that it refused the limit is searched by halves.
type limit struct {
	name    string // as etcd's flag spells it
	most    int    // never to be tried more
	taken   int    // the most that etcd took
	refused int    // the least that it refused; 0: nothing yet
}

// fill is how much to put into a request that can be split.
func (l *limit) fill() int {
	if l.refused == 0 {
		return l.most
	}
	if l.refused-l.taken <= max(1, l.refused/8) {
		return max(l.taken, 1)
	}
	return max((l.taken+l.refused)/2, 1)
}

// allows reports whether n is worth trying where it cannot be split.
func (l *limit) allows(n int) bool { return n <= l.most && (l.refused == 0 || n < l.refused) }

// least returns the smallest number that l does not allow.
func (l *limit) least() int {
	if l.refused != 0 {
		return min(l.refused, l.most+1)
	}
	return l.most + 1
}

func (l *limit) took(n int) {
	l.taken = max(l.taken, n)
	if l.refused != 0 && l.taken >= l.refused { // etcd was given a higher limit
		l.refused = 0
	}
}

func (l *limit) refuse(n int) {
	if l.refused == 0 || n < l.refused {
		l.refused = n
	}
	if l.taken >= l.refused { // etcd was given a lower limit
		l.taken = 0
	}
}
