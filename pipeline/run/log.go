package run

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/Ruihan11/tiny-infra/pipeline/event"
)

// halfLog bounds each half of a stored log, in bytes: what a worker said first and what it said last matter most.
const halfLog = 4 << 20

// storedLog is the JSON lines of a stage's events, the middle left out where they are too many.
type storedLog struct {
	half    int
	head    bytes.Buffer
	full    bool // head takes no more
	tail    [][]byte
	size    int // bytes of tail
	dropped int // lines
	bytes   int64
}

func newStoredLog(half int) *storedLog { return &storedLog{half: half} }

func (l *storedLog) add(e event.Event) {
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
	l.tail = append(l.tail, line)
	l.size += len(line)
	for l.size > l.half && len(l.tail) > 1 {
		l.dropped++
		l.bytes += int64(len(l.tail[0]))
		l.size -= len(l.tail[0])
		l.tail[0] = nil
		l.tail = l.tail[1:]
	}
}

func (l *storedLog) encode() []byte {
	out := bytes.NewBuffer(bytes.Clone(l.head.Bytes()))
	if l.dropped > 0 {
		note, _ := json.Marshal(event.Event{
			Type: event.Log, Stream: "tinfra", Level: "warning",
			Message: fmt.Sprintf("%d lines (%d bytes) were left out here", l.dropped, l.bytes),
		})
		out.Write(append(note, '\n'))
	}
	for _, line := range l.tail {
		out.Write(line)
	}
	return out.Bytes()
}
