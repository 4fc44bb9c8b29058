package protocol

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// MaxLine is the most bytes that a line of events.jsonl may have, without its line end.
const MaxLine = 1 << 20

// The types of an Event.
const (
	Progress = "progress"
	Log      = "log"
	Metric   = "metric"
	Problem  = "problem"
)

// DecodeEvent reads and checks one line of events.jsonl; an error names the field. Unknown fields are ignored.
func DecodeEvent(line []byte) (Event, error) {
	if len(line) > MaxLine {
		return Event{}, fmt.Errorf("longer than %d bytes", MaxLine)
	}
	o, err := parse(line)
	if err != nil {
		return Event{}, err
	}
	e := Event{Type: o.text("type"), Time: o.number("time")}
	if *o.fault != nil {
		return Event{}, *o.fault
	}
	switch e.Type {
	case Progress:
		e.Done, e.Unit, e.What = o.notNegative("done"), o.optionalText("unit"), o.optionalText("what")
		if o.has("total") {
			e.Total = o.notNegative("total")
		}
		if e.Total > 0 && e.Done > e.Total {
			o.fail("done", "%v is more than the total of %v", e.Done, e.Total)
		}
	case Log:
		e.Message, e.Level = o.text("message"), o.optionalText("level")
		if e.Level == "" {
			e.Level = "info"
		}
		if e.Level != "info" && e.Level != "warning" {
			o.fail("level", "%q is neither info nor warning", cut(e.Level))
		}
	case Metric:
		e.Name, e.Value = o.text("name"), o.number("value")
		if !metricName().MatchString(e.Name) {
			o.fail("name", "%q: a metric's name is made of letters, digits and _", cut(e.Name))
		}
	case Problem:
		e.Message, e.Hint = o.text("message"), o.optionalText("hint")
		e.Param, e.Input = o.optionalText("param"), o.optionalText("input")
	default:
		o.fail("type", "%q is none of progress, log, metric, problem", cut(e.Type))
	}
	if err := o.done(); err != nil {
		return Event{}, err
	}
	return e, nil
}

// MarshalJSON writes the zeros that a reader needs: a progress at 0, a metric of 0.
func (e Event) MarshalJSON() ([]byte, error) {
	type plain Event
	text, err := json.Marshal(plain(e))
	if err != nil {
		return nil, err
	}
	needed := ""
	if e.Type == Progress && e.Done == 0 {
		needed = `"done":0,`
	}
	if e.Type == Metric && e.Value == 0 {
		needed = `"value":0,`
	}
	return bytes.Replace(text, []byte("{"), []byte("{"+needed), 1), nil
}
