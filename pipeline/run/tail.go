package run

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/Ruihan11/tiny-infra/stages/protocol"
)

const (
	maxRead   = 1 << 20   // bytes that are read of a stream at once; of more, the beginning and the end
	maxText   = 256 << 10 // bytes of a line; the rest of it is cut off
	leastHole = 4 << 10   // bytes: holes are made of blocks

	slack = 8 << 10 // bytes that are read beyond maxText, so that a secret across the cut is still seen whole
)

// lineTail reads what a process appends to a file, by lines. A process that prints faster than anyone can read does
// not hold it: of a large piece it reads both ends, and says how much it left out.
type lineTail struct {
	path    string
	offset  int64
	partial []byte
	over    bool  // the rest of this line is thrown away
	unread  int64 // bytes that were left out and not told yet: the rest of the line goes with them
}

// piece is a line, or what was left out in between.
type piece struct {
	text   string
	bytes  int64 // of the file, its end with it
	unread bool
}

// poll hands out the lines that are complete. At the end, what is left counts as a line.
func (t *lineTail) poll(end bool, hand func(piece)) error {
	if protocol.Grown(t.path, t.offset) {
		if err := t.more(hand); err != nil {
			return err
		}
	}
	if end && len(t.partial) > 0 {
		t.emit(0, hand)
	}
	if end {
		t.tellUnread(hand)
	}
	return nil
}

func (t *lineTail) more(hand func(piece)) error {
	f, err := protocol.OpenFile(t.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading what a worker printed: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("reading what a worker printed: %w", err)
	}
	size := info.Size()
	if size < t.offset { // truncated by the worker
		*t = lineTail{path: t.path}
	}
	if more := size - t.offset; more > maxRead {
		if err := t.read(f, t.offset+maxRead/2, hand); err != nil {
			return err
		}
		t.unread += more - maxRead + int64(len(t.partial))
		t.partial = t.partial[:0]               // half a line may be half a secret
		t.offset, t.over = size-maxRead/2, true // in the middle of a line
	}
	return t.read(f, size, hand)
}

func (t *lineTail) read(f *os.File, to int64, hand func(piece)) error {
	b := make([]byte, to-t.offset)
	n, err := f.ReadAt(b, t.offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading what a worker printed: %w", err)
	}
	t.offset += int64(n)
	for b = b[:n]; len(b) > 0; {
		part, rest, ended := bytes.Cut(b, []byte("\n"))
		end := len(b) - len(part) - len(rest) // bytes of the line's end
		if !t.over {
			t.partial = append(t.partial, part...)
			if more := len(t.partial) - (maxText + slack); more > 0 {
				t.partial, t.over = t.partial[:maxText+slack], true
				if t.emit(0, hand); t.unread > 0 {
					t.unread += int64(more + end)
				}
			}
		} else if t.unread > 0 {
			t.unread += int64(len(part) + end)
		}
		if ended {
			t.tellUnread(hand)
			if !t.over {
				t.emit(1, hand)
			}
			t.over = false
		}
		b = rest
	}
	return nil
}

func (t *lineTail) tellUnread(hand func(piece)) {
	if t.unread > 0 {
		hand(piece{bytes: t.unread, unread: true})
		t.unread = 0
	}
}

// emit hands out a line, with so many bytes at its end. It keeps of one that was written over with carriage returns what a
// terminal would show last.
func (t *lineTail) emit(end int, hand func(piece)) {
	behind := bytes.TrimLeft(t.partial, "\x00")
	whole := bytes.TrimRight(behind, "\x00")
	before, after := len(t.partial)-len(behind), len(behind)-len(whole)
	text := strings.TrimRight(string(whole), "\r")
	size := int64(len(t.partial) + end)
	t.partial = t.partial[:0]
	// A hole is where its supervisor made one while this build did not read: it was stopped, say.
	if text == "" && before > 0 {
		t.unread += size
		return
	}
	if before >= leastHole {
		t.unread += int64(before)
		size -= int64(before)
		t.tellUnread(hand)
	}
	if after >= leastHole {
		size -= int64(after)
	}
	if i := strings.LastIndexByte(text, '\r'); i >= 0 {
		text = text[i+1:]
	}
	hand(piece{text: text, bytes: size})
	if after >= leastHole {
		t.unread += int64(after)
	}
}
