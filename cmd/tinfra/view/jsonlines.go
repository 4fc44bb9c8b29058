package view

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/Ruihan11/tiny-infra/pipeline/event"
)

// JSON writes every event as one line of JSON.
type JSON struct {
	w   io.Writer
	err error
}

// NewJSON writes to w.
func NewJSON(w io.Writer) *JSON { return &JSON{w: w} }

// Event writes e.
func (j *JSON) Event(e event.Event) {
	b, err := json.Marshal(e)
	if err == nil {
		_, err = j.w.Write(append(b, '\n'))
	}
	if err != nil && j.err == nil {
		j.err = fmt.Errorf("writing the event stream: %w", err)
	}
}

// Err is the first event that could not be written, if any.
func (j *JSON) Err() error { return j.err }
