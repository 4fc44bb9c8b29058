package protocol

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// maxBehind bounds what one Poll reads, in bytes. Of more it reads both ends: what the worker says last, a problem for
// one, matters most, and a worker that floods the file must not hold its reader.
const maxBehind = 32 << 20

// Tail reads the events that a worker appends to a file. It belongs to one goroutine.
type Tail struct {
	name    string
	offset  int64  // of the first byte not read yet
	partial []byte // a line without its end
	start   int64  // offset of partial
	line    int    // how many complete lines were read
	over    bool   // the line being read is too long; its rest is thrown away
	most    int64  // bytes that one Poll reads
}

// LineError is a line that is no event. It never fails a stage.
type LineError struct {
	Line int    // counted from where the Tail began, from 1; lines that were skipped do not count
	Text string // the beginning of it
	Err  error
}

func (e *LineError) Error() string {
	return fmt.Sprintf("%s line %d: %v: %q", EventsFile, e.Line, e.Err, e.Text)
}

func (e *LineError) Unwrap() error { return e.Err }

// NewTail begins at offset, which is 0 or an earlier Tail's Offset. The file need not be there yet.
func NewTail(name string, offset int64) *Tail {
	return &Tail{name: name, offset: offset, start: offset, most: maxBehind}
}

// Offset is where the first line stands that has not been handed out.
func (t *Tail) Offset() int64 { return t.start }

// Poll hands out the lines that are complete since the last call: an event, or a *LineError. Its own error means that
// the file cannot be read. It reads no further than what is there when it starts, and of much only both ends, so a flood
// cannot hold it.
func (t *Tail) Poll(each func(Event, error)) error {
	if !Grown(t.name, t.offset) {
		return nil
	}
	f, err := OpenFile(t.name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("reading the worker's events: %w", err)
	}
	if info.Size() < t.offset {
		*t = Tail{name: t.name, line: t.line, most: t.most}
		each(Event{}, &LineError{Line: t.line + 1, Err: errors.New("the file became shorter; it is read again from its start")})
	}
	if skipped := info.Size() - t.offset - t.most; skipped > 0 {
		if err := t.read(f, t.offset+t.most/2, each); err != nil {
			return err
		}
		each(Event{}, &LineError{Line: t.line + 1, Err: fmt.Errorf("%d bytes were skipped from here on: the worker writes more than can be read", skipped)})
		t.offset += skipped
		t.partial, t.start, t.over = nil, t.offset, true // in the middle of a line
	}
	return t.read(f, info.Size(), each)
}

func (t *Tail) read(f *os.File, to int64, each func(Event, error)) error {
	section := io.NewSectionReader(f, t.offset, to-t.offset)
	chunk := make([]byte, 64<<10)
	for {
		n, err := section.Read(chunk)
		t.offset += int64(n)
		t.feed(chunk[:n], each)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading the worker's events: %w", err)
		}
	}
}

// End polls once more and reports a last line that has no end. Call it when the worker is gone.
func (t *Tail) End(each func(Event, error)) error {
	err := t.Poll(each)
	if len(t.partial) > 0 && !t.over {
		each(Event{}, &LineError{Line: t.line + 1, Text: cut(string(t.partial)), Err: errors.New("the line has no end")})
	}
	t.partial, t.start = nil, t.offset
	return err
}

func (t *Tail) feed(chunk []byte, each func(Event, error)) {
	for {
		head, rest, ended := bytes.Cut(chunk, []byte("\n"))
		if !t.over {
			t.partial = append(t.partial, head...)
		}
		if len(t.partial) > MaxLine && !t.over {
			t.over = true
			each(Event{}, &LineError{Line: t.line + 1, Text: cut(string(t.partial)), Err: fmt.Errorf("longer than %d bytes", MaxLine)})
			t.partial = nil
		}
		if !ended {
			return
		}
		t.line++
		if !t.over {
			t.emit(each)
		}
		t.partial, t.over = t.partial[:0], false
		t.start = t.offset - int64(len(rest))
		chunk = rest
	}
}

func (t *Tail) emit(each func(Event, error)) {
	e, err := DecodeEvent(t.partial)
	if err != nil {
		each(Event{}, &LineError{Line: t.line, Text: cut(string(t.partial)), Err: err})
		return
	}
	each(e, nil)
}
