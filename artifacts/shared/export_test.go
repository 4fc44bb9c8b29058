package shared

// DecodeIndex is for the fuzzer.
func DecodeIndex(b []byte) ([][]byte, error) { return decodeIndex(b) }

// EncodeIndex makes an index of any blobs.
func EncodeIndex(blobs [][]byte) []byte {
	b := newBundle()
	b.blobs = blobs
	return b.encode()
}
