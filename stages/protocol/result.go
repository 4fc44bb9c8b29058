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

// MaxResult is the most bytes that a result.json may have.
const MaxResult = 1 << 20

// ErrNoResult: the worker ended without a result.json.
var ErrNoResult = errors.New("the worker wrote no " + ResultFile)

// DecodeResult reads and checks a result.json; an error names the field. Unknown fields are refused: a worker that
// writes `metric` for `metrics` would lose its numbers.
func DecodeResult(text []byte) (*Result, error) {
	if len(text) > MaxResult {
		return nil, fmt.Errorf("longer than %d bytes", MaxResult)
	}
	o, err := parse(text)
	if err != nil {
		return nil, err
	}
	o.only("protocol", "metrics", "labels", "observed", "resolved")
	o.version()
	r := &Result{Protocol: Version, Metrics: map[string]float64{}, Labels: o.texts("labels"), Observed: o.texts("observed"), Resolved: o.texts("resolved")}
	if o.has("metrics") {
		sub := o.object("metrics")
		for _, name := range sub.names() {
			r.Metrics[name] = sub.metric(name)
		}
	}
	if err := o.done(); err != nil {
		return nil, err
	}
	return r, nil
}

// ReadResult reads the result.json of a workspace. The worker may have put anything there: only a regular file counts.
func ReadResult(workspace string) (*Result, error) {
	f, err := openRegular(filepath.Join(workspace, ResultFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNoResult
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, MaxResult+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", ResultFile, err)
	}
	r, err := DecodeResult(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ResultFile, err)
	}
	return r, nil
}

// openRegular opens a file that a worker wrote; a pipe would block for ever, a link would lead elsewhere.
func openRegular(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ELOOP) {
		return nil, fmt.Errorf("%s is a link; the worker must write a file", filepath.Base(name))
	}
	if err != nil {
		return nil, fmt.Errorf("opening what the worker wrote: %w", err)
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
