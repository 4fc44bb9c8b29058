package artifacts

import (
	"encoding/json"
	"time"
)

// Blob names stored bytes.
type Blob struct {
	MediaType string `json:"mediaType,omitempty"`
	Digest    Digest `json:"digest"`
	Size      int64  `json:"size"`
}

// File is one file of a Manifest. Path is relative, slash-separated, NFC, and passes CheckPath.
type File struct {
	Path string
	Exec bool
	Blob
}

// Manifest is one output of one stage, or a tree that enters one (worker sources, local files). It holds no times:
// equal content has an equal digest. Encode gives the OCI 1.1 image manifest of docs/format.md.
type Manifest struct {
	Type   string // port type: "model/hf", "files", …
	Files  []File // sorted bytewise by path
	Labels map[string]string
}

// ActionFormat is raised whenever the meaning of an Action's fields changes; it is part of every key.
const ActionFormat = 1

// Action is everything that decides an output. It is stored; the digest of its JCS encoding is the Key.
type Action struct {
	Format  int               `json:"format"`
	Kind    string            `json:"kind"`
	Command []string          `json:"command,omitempty"` // argv that stage.hcl declares in place of worker.py
	Params  json.RawMessage   `json:"params"`            // object, defaults filled in, nulls omitted, sets sorted, strings NFC
	Inputs  map[string]Digest `json:"inputs,omitempty"`  // port, or port[key], → manifest
	Outputs map[string]string `json:"outputs"`           // port → type, as declared
	Worker  Digest            `json:"worker"`            // manifest of the worker's sources; of {program, sha256} for exec
	Env     Digest            `json:"env,omitzero"`      // blob that describes the environment; zero for none
	Facts   map[string]string `json:"facts,omitempty"`   // what of the machine decides the bytes
	Salt    string            `json:"salt,omitempty"`    // the author's own reason to run again
}

// Record is one successful run of an Action. Immutable; lineage is a set of these.
type Record struct {
	Key      Key                `json:"key"`
	Outputs  map[string]Digest  `json:"outputs"` // port → manifest
	Metrics  map[string]float64 `json:"metrics,omitempty"`
	Observed map[string]string  `json:"observed,omitempty"` // never in a key: peak_memory_bytes, cpu_seconds, network, resumed, …
	Log      Digest             `json:"log,omitzero"`
	Builder  string             `json:"builder"` // tinfra's version
	Started  time.Time          `json:"started"`
	Ended    time.Time          `json:"ended"`
}

// State says what became of a step of a build.
type State string

const (
	Hit     State = "hit"
	Ran     State = "ran"
	Failed  State = "failed"
	Blocked State = "blocked"
)

// Step is one stage of one build.
type Step struct {
	Address string `json:"address"`
	Kind    string `json:"kind"`
	Key     Key    `json:"key,omitzero"`
	Record  Digest `json:"record,omitzero"`
	State   State  `json:"state"`
	Reason  string `json:"reason,omitempty"`
	Log     Digest `json:"log,omitzero"` // of the last attempt, failed ones too
}

// Build is one `tinfra build`, failed ones too: what the person asked for and what became of it.
type Build struct {
	ID         string            `json:"id"` // time-ordered, unique
	Recipe     Digest            `json:"recipe"`
	RecipePath string            `json:"recipePath"`
	Modules    map[string]Digest `json:"modules,omitempty"`   // files that the recipe calls, by path from its folder
	Variables  map[string]string `json:"variables,omitempty"` // JSON of each value; secrets never
	Targets    []string          `json:"targets,omitempty"`
	Lock       Digest            `json:"lock,omitzero"`
	Commit     string            `json:"commit,omitempty"`
	Host       string            `json:"host"`
	Started    time.Time         `json:"started"`
	Ended      time.Time         `json:"ended"`
	Exit       int               `json:"exit"`
	Problem    string            `json:"problem,omitempty"`
	Steps      []Step            `json:"steps"`
}
