// Package event is the one stream on which a build says everything. It knows the events and their fan-out to
// listeners. It must not know who listens, nor anything of plans and caches.
package event

import "time"

// Type of an event.
type Type string

const (
	Planned  Type = "planned"  // a stage: State is hit, run or pending; again where a hit must run after all
	Queued   Type = "queued"   // ready, waiting for resources or for another build's lease (Message says which)
	Started  Type = "started"  // an attempt began
	Progress Type = "progress" // Done of Total Units
	Log      Type = "log"      // a line of the worker
	Metric   Type = "metric"   // Name, Value
	Problem  Type = "problem"  // something a person should read
	Stored   Type = "stored"   // outputs published; Digests by port
	Shared   Type = "shared"   // without Stage: Done of Total bytes of results are where other machines find them
	Finished Type = "finished" // a stage ended: State is hit, ran, failed or blocked; without Stage: the build ended
)

// Interrupted is the Reason of a stage that failed only since a person ended the build.
const Interrupted = "interrupted"

// Event is one line of `--json`.
type Event struct {
	Time     time.Time          `json:"time"`
	Type     Type               `json:"type"`
	Build    string             `json:"build,omitempty"`
	Stage    string             `json:"stage,omitempty"` // address
	Kind     string             `json:"kind,omitempty"`
	State    string             `json:"state,omitempty"`
	Reason   string             `json:"reason,omitempty"`
	Key      string             `json:"key,omitempty"`
	Attempt  int                `json:"attempt,omitempty"`
	Done     float64            `json:"done,omitempty"`
	Total    float64            `json:"total,omitempty"`
	Unit     string             `json:"unit,omitempty"`
	What     string             `json:"what,omitempty"`
	Stream   string             `json:"stream,omitempty"` // stdout, stderr or worker
	Level    string             `json:"level,omitempty"`
	Message  string             `json:"message,omitempty"`
	Name     string             `json:"name,omitempty"`
	Value    float64            `json:"value,omitempty"`
	Outputs  map[string]string  `json:"outputs,omitempty"`
	Metrics  map[string]float64 `json:"metrics,omitempty"`
	Observed map[string]string  `json:"observed,omitempty"`
	Labels   map[string]string  `json:"labels,omitempty"`
	Bytes    int64              `json:"bytes,omitempty"`
	Seconds  float64            `json:"seconds,omitempty"`
	Exit     int                `json:"exit,omitempty"`
}

// Listener takes events one at a time, in order, on its own goroutine.
type Listener interface {
	Event(Event)
}
