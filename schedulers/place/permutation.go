package place

import "math/rand/v2"

// permutation walks 0 … n−1 once, from a random place by a random stride that n has no factor in common with.
type permutation struct{ n, at, stride, left int }

func newPermutation(n int, rng *rand.Rand) permutation {
	if n <= 0 {
		return permutation{}
	}
	stride := 1 + rng.IntN(n)
	for !scatters(stride, n) {
		stride = 1 + rng.IntN(n)
	}
	return permutation{n: n, at: rng.IntN(n), stride: stride, left: n}
}

func (p *permutation) next() (int, bool) {
	if p.left == 0 {
		return 0, false
	}
	p.left--
	i := p.at
	if p.at += p.stride; p.at >= p.n { // both were at most n: no division needed
		p.at -= p.n
	}
	return i, true
}

// scatters reports whether walking by the stride reaches all of n, and no two steps of a short walk lie close to each other:
// the machines of a rack are neighbours. They would where the stride is close to a simple fraction of n, which is where its
// continued fraction has a large quotient early (Knuth, The Art of Computer Programming, volume 2, 3.3.3 and 3.3.4).
func scatters(stride, n int) bool {
	const large, late = 16, 64
	for n != 0 {
		if stride >= late && stride/n > large {
			return false
		}
		stride, n = n, stride%n
	}
	return stride == 1
}
