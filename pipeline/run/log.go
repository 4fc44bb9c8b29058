package run

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/Ruihan11/tiny-infra/pipeline/event"
)

// halfLog bounds each half of a stored log, in bytes: what a worker said first and what it said last matter most.
const halfLog = 4 << 20

// storedLog is the JSON lines of a stage's events. Where they are too many, or what a worker printed was not all read, the
// middle is left out: one place, which says how much of all that was printed is not here.
type storedLog struct {
	half   int
	head   bytes.Buffer
	full   bool // head takes no more
	tail   []kept
	size   int   // bytes of tail's lines
	bytes  int64 // of what a worker printed, left out
	events int   // others, left out
}

// kept is one line of the tail; of what a worker printed, with its stream and how many bytes it was.
type kept struct {
	line    []byte
	stream  string
	printed int64
}

func newStoredLog(half int) *storedLog { return &storedLog{half: half} }

// add keeps an event. printed is how many bytes of what a worker printed it stands for; 0: it was not printed.
func (l *storedLog) add(e event.Event, printed int64) {
	line, err := json.Marshal(e)
	if err != nil { // a NaN that a worker reported
		e.Value, e.Message = 0, err.Error()
		if line, err = json.Marshal(e); err != nil {
			return
		}
	}
	line = append(line, '\n')
	if !l.full && l.head.Len()+len(line) <= l.half {
		l.head.Write(line)
		return
	}
	l.full = true
	l.tail = append(l.tail, kept{line, e.Stream, printed})
	l.size += len(line)
	for l.size > l.half && len(l.tail) > 1 {
		l.drop(l.tail[0])
		l.tail[0] = kept{}
		l.tail = l.tail[1:]
	}
}

// leave notes that so much of a stream was not read. What it said last before that belongs to neither end.
func (l *storedLog) leave(stream string, unread int64) {
	l.full = true
	l.bytes += unread
	l.tail = slices.DeleteFunc(l.tail, func(k kept) bool {
		if k.printed == 0 || k.stream != stream {
			return false
		}
		l.drop(k)
		return true
	})
}

func (l *storedLog) drop(k kept) {
	l.size -= len(k.line)
	l.bytes += k.printed
	if k.printed == 0 {
		l.events++
	}
}

func (l *storedLog) encode() []byte {
	out := bytes.NewBuffer(bytes.Clone(l.head.Bytes()))
	if l.bytes > 0 || l.events > 0 {
		text := fmt.Sprintf("%d events were left out here", l.events)
		switch {
		case l.events == 0:
			text = unread(l.bytes)
		case l.bytes > 0:
			text = fmt.Sprintf("%s and %s", unread(l.bytes), text)
		}
		note, _ := json.Marshal(event.Event{Type: event.Log, Stream: "tinfra", Level: "warning", Message: text})
		out.Write(append(note, '\n'))
	}
	for _, k := range l.tail {
		out.Write(k.line)
	}
	return out.Bytes()
}

func unread(n int64) string {
	return fmt.Sprintf("… %d bytes of what the worker printed were left out here …", n)
}
