package reading

import (
	"encoding/binary"
	"errors"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// Packer writes values one after the other, for an Unpacker of the same program. A build of 10,000 stages reads what it packed
// before anything else: encoding/gob takes ten times as long for digests.
type Packer struct{ Bytes []byte }

// Number takes a varint's room.
func (p *Packer) Number(n int64) { p.Bytes = binary.AppendVarint(p.Bytes, n) }

// Text is its length and its bytes.
func (p *Packer) Text(s string) {
	p.Number(int64(len(s)))
	p.Bytes = append(p.Bytes, s...)
}

// Digest is its 32 bytes.
func (p *Packer) Digest(d artifacts.Digest) { p.Bytes = append(p.Bytes, d[:]...) }

// Truth is a number.
func (p *Packer) Truth(b bool) {
	n := int64(0)
	if b {
		n = 1
	}
	p.Number(n)
}

var errCut = errors.New("what was packed is not whole")

// Unpacker reads what a Packer wrote. After the first value that is not there, Err is set and all values are zero. Texts are parts
// of what is read, and keep all of it in memory.
type Unpacker struct {
	rest string
	Err  error
}

// NewUnpacker is for all of it.
func NewUnpacker(packed string) *Unpacker { return &Unpacker{rest: packed} }

// Rest is what was not read.
func (u *Unpacker) Rest() string { return u.rest }

// Left is how many bytes were not read.
func (u *Unpacker) Left() int { return len(u.rest) }

// Number reads one.
func (u *Unpacker) Number() int64 {
	var n uint64
	for i := 0; i < len(u.rest) && i < binary.MaxVarintLen64; i++ {
		c := u.rest[i]
		n |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			u.rest = u.rest[i+1:]
			return int64(n>>1) ^ -int64(n&1)
		}
	}
	u.fail()
	return 0
}

func (u *Unpacker) fail() { u.rest, u.Err = "", errCut }

// Count reads how many values follow, of least bytes each: a broken one makes no large slice.
func (u *Unpacker) Count(least int) int {
	n := u.Number()
	if n < 0 || n > int64(len(u.rest)/least) {
		u.fail()
		return 0
	}
	return int(n)
}

// Text reads one.
func (u *Unpacker) Text() string {
	n := u.Count(1)
	s := u.rest[:n]
	u.rest = u.rest[n:]
	return s
}

// Digest reads one.
func (u *Unpacker) Digest() (d artifacts.Digest) {
	if len(u.rest) < len(d) {
		u.fail()
		return d
	}
	copy(d[:], u.rest)
	u.rest = u.rest[len(d):]
	return d
}

// Truth reads one.
func (u *Unpacker) Truth() bool { return u.Number() != 0 }
