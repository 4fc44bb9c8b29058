package env

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sync/errgroup"
)

// A pack ends in a skippable frame of zstd, which every decoder passes over: `cat` and `zstd` read the parts too. It holds the
// list of parts and then its own length, so that it is found from the end.
const (
	skippableMagic = 0x184D2A5E
	frameHead      = 8       // magic and length, bytes
	maxTrailer     = 1 << 20 // bytes of a list that is read
	maxParts       = 1000    // more have no name of three digits
	leastPart      = 64 << 10
)

// partSum is a part of a pack without the trailer. They make the pack one after the other.
type partSum struct {
	Name   string `json:"name"` // that it was made under; it may be called otherwise now
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// partWriter cuts what is written to it into files of a size at most.
type partWriter struct {
	name  string // of the whole
	most  int64  // bytes of a part; 0: it is not cut
	file  *os.File
	size  int64 // of what the file holds
	sum   hash.Hash
	parts []partSum
	paths []string
}

func (w *partWriter) open() error {
	name := w.name
	if w.most > 0 {
		if len(w.paths) == maxParts {
			return fmt.Errorf("it has more than %d parts; make them larger", maxParts)
		}
		name = fmt.Sprintf("%s.%03d", w.name, len(w.paths))
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	w.file, w.size, w.sum = f, 0, sha256.New()
	w.paths = append(w.paths, name)
	return nil
}

// end closes the part at hand.
func (w *partWriter) end(rest []byte) error {
	if w.file == nil {
		return nil
	}
	_, err := w.file.Write(rest)
	err = errors.Join(err, w.file.Close())
	w.file = nil
	return err
}

// count notes the part at hand in the list.
func (w *partWriter) count() {
	w.parts = append(w.parts, partSum{filepath.Base(w.paths[len(w.paths)-1]), w.size, hex.EncodeToString(w.sum.Sum(nil))})
}

func (w *partWriter) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		if w.file != nil && w.most > 0 && w.size == w.most {
			w.count()
			if err := w.end(nil); err != nil {
				return n, err
			}
		}
		if w.file == nil {
			if err := w.open(); err != nil {
				return n, err
			}
		}
		now := p
		if w.most > 0 {
			now = p[:min(int64(len(p)), w.most-w.size)]
		}
		k, err := w.file.Write(now)
		w.sum.Write(now[:k])
		w.size += int64(k)
		n += k
		if err != nil {
			return n, err
		}
		p = p[k:]
	}
	return n, nil
}

// Close writes the trailer, into a part of its own where the last one has no room for it.
func (w *partWriter) Close() error {
	w.count()
	frame, err := trailer(w.parts)
	if err != nil {
		return err
	}
	if w.most > 0 && w.size+int64(len(frame)) > w.most {
		if err := errors.Join(w.end(nil), w.open()); err != nil {
			return err
		}
		w.count()
		if frame, err = trailer(w.parts); err != nil {
			return err
		}
	}
	return w.end(frame)
}

// discard removes what was written of a pack that was not finished.
func (w *partWriter) discard() {
	_ = w.end(nil)
	for _, name := range w.paths {
		_ = os.Remove(name)
	}
}

func trailer(parts []partSum) ([]byte, error) {
	text, err := json.Marshal(parts)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	length := uint32(len(text) + 4)
	for _, n := range []uint32{skippableMagic, length} {
		b.Write(binary.LittleEndian.AppendUint32(nil, n))
	}
	b.Write(text)
	b.Write(binary.LittleEndian.AppendUint32(nil, length))
	return b.Bytes(), nil
}

// readTrailer gives the list that a file ends with, and how long the file is without it; no list where it ends otherwise.
func readTrailer(f io.ReaderAt, size int64) ([]partSum, int64) {
	end := make([]byte, 4)
	if _, err := f.ReadAt(end, size-4); size < frameHead+4 || err != nil {
		return nil, size
	}
	length := int64(binary.LittleEndian.Uint32(end))
	rest := size - frameHead - length
	if length < 4 || length > maxTrailer || rest < 0 {
		return nil, size
	}
	frame := make([]byte, frameHead+length)
	if _, err := f.ReadAt(frame, rest); err != nil {
		return nil, size
	}
	var parts []partSum
	if binary.LittleEndian.Uint32(frame) != skippableMagic || int64(binary.LittleEndian.Uint32(frame[4:])) != length ||
		json.Unmarshal(frame[frameHead:len(frame)-4], &parts) != nil || len(parts) == 0 || len(parts) > maxParts {
		return nil, size
	}
	return parts, rest
}

// wholePack is the parts of a pack in their order.
type wholePack struct {
	io.Reader
	files []*os.File
}

func (w *wholePack) Close() {
	for _, f := range w.files {
		_ = f.Close()
	}
}

// portion is a file that should be a part, or what would be one of a file that the parts were joined to.
type portion struct {
	name string
	*io.SectionReader
	sum string // sha256 in hex
}

// joined cuts a file that is as long as all parts together; it gives none where it is of another length.
func joined(name string, f *os.File, size int64, list []partSum) []*portion {
	var all []*portion
	var at int64
	for _, p := range list {
		if p.Size < 0 || p.Size > size-at {
			return nil
		}
		all = append(all, &portion{name: name, SectionReader: io.NewSectionReader(f, at, p.Size)})
		at += p.Size
	}
	if at != size {
		return nil
	}
	return all
}

// openParts puts the parts of a pack into their order, whatever they are called, after each was found to be whole.
func openParts(ctx context.Context, names []string) (*wholePack, error) {
	w := &wholePack{}
	if err := w.open(ctx, names); err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

func (w *wholePack) open(ctx context.Context, names []string) error {
	var list []partSum
	var all []*portion
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		w.files = append(w.files, f)
		info, err := f.Stat()
		if err != nil {
			return err
		}
		found, size := readTrailer(f, info.Size())
		if found != nil {
			list = found
		}
		all = append(all, &portion{name: name, SectionReader: io.NewSectionReader(f, 0, size)})
	}
	if list == nil {
		return errors.New("the last part is missing or was cut short: none of these files ends as a pack does")
	}
	if len(all) == 1 {
		if cut := joined(names[0], w.files[0], all[0].Size(), list); cut != nil {
			all = cut
		}
	}
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, p := range all {
		g.Go(func() error {
			h := sha256.New()
			_, err := io.Copy(h, during{ctx, io.NewSectionReader(p, 0, p.Size())})
			p.sum = hex.EncodeToString(h.Sum(nil))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return w.order(list, all)
}

// order finds each part by what is in it.
func (w *wholePack) order(list []partSum, all []*portion) error {
	taken := make([]bool, len(all))
	var readers []io.Reader
	var missing []error
	for _, p := range list {
		at := -1
		for i, one := range all {
			if !taken[i] && one.Size() == p.Size && one.sum == p.SHA256 {
				at = i
				break
			}
		}
		if at < 0 {
			missing = append(missing, fmt.Errorf("part %s is not there, or was damaged on its way", p.Name))
			continue
		}
		taken[at] = true
		readers = append(readers, all[at])
	}
	for i, one := range all {
		if !taken[i] {
			missing = append(missing, fmt.Errorf("%s is no part of this pack, or is damaged", one.name))
		}
	}
	w.Reader = io.MultiReader(readers...)
	return errors.Join(missing...)
}
