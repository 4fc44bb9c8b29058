// Package protocol is the contract between tinfra and a worker process, version 1 (PROTOCOL.md). It knows the files of
// a workspace, their JSON and the exit codes. It must not know recipes, keys, or how a worker is started.
package protocol

import "encoding/json"

// Version of the protocol. A worker refuses a request of a version it does not know (exit 11).
const Version = 1

// The files of a workspace. Result is written last, by rename.
const (
	RequestFile = "request.json"
	ResultFile  = "result.json"
	EventsFile  = "events.jsonl"
	StdoutFile  = "stdout"
	StderrFile  = "stderr"
	InDir       = "in"
	OutDir      = "out"
)

// Exit codes of a worker; any other non-zero one is a crash.
const (
	ExitOK        = 0
	ExitBadParam  = 10
	ExitBadInput  = 11
	ExitMachine   = 12
	ExitResources = 13 // out of memory or disk
	ExitTransient = 14 // worth a retry
)

// Request is what a worker is asked for. Paths are relative to the workspace.
type Request struct {
	Protocol   int                        `json:"protocol"`
	Kind       string                     `json:"kind"`
	Params     json.RawMessage            `json:"params"`  // object, defaults filled in
	Inputs     map[string]Input           `json:"inputs"`  // port, or port[key]
	Outputs    map[string]string          `json:"outputs"` // port → type
	Resources  Resources                  `json:"resources"`
	Source     string                     `json:"source,omitempty"`     // of a download
	Resolved   map[string]string          `json:"resolved,omitempty"`   // what the lock knows of the source: commit, archive_sha256, …
	Pins       []Pin                      `json:"pins,omitempty"`       // what the download must bring; absent on the first run
	RecipeDir  string                     `json:"recipe_dir,omitempty"` // only where a file:// source is relative to it; absolute
	Checkpoint string                     `json:"checkpoint,omitempty"` // folder that outlives the attempt
	Settings   map[string]json.RawMessage `json:"settings,omitempty"`   // of tinfra.hcl, never in a key: allowed hosts, mirrors
}

// Input is an artifact laid out under Path, read-only.
type Input struct {
	Path   string            `json:"path"`
	Type   string            `json:"type"`
	Digest string            `json:"digest"`
	Labels map[string]string `json:"labels,omitempty"`
}

// Resources are what the scheduler granted.
type Resources struct {
	CPUs      int      `json:"cpus"`
	MemoryGiB float64  `json:"memory_gib"`
	GPUs      []string `json:"gpus,omitempty"`
}

// Pin is one file that a download must bring.
type Pin struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
}

// Result is what a worker says it made. Labels are put on every output's manifest.
type Result struct {
	Protocol int                `json:"protocol"`
	Metrics  map[string]float64 `json:"metrics,omitempty"`
	Labels   map[string]string  `json:"labels,omitempty"`
	Observed map[string]string  `json:"observed,omitempty"`
	Resolved map[string]string  `json:"resolved,omitempty"` // download: goes to the lock
	Reused   map[string]string  `json:"reused,omitempty"`   // port/path of an output → port/path, or port[key]/path, of an input
}

// Event is one line of events.jsonl.
type Event struct {
	Type    string  `json:"type"`           // progress | log | metric | problem
	Time    float64 `json:"time"`           // seconds since the epoch
	Done    float64 `json:"done,omitempty"` // progress: units really done
	Total   float64 `json:"total,omitempty"`
	Unit    string  `json:"unit,omitempty"`
	What    string  `json:"what,omitempty"`
	Level   string  `json:"level,omitempty"` // log: info | warning
	Message string  `json:"message,omitempty"`
	Name    string  `json:"name,omitempty"` // metric
	Value   float64 `json:"value,omitempty"`
	Param   string  `json:"param,omitempty"` // problem: the param or input port at fault
	Input   string  `json:"input,omitempty"`
	Hint    string  `json:"hint,omitempty"`
}
