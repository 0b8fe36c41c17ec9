package corpus

// filter tells of hashes that they are not in a page. It is a split block Bloom filter: a hash
// chooses a block of 32 bytes and one bit in each of its eight words, so that a question looks
// at one line of the processor's cache. With filterBits for each entry, about one of a thousand
// questions for what is not there is answered by maybe.
type filter [][8]uint32

const filterBits = 16

// odd numbers that spread the bits, as those of Apache Parquet's filter.
var filterSalts = [8]uint32{0x47b6137b, 0x44974d91, 0x8824ad5b, 0xa2b7289d, 0x705495c7, 0x2df1424b, 0x9efc4947, 0x5c6bfb31}

func newFilter(list []entry) filter {
	f := make(filter, (len(list)*filterBits+255)/256)
	for i := range list {
		b, x := f.block(list[i].hash)
		for w := range b {
			b[w] |= 1 << (x * filterSalts[w] >> 27)
		}
	}
	return f
}

// block returns the block of a hash, and what its bits are chosen by. The bits of a hash are
// random, but those at its top are the same in all of a page.
func (f filter) block(hash uint64) (*[8]uint32, uint32) {
	x := hash * 0x9e3779b97f4a7c15
	x = (x ^ x>>29) * 0xbf58476d1ce4e5b9
	return &f[x>>32*uint64(len(f))>>32], uint32(x)
}

func (f filter) mayHold(hash uint64) bool {
	if len(f) == 0 {
		return false
	}
	b, x := f.block(hash)
	for w := range b {
		if b[w]&(1<<(x*filterSalts[w]>>27)) == 0 {
			return false
		}
	}
	return true
}
