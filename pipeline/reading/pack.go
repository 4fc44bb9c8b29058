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

// Unpacker reads what a Packer wrote. After the first value that is not there, Err is set and all values are zero.
type Unpacker struct {
	Bytes []byte
	Err   error
}

// Number reads one.
func (u *Unpacker) Number() int64 {
	n, size := binary.Varint(u.Bytes)
	if size <= 0 {
		u.fail()
		return 0
	}
	u.Bytes = u.Bytes[size:]
	return n
}

func (u *Unpacker) fail() { u.Bytes, u.Err = nil, errCut }

// Count reads how many values follow, of least bytes each: a broken one makes no large slice.
func (u *Unpacker) Count(least int) int {
	n := u.Number()
	if n < 0 || n > int64(len(u.Bytes)/least) {
		u.fail()
		return 0
	}
	return int(n)
}

// Text reads one.
func (u *Unpacker) Text() string {
	n := u.Count(1)
	s := string(u.Bytes[:n])
	u.Bytes = u.Bytes[n:]
	return s
}

// Digest reads one.
func (u *Unpacker) Digest() (d artifacts.Digest) {
	if len(u.Bytes) < len(d) {
		u.fail()
		return d
	}
	copy(d[:], u.Bytes)
	u.Bytes = u.Bytes[len(d):]
	return d
}

// Truth reads one.
func (u *Unpacker) Truth() bool { return u.Number() != 0 }

// Pack writes r.
func (r *Readings) Pack(p *Packer) {
	p.Number(int64(len(r.Files)))
	for i := range r.Files {
		r.Files[i].pack(p)
	}
	p.Number(int64(len(r.Folders)))
	for i := range r.Folders {
		(*File)(&r.Folders[i]).pack(p)
	}
	p.Number(int64(len(r.Kinds)))
	for _, k := range r.Kinds {
		p.Text(k.Path)
		p.Text(k.Kind)
	}
	p.Number(int64(len(r.Variables)))
	for _, v := range r.Variables {
		p.Text(v.Name)
		p.Truth(v.Set)
		p.Digest(v.Value)
	}
}

func (f *File) pack(p *Packer) {
	p.Text(f.Path)
	f.Look.pack(p)
	p.Digest(f.Digest)
	p.Truth(f.Young)
}

func unpackFile(u *Unpacker) File { return File{u.Text(), unpackLook(u), u.Digest(), u.Truth()} }

func (l *look) pack(p *Packer) {
	p.Number(l.Size)
	p.Number(int64(l.Device))
	p.Number(int64(l.Inode))
	p.Number(l.Modified)
	p.Number(l.Changed)
	p.Number(int64(l.Mode))
}

func unpackLook(u *Unpacker) look {
	return look{u.Number(), uint64(u.Number()), uint64(u.Number()), u.Number(), u.Number(), uint32(u.Number())}
}

// leastReading is the room in bytes that no reading goes below.
const leastReading = 2

// UnpackReadings reads what Pack wrote.
func UnpackReadings(u *Unpacker) Readings {
	r := Readings{Files: make([]File, u.Count(leastReading))}
	for i := range r.Files {
		r.Files[i] = unpackFile(u)
	}
	r.Folders = make([]Folder, u.Count(leastReading))
	for i := range r.Folders {
		r.Folders[i] = Folder(unpackFile(u))
	}
	r.Kinds = make([]Kind, u.Count(leastReading))
	for i := range r.Kinds {
		r.Kinds[i] = Kind{u.Text(), u.Text()}
	}
	r.Variables = make([]Variable, u.Count(leastReading))
	for i := range r.Variables {
		r.Variables[i] = Variable{u.Text(), u.Truth(), u.Digest()}
	}
	return r
}
