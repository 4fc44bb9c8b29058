package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// ErrInputChanged: a worker wrote to its inputs.
var ErrInputChanged = errors.New("an input was changed")

// Laid is a Manifest's files as a stage's inputs.
type Laid struct {
	s    *Store
	dir  string
	want *artifacts.Manifest
}

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
	return s.Found(m, dir), nil
}

// Found is what an earlier process laid out in dir.
func (s *Store) Found(m *artifacts.Manifest, dir string) *Laid { return &Laid{s, dir, m} }

// Check tells by inode, size and times that the inputs are as they were laid out. Where a file shares its bytes with a
// blob and does not look so, the blob is hashed, and removed if it is damaged.
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
	for _, f := range l.want.Files {
		delete(there, f.Path)
		why, err := l.checkFile(f)
		if why != "" {
			wrong = append(wrong, f.Path+" "+why)
		}
		problems = append(problems, err)
	}
	for p := range there {
		wrong = append(wrong, p+" was added")
	}
	if len(wrong) > 0 {
		slices.Sort(wrong)
		const most = 5
		if len(wrong) > most {
			wrong = append(wrong[:most], fmt.Sprintf("and %d more", len(wrong)-most))
		}
		problems = append(problems, fmt.Errorf("%w: %s", ErrInputChanged, strings.Join(wrong, "; ")))
	}
	return errors.Join(problems...)
}

func (l *Laid) checkFile(f artifacts.File) (why string, err error) {
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
	}
	// A worker can also write through the link and then replace it, so the blob is looked at for itself.
	if blobErr == nil && (why != "" || !blob.ModTime().Equal(sealed)) {
		err := l.s.reseal(context.Background(), f.Digest)
		if errors.Is(err, artifacts.ErrDamaged) && why == "" {
			why = "was written to"
		} else if err != nil && !errors.Is(err, artifacts.ErrDamaged) && !errors.Is(err, artifacts.ErrMissing) {
			return why, err
		}
	}
	return why, nil
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
