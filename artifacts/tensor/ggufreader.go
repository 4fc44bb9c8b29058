package tensor

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// The types of a value of the metadata that are no plain numbers, and the one that the alignment has.
const (
	ggufUint32 = 4
	ggufBool   = 7
	ggufString = 8
	ggufArray  = 9
)

// ggufNumbers are the bytes that the numeric types take.
var ggufNumbers = map[uint32]int64{0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 10: 8, 11: 8, 12: 8}

const (
	ggufLongestName = 65535 // bytes of a key, by the specification; ggml's tensors have shorter names
	ggufNesting     = 8     // arrays in arrays; nobody writes more than one
	ggufBuffer      = 64 << 10
)

// ggufReader reads the values that a header is made of, front to back. Whatever a length in it says, it takes no memory
// but for names, and reads no byte beyond left.
type ggufReader struct {
	in   *bufio.Reader
	ends binary.ByteOrder
	at   int64 // of the next byte
	left int64 // bytes of the file, or of the longest header
	over bool  // left is that of the longest header
}

func newGGUFReader(r io.ReaderAt, size int64) *ggufReader {
	most := min(max(size, 0), maxHeader)
	in := bufio.NewReaderSize(io.NewSectionReader(r, 0, most), int(min(most, ggufBuffer)))
	return &ggufReader{in: in, ends: binary.LittleEndian, left: most, over: size > maxHeader}
}

// take accounts for n bytes that are about to be read.
func (r *ggufReader) take(n uint64) error {
	switch {
	case n <= uint64(r.left):
		r.left -= int64(n)
		return nil
	case r.over:
		return fmt.Errorf("%d bytes more make the header longer than %d", n, maxHeader)
	}
	return fmt.Errorf("%d bytes more are wanted, %d are left: it is cut short", n, r.left)
}

func (r *ggufReader) bytes(p []byte) error {
	if err := r.take(uint64(len(p))); err != nil {
		return err
	}
	n, err := io.ReadFull(r.in, p)
	r.at += int64(n)
	if err != nil {
		return fmt.Errorf("reading: %w", err)
	}
	return nil
}

func (r *ggufReader) uint32() (uint32, error) {
	var b [4]byte
	err := r.bytes(b[:])
	return r.ends.Uint32(b[:]), err
}

func (r *ggufReader) uint64() (uint64, error) {
	var b [8]byte
	err := r.bytes(b[:])
	return r.ends.Uint64(b[:]), err
}

// count reads how many of something follow, each of which takes least bytes or more.
func (r *ggufReader) count(what string, least uint64) (uint64, error) {
	n, err := r.uint64()
	if err == nil && n > uint64(r.left)/least {
		err = fmt.Errorf("%d %s are announced; the %d bytes left have no room for them", n, what, r.left)
	}
	return n, err
}

// text reads n bytes, of which there may be most.
func (r *ggufReader) text(n uint64, most int) (string, error) {
	if n > uint64(most) {
		return "", fmt.Errorf("it is %d bytes long; %d is the most", n, most)
	}
	b := make([]byte, n)
	err := r.bytes(b)
	return string(b), err
}

// name reads a key or the name of a tensor, and remembers it in seen.
func (r *ggufReader) name(seen map[string]bool) (string, error) {
	n, err := r.uint64()
	if err != nil {
		return "", err
	}
	name, err := r.text(n, ggufLongestName)
	switch {
	case err != nil:
		return "", err
	case name == "":
		return "", errors.New("it is empty")
	case !utf8.ValidString(name):
		return "", fmt.Errorf("%q is not UTF-8", name)
	case seen[name]:
		return "", fmt.Errorf("%q is there twice", name)
	}
	seen[name] = true
	return name, nil
}

func (r *ggufReader) discard(n uint64) error {
	if err := r.take(n); err != nil {
		return err
	}
	for n > 0 {
		done, err := r.in.Discard(int(min(n, 1<<30)))
		r.at += int64(done)
		if err != nil {
			return fmt.Errorf("reading: %w", err)
		}
		n -= uint64(done)
	}
	return nil
}

// skip passes over a value of a type.
func (r *ggufReader) skip(kind uint32, nested int) error {
	if size, ok := ggufNumbers[kind]; ok {
		return r.discard(uint64(size))
	}
	switch kind {
	case ggufBool:
		return r.bool()
	case ggufString:
		n, err := r.uint64()
		if err != nil {
			return err
		}
		return r.discard(n)
	case ggufArray:
		return r.array(nested)
	}
	return fmt.Errorf("type %d of a value is not known", kind)
}

func (r *ggufReader) bool() error {
	var b [1]byte
	if err := r.bytes(b[:]); err != nil {
		return err
	}
	if b[0] > 1 {
		return fmt.Errorf("a bool is %d", b[0])
	}
	return nil
}

func (r *ggufReader) array(nested int) error {
	if nested == ggufNesting {
		return fmt.Errorf("arrays are nested deeper than %d levels", ggufNesting)
	}
	kind, err := r.uint32()
	if err != nil {
		return err
	}
	size, numeric := ggufNumbers[kind]
	least := map[uint32]int64{ggufBool: 1, ggufString: 8, ggufArray: 4 + 8}[kind]
	if least = max(least, size); least == 0 {
		return fmt.Errorf("type %d of the elements is not known", kind)
	}
	n, err := r.count("elements", uint64(least))
	if err != nil {
		return err
	}
	if numeric {
		return r.discard(n * uint64(size))
	}
	for range n {
		if err := r.skip(kind, nested+1); err != nil {
			return err
		}
	}
	return nil
}
