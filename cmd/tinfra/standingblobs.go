package main

import (
	"encoding/binary"
	"iter"
	"strings"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// blobList is many blobs, each once, in the order in which they come: that is the order in which they were made, so the kernel finds them
// together. They are read where they lie packed, by several at once, and never listed: there may be hundreds of thousands.
type blobList struct {
	read   string // "" while they are gathered
	made   strings.Builder
	count  int // of those that were gathered
	placed map[artifacts.Digest]int
}

const (
	blobRoom = len(artifacts.Digest{}) + 8 // bytes that one takes
	blobPart = 1 << 9                      // blobs that are looked at by one, as long as there are more
)

// place gives the number of a blob, which is added if need be.
func (l *blobList) place(b artifacts.Blob) int {
	i, ok := l.placed[b.Digest]
	if !ok {
		if l.placed == nil {
			l.placed = map[artifacts.Digest]int{}
		}
		i = l.count
		l.count++
		l.placed[b.Digest] = i
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(b.Size))
		l.made.Write(b.Digest[:])
		l.made.Write(size[:])
	}
	return i
}

// again places a blob of another list. That it may be placed a second time, by itself, costs a look at it and nothing else.
func (l *blobList) again(of *blobList, n int) int {
	l.made.WriteString(of.packed()[n*blobRoom:][:blobRoom])
	l.count++
	return l.count - 1
}

func (l *blobList) packed() string {
	if l.read != "" {
		return l.read
	}
	return l.made.String()
}

func (l *blobList) len() int { return len(l.packed()) / blobRoom }

func (l *blobList) at(i int) (b artifacts.Blob) {
	text := l.packed()[i*blobRoom:][:blobRoom]
	n := copy(b.Digest[:], text)
	for _, c := range []byte(text[n:]) {
		b.Size = b.Size<<8 | int64(c)
	}
	return b
}

func (l *blobList) parts() int { return (l.len() + blobPart - 1) / blobPart }

func (l *blobList) part(n int) iter.Seq[artifacts.Blob] {
	return func(yield func(artifacts.Blob) bool) {
		for i := n * blobPart; i < min((n+1)*blobPart, l.len()); i++ {
			if !yield(l.at(i)) {
				return
			}
		}
	}
}
