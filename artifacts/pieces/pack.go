package pieces

import (
	"bytes"
	"io"
	"sync"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// PieceIn is a piece within a pack; sizes are bytes.
type PieceIn struct {
	Digest              artifacts.Digest // of its raw bytes
	Offset, Stored, Raw uint32
	Codec               Codec
}

// Pack is pieces, one behind the other, and nothing else. Its digest is that of its bytes.
type Pack struct {
	Digest artifacts.Digest
	Size   int // bytes
	Pieces []PieceIn

	bytes   []byte
	release func()
	file    func() (File, error) // what it is a part of, in place of bytes
	off     int64
}

// Loc is where the i-th piece lies.
func (p *Pack) Loc(i int) Loc {
	in := &p.Pieces[i]
	return Loc{p.Digest, uint32(p.Size), in.Offset, in.Stored, in.Raw, in.Codec}
}

// Open gives the bytes. Of a pack that is a part of a file they are read while they are asked for: that they are still those of the digest
// is for who takes them to see.
func (p *Pack) Open() (io.ReadSeekCloser, error) {
	if p.file == nil {
		return inMemory{bytes.NewReader(p.bytes)}, nil
	}
	f, err := p.file()
	if err != nil {
		return nil, err
	}
	return inFile{io.NewSectionReader(f, p.off, int64(p.Size)), f}, nil
}

type inMemory struct{ *bytes.Reader }

func (inMemory) Close() error { return nil }

type inFile struct {
	*io.SectionReader
	io.Closer
}

// Release gives the bytes back to the packer, which fills them anew: nobody may look at them afterwards, in a copy of the pack neither. Who
// does not call it leaves them to the garbage collector.
func (p *Pack) Release() {
	if p.release != nil {
		p.release()
	}
	p.bytes = nil
}

func newPack(d artifacts.Digest, b []byte, pieces []PieceIn) Pack {
	return Pack{Digest: d, Size: len(b), Pieces: pieces, bytes: b, release: sync.OnceFunc(func() { give(b) })}
}

// alonePack is a pack of one piece that is stored as it is: one digest names both, and bytes are hashed once less. They stay in their file
// until they are sent.
func alonePack(j *job) Pack {
	n := uint32(j.size)
	return Pack{Digest: j.digest, Size: j.size, Pieces: []PieceIn{{j.digest, 0, n, n, Raw}}, file: j.from.Open, off: j.off}
}

// openPack is one that is being filled.
type openPack struct {
	bytes  []byte // nil while there are no pieces
	pieces []PieceIn
}

// fits tells whether n bytes more are within the target.
func (o *openPack) fits(n int) bool { return len(o.bytes)+n <= PackTarget }

func (o *openPack) add(in PieceIn, stored []byte) {
	if need := len(o.bytes) + len(stored); need > cap(o.bytes) {
		grown := take(max(need, min(2*cap(o.bytes), PackTarget)))[:len(o.bytes)]
		copy(grown, o.bytes)
		give(o.bytes)
		o.bytes = grown
	}
	in.Offset, in.Stored = uint32(len(o.bytes)), uint32(len(stored))
	o.bytes = append(o.bytes, stored...)
	o.pieces = append(o.pieces, in)
}

// join adds what another open pack has, which is empty then.
func (o *openPack) join(other *openPack) {
	for _, in := range other.pieces {
		o.add(in, other.bytes[in.Offset:in.Offset+in.Stored])
	}
	give(other.bytes)
	*other = openPack{}
}

// close gives the pack; there must be a piece in it.
func (o *openPack) close() Pack {
	b, all := o.bytes, o.pieces
	*o = openPack{}
	if len(all) == 1 && all[0].Codec == Raw {
		return newPack(all[0].Digest, b, all)
	}
	return newPack(artifacts.Sum(b), b, all)
}
