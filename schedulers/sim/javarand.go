package sim

// javaRand is the generator of java.util.Random, as its documentation defines it (Java SE API, java.util.Random): a linear
// congruence of 48 bits. Google's simulator draws machines from it.
type javaRand struct{ state uint64 }

const (
	javaMultiplier = 0x5DEECE66D
	javaMask       = 1<<48 - 1
)

func newJavaRand(seed uint64) javaRand { return javaRand{(seed ^ javaMultiplier) & javaMask} }

// next31 returns 31 bits.
func (r *javaRand) next31() int32 {
	r.state = (r.state*javaMultiplier + 0xB) & javaMask
	return int32(r.state >> 17)
}

// intN returns a number from 0 to n−1; n is at least 1.
func (r *javaRand) intN(n int32) int32 {
	u := r.next31()
	if n&(n-1) == 0 {
		return int32(int64(n) * int64(u) >> 31)
	}
	for {
		v := u % n
		if u-v+(n-1) >= 0 { // else u is of the last, incomplete stretch of n: the sum overflowed
			return v
		}
		u = r.next31()
	}
}
