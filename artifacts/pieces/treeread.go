package pieces

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"

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
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("it is %w: it is shorter than %d bytes", artifacts.ErrDamaged, s.Blob.Size)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
		t.files = append(t.files, f)
	}
	if err := t.endJoined(ctx); err != nil {
		return err
	}
	t.all = true
	return nil
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
		err = t.largeFile(ctx, &f, src, Cut(src, f.blob.Size, s.Name, said))
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
		t.joined = newJob(take(joinedLimit)[:0], 1)
		t.joined.joined = true
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
	return t.send(ctx, j)
}

// largeFile hashes the whole of a file in the same read, but for one that is a single piece, whose hash that is.
func (t *tree) largeFile(ctx context.Context, f *layout, src File, spans iter.Seq2[Span, error]) error {
	sum := sha256.New()
	var at int64
	for s, err := range spans {
		if err != nil {
			return err
		}
		b := take(int(s.Len))
		if _, err := io.ReadFull(io.NewSectionReader(src, s.Off, s.Len), b); err != nil {
			return err
		}
		if f.whole = s.Len == f.blob.Size; !f.whole {
			sum.Write(b)
		}
		j := newJob(b, s.Width)
		f.parts = append(f.parts, part{&j.digest, 0, uint32(s.Len)})
		at += s.Len
		if err := t.send(ctx, j); err != nil {
			return err
		}
	}
	if at != f.blob.Size {
		return io.ErrUnexpectedEOF
	}
	if got := artifacts.Digest(sum.Sum(nil)); !f.whole && got != f.blob.Digest {
		return wrongBytes(f.blob, got)
	}
	return nil
}

func (t *tree) send(ctx context.Context, j *job) error {
	for _, to := range []chan *job{t.ordered, t.work} {
		select {
		case to <- j:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}
