package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// ErrInputChanged: a worker wrote to its inputs.
var ErrInputChanged = errors.New("an input was changed")

// inputChanged says what is wrong. It is shared where the bytes are those of a blob, which another stage may read too.
type inputChanged struct {
	list   string
	shared bool
}

func (c inputChanged) Error() string { return ErrInputChanged.Error() + ": " + c.list }

func (c inputChanged) Is(target error) bool {
	return target == ErrInputChanged || c.shared && target == artifacts.ErrShared
}

// Laid is a Manifest's files as a stage's inputs.
type Laid struct {
	s       *Store
	dir     string
	want    *artifacts.Manifest
	changed map[string]change // each file as it was laid; of Found, nothing is known
}

// change is which inode a file is, and when that last changed: by the kernel's clock, which moves every few milliseconds.
type change struct {
	inode
	at int64
}

func changeOf(fi fs.FileInfo) change { return change{inodeOf(fi), changeTime(fi)} }

// Lay puts the manifest's files into dir, which it creates: by reflink, else as read-only hard links of the blobs;
// executables are copies. All of it is read-only, and Check tells whether it stayed so.
func (s *Store) Lay(ctx context.Context, m *artifacts.Manifest, dir string) (*Laid, error) {
	w := writer{s: s, input: true}
	if err := w.write(ctx, m, dir); err != nil {
		return nil, fmt.Errorf("laying out %s: %w", filepath.Base(dir), s.explain(err))
	}
	if err := closeFolders(dir); err != nil {
		return nil, fmt.Errorf("laying out %s: %w", filepath.Base(dir), err)
	}
	l := s.Found(m, dir)
	for _, f := range m.Files {
		fi, err := os.Lstat(filepath.Join(dir, filepath.FromSlash(f.Path)))
		if err != nil {
			return nil, fmt.Errorf("laying out %s: %w", filepath.Base(dir), err)
		}
		l.changed[f.Path] = changeOf(fi)
	}
	return l, nil
}

// Found is what an earlier process laid out in dir.
func (s *Store) Found(m *artifacts.Manifest, dir string) *Laid {
	return &Laid{s, dir, m, make(map[string]change)}
}

// Check tells by size and times that the inputs are as they were laid out. A time of modification can be set back to what
// it was; that of change cannot, but it also moves where another stage links or unlinks the same blob: then the file is
// hashed. Where one shares its bytes with a blob and is not as it was, so is the blob, and it is removed if it is damaged.
func (l *Laid) Check() error {
	var wrong []string
	there := make(map[string]bool)
	err := filepath.WalkDir(l.dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(l.dir, p)
		there[filepath.ToSlash(rel)] = true
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("checking the inputs: %w", err)
	}
	var problems []error
	shared := true
	for i, c := range l.checkFiles() {
		f := l.want.Files[i]
		delete(there, f.Path)
		if c.why != "" {
			wrong = append(wrong, f.Path+" "+c.why)
			shared = shared && c.shared
		}
		problems = append(problems, c.err)
	}
	for p := range there {
		wrong, shared = append(wrong, p+" was added"), false
	}
	if len(wrong) > 0 {
		slices.Sort(wrong)
		const most = 5
		if len(wrong) > most {
			wrong = append(wrong[:most], fmt.Sprintf("and %d more", len(wrong)-most))
		}
		problems = append(problems, inputChanged{strings.Join(wrong, "; "), shared})
	}
	return errors.Join(problems...)
}

// checked is what checkFile says of a file.
type checked struct {
	why    string
	shared bool
	err    error
}

// checkFiles goes side by side: a stage that ended or began meanwhile has moved the times of all blobs that it shares with this one, and
// those may be the shards of a model.
func (l *Laid) checkFiles() []checked {
	all := make([]checked, len(l.want.Files))
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, f := range l.want.Files {
		g.Go(func() error {
			c := &all[i]
			c.why, c.shared, c.err = l.checkFile(f)
			return nil
		})
	}
	_ = g.Wait() // what went wrong is kept with its file
	return all
}

// checkFile says what is wrong with one file, and whether its blob went the same way: that is removed then, if not before,
// by whoever looked at it first.
func (l *Laid) checkFile(f artifacts.File) (why string, shared bool, err error) {
	blob, blobErr := os.Lstat(filepath.Join(l.s.dir, blobName(f.Digest)))
	fi, err := os.Lstat(filepath.Join(l.dir, filepath.FromSlash(f.Path)))
	switch {
	case err != nil:
		why = "was removed"
	case !fi.Mode().IsRegular():
		why = "was replaced"
	case fi.Size() != f.Size:
		why = fmt.Sprintf("has %d bytes instead of %d", fi.Size(), f.Size)
	case !fi.ModTime().Equal(sealed):
		why = "was written to"
	case !l.untouched(f, fi):
		if why, err = l.rehash(f); err != nil {
			return "", false, err
		}
	}
	shared = errors.Is(blobErr, fs.ErrNotExist) && fi != nil && fi.Mode().IsRegular()
	// A worker can also write through the link and then replace it, so the blob is looked at for itself.
	if blobErr == nil && (why != "" || !blob.ModTime().Equal(sealed)) {
		err := l.s.reseal(context.Background(), f.Digest)
		shared = errors.Is(err, artifacts.ErrDamaged)
		if shared && why == "" {
			why = "was written to"
		} else if err != nil && !shared && !errors.Is(err, artifacts.ErrMissing) {
			return why, false, err
		}
	}
	return why, shared, nil
}

// untouched says that a file is as it was laid, but for links that this process has made of it and taken away.
func (l *Laid) untouched(f artifacts.File, fi fs.FileInfo) bool {
	then, now := l.changed[f.Path], changeOf(fi)
	return now == then || l.s.moves.joined(then, now)
}

// rehash looks at the bytes of a file whose times tell too little.
func (l *Laid) rehash(f artifacts.File) (why string, err error) {
	in, err := os.OpenFile(filepath.Join(l.dir, filepath.FromSlash(f.Path)), os.O_RDONLY|noFollow, 0)
	if errors.Is(err, fs.ErrPermission) {
		return "can no longer be read", nil
	}
	if err != nil {
		return "", fmt.Errorf("checking the inputs: %w", err)
	}
	defer in.Close()
	got, _, err := artifacts.SumReader(in)
	if err != nil {
		return "", fmt.Errorf("checking the inputs: %s: %w", f.Path, err)
	}
	if got != f.Digest {
		return "was written to", nil
	}
	return "", nil
}

// closeFolders makes dir and the folders below it read-only.
func closeFolders(dir string) error {
	return filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = os.Chmod(p, 0o555)
		}
		return err
	})
}
