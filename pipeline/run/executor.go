// Package run carries out a Plan: it schedules stages over resources, starts workers through an Executor, checks what
// they made and publishes it. It owns the Executor interface. It must not know recipe syntax, terminals or stores' layouts.
package run

import (
	"context"
	"errors"
	"time"
)

// Files of a workspace that belong to the executor and the builder, beside those of the worker protocol.
const (
	HandleFile     = "handle.json" // Handle; there before the worker starts
	ExitFile       = "exit.json"   // Exit, by rename, after the last process of the worker's tree is gone
	SupervisorFile = "supervisor.log"
)

// ErrLost: a job is gone and left no Exit. It may be tried again.
var ErrLost = errors.New("the process that watched the worker is gone and left no word of how it ended")

// Executor starts workers somewhere. Start stores the Handle as HandleFile, by when a worker may run: unseen by a later build
// none must. Wait also takes a Handle that an earlier process stored; it returns the context's
// cause when that ends first (but the Exit of a job that has ended, so one can ask with an ended context), and ErrLost
// when nobody can say any more. Cancel asks the worker to end, and a second Cancel of the same job ends it at once; Wait
// then says how.
type Executor interface {
	Facts(ctx context.Context) (map[string]string, error)
	Start(ctx context.Context, job Job) (Handle, error)
	Wait(ctx context.Context, h Handle) (Exit, error)
	Cancel(ctx context.Context, h Handle, cause error) error
}

// Job is one attempt of one stage, laid out in a workspace (protocol.RequestFile is written, in/ is filled).
type Job struct {
	Workspace string   // absolute
	Argv      []string // argv[0] absolute
	Env       []string // complete: nothing is inherited
	Network   bool
	Grace     time.Duration // between SIGTERM and SIGKILL
}

// Handle finds a running job again, also from another process.
type Handle struct {
	Workspace string `json:"workspace"`
	PID       int    `json:"pid,omitempty"`
	StartTime string `json:"start_time,omitempty"` // of PID, against reuse
	Boot      string `json:"boot,omitempty"`       // of the machine since when PID counts; "" of who does not know
	JobID     string `json:"job_id,omitempty"`
}

// Exit is how a job ended.
type Exit struct {
	Code       int     `json:"code"`
	Signal     string  `json:"signal,omitempty"`
	MaxRSS     int64   `json:"max_rss"` // bytes; the largest single process of the tree, as the kernel counts it (not their sum)
	CPUSeconds float64 `json:"cpu_seconds"`
	Isolation  string  `json:"isolation"` // what held: "network namespace", "none"
	OOMKilled  bool    `json:"oom_killed,omitempty"`
	Asked      bool    `json:"asked,omitempty"`   // it was told to end: a 0 then does not mean that all is made
	Durable    bool    `json:"durable,omitempty"` // what it wrote was on stable storage before this was
	Problem    string  `json:"problem,omitempty"` // why the worker could not even be started
}
