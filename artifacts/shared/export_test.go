package shared

import "time"

// Lately sets for how long files are believed, until what it gives is called.
func Lately(d time.Duration) (restore func()) {
	before := lately
	lately = d
	return func() { lately = before }
}

// DecodeIndex is for the fuzzer.
func DecodeIndex(b []byte) ([][]byte, error) { return decodeIndex(b) }

// EncodeIndex makes an index of any blobs.
func EncodeIndex(blobs [][]byte) []byte {
	b := newBundle()
	b.blobs = blobs
	return b.encode()
}
