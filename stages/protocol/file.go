package protocol

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// OpenFile opens a file of a workspace, where a worker may have put anything under any name: a pipe would block for
// ever, a link would lead elsewhere.
func OpenFile(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ELOOP) {
		return nil, fmt.Errorf("%s is a link; the worker must write a file", filepath.Base(name))
	}
	if err != nil {
		return nil, fmt.Errorf("opening a file of the workspace: %w", err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a file", filepath.Base(name))
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Grown tells whether there may be more in such a file than was read of it up to this offset. Where nothing was written,
// as is usual, it costs less than opening the file.
func Grown(name string, offset int64) bool {
	info, err := os.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false
	case err != nil:
		return true // OpenFile says it better
	default:
		return !info.Mode().IsRegular() || info.Size() != offset
	}
}

// ReadFile reads such a file whole, where it has no more than this many bytes.
func ReadFile(name string, most int64) ([]byte, error) {
	f, err := OpenFile(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", filepath.Base(name), err)
	}
	if int64(len(text)) > most {
		return nil, fmt.Errorf("%s: longer than %d bytes", filepath.Base(name), most)
	}
	return text, nil
}
