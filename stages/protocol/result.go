package protocol

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
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
	o.only("protocol", "metrics", "labels", "observed", "resolved", "reused")
	o.version()
	r := &Result{
		Protocol: Version, Metrics: map[string]float64{}, Labels: o.texts("labels"), Observed: o.texts("observed"),
		Resolved: o.texts("resolved"), Reused: decodeReused(o),
	}
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

func decodeReused(o *object) map[string]string {
	all := o.texts("reused")
	for to, from := range all {
		for _, at := range []string{to, from} {
			if port, _, below := strings.Cut(at, "/"); !below || port == "" || !fs.ValidPath(at) {
				o.fail("reused", "%q is not a port and a path below it", cut(at))
			}
		}
	}
	return all
}

// ReadResult reads the result.json of a workspace. The worker may have put anything there: only a regular file counts.
func ReadResult(workspace string) (*Result, error) {
	text, err := ReadFile(filepath.Join(workspace, ResultFile), MaxResult)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNoResult
	}
	if err != nil {
		return nil, err
	}
	r, err := DecodeResult(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ResultFile, err)
	}
	return r, nil
}
