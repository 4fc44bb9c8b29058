package pieces

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/tensor"
)

// read cuts all files.
func (t *tree) read(ctx context.Context, files []Source) error {
	defer close(t.work)
	defer close(t.ordered)
	said, err := graphs(files)
	if err != nil {
		return err
	}
	sizes := make(map[artifacts.Digest]int64, len(files))
	for _, s := range files {
		if size, ok := sizes[s.Blob.Digest]; ok && size == s.Blob.Size {
			continue
		}
		sizes[s.Blob.Digest] = s.Blob.Size
		f, err := t.file(ctx, s, said[s.Name])
		if err != nil {
			return s.wrong(err)
		}
		t.files = append(t.files, f)
	}
	if err := t.endJoined(ctx); err != nil {
		return err
	}
	t.all = true
	return nil
}

// wrong says which file could not be read, and that one which ends early is not what it should be. nil is joined files, that were read.
func (s *Source) wrong(err error) error {
	if s == nil {
		return err
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("it is %w: it is shorter than %d bytes", artifacts.ErrDamaged, s.Blob.Size)
	}
	return fmt.Errorf("%s: %w", s.Name, err)
}

func (t *tree) file(ctx context.Context, s Source, said []tensor.Tensor) (layout, error) {
	f := layout{blob: s.Blob}
	if s.Blob.Size == 0 && s.Blob.Digest == emptyDigest {
		return f, nil
	}
	src, err := s.Open()
	if err != nil {
		return f, err
	}
	defer src.Close()
	if s.Blob.Size < smallFile {
		err = t.smallFile(ctx, &f, src)
	} else {
		err = t.largeFile(ctx, &f, &s, src, cut(src, s.Blob.Size, s.Name, said))
	}
	return f, err
}

// smallFile joins a file with those before it. The piece ends at a size, or where a file's digest says, so that one file more or less moves
// few borders.
func (t *tree) smallFile(ctx context.Context, f *layout, src File) error {
	size := int(f.blob.Size)
	if t.joined != nil && len(t.joined.raw)+size > joinedLimit {
		if err := t.endJoined(ctx); err != nil {
			return err
		}
	}
	if t.joined == nil {
		t.joined = &job{raw: take(joinedLimit)[:0], width: 1, done: make(chan struct{})}
	}
	j := t.joined
	at := len(j.raw)
	b := j.raw[at : at+size]
	if _, err := io.ReadFull(io.NewSectionReader(src, 0, f.blob.Size), b); err != nil {
		return err
	}
	if got := artifacts.Sum(b); got != f.blob.Digest {
		return wrongBytes(f.blob, got)
	}
	j.raw = j.raw[:at+size]
	f.parts = []part{{&j.digest, uint32(at), uint32(size)}}
	if f.blob.Digest[sha256.Size-1] < borderBytes {
		return t.endJoined(ctx)
	}
	return nil
}

func (t *tree) endJoined(ctx context.Context) error {
	j := t.joined
	t.joined = nil
	if j == nil {
		return nil
	}
	j.size = len(j.raw)
	return t.send(ctx, j)
}

// largeFile cuts one. What was not read to cut it workers read themselves, unless the whole is hashed; the file stays open until they have.
func (t *tree) largeFile(ctx context.Context, f *layout, s *Source, src File, chunks iter.Seq2[chunk, error]) error {
	var reading sync.WaitGroup
	defer reading.Wait()
	sum := sha256.New()
	var at int64
	for c, err := range chunks {
		if err != nil {
			return err
		}
		f.whole = c.Len == s.Blob.Size // then the hash of the piece is that of the file
		j := &job{size: int(c.Len), width: c.Width, from: s, src: src, off: c.Off, done: make(chan struct{})}
		if s.Sound && c.bytes == nil {
			j.reading = &reading
			reading.Add(1)
		} else if err := j.read(c.bytes); err != nil {
			return err
		}
		if !s.Sound && !f.whole {
			sum.Write(j.raw)
		}
		f.parts = append(f.parts, part{&j.digest, 0, uint32(c.Len)})
		at += c.Len
		if err := t.send(ctx, j); err != nil {
			return err
		}
	}
	if at != s.Blob.Size {
		return io.ErrUnexpectedEOF
	}
	if got := artifacts.Digest(sum.Sum(nil)); !s.Sound && !f.whole && got != s.Blob.Digest {
		return wrongBytes(s.Blob, got)
	}
	return nil
}

// read takes the bytes, which have come already unless they are nil.
func (j *job) read(b []byte) error {
	j.raw = take(j.size)
	if b != nil {
		copy(j.raw, b)
		return nil
	}
	_, err := io.ReadFull(io.NewSectionReader(j.src, j.off, int64(j.size)), j.raw)
	return err
}

func (t *tree) send(ctx context.Context, j *job) error {
	for _, to := range []chan *job{t.ordered, t.work} {
		select {
		case to <- j:
		case <-ctx.Done():
			if j.reading != nil {
				j.reading.Done()
			}
			return context.Cause(ctx)
		}
	}
	return nil
}
